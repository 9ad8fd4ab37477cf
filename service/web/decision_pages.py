"""/decisions: pages of the decision log for its readers.

They share functions and access log with `covercard decisions`. Searches are POST forms: URLs are
stored in many places, and must not contain patients or orders.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from functools import partial

import msgspec
from flask import Blueprint, Response, request
from sqlalchemy import Connection

from cards.texts import Texts
from service.call_facts import note
from service.decision.determination import TraceStep
from service.decision_log import display, queries
from service.decision_log.decision_detail import (
    CallDetail,
    DecisionDetail,
    by_assertion,
    by_place,
    call_detail,
    order_references,
    patient_reference,
)
from service.decision_log.instants import instant
from service.decision_log.policy_stats import PolicyStats, policy_stats
from service.decision_log.queries import TimeSpan
from service.errors import ConfigurationError, TooManyCalls, Unavailable
from service.web.client_auth import open_to_all
from service.web.pages import later_page, page, problem_page
from service.web.reader_session import HOME, ReaderAuth, ask_for_a_reader, current_session
from service.web.response_view import OrderChange, ShownAnswer, order_changes

_MOST_FOUND = 50
_MOST_REASONS = 12
_FEEDBACK_DAYS = 90
_ASSERTION_ID = "coverage-assertion-id"

OpenLog = Callable[[str, str, Mapping[str, object]], AbstractContextManager[Connection]]


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of the plot: the number of cards with this feedback; `share` of all cards, 0 to
    100.
    """

    name: str
    kind: str
    cards: int
    share: float


class NotFindable(Exception):
    """An impossible search; the message is for the reader."""


class DecisionPages:
    """Builder of the pages.

    `open_log` takes reader, action and search, records the access and opens the log. `waiting`
    gives the seconds by which the rows are behind; `clock` and `zone` give today and display
    times; `texts` is the wording of answers.
    """

    def __init__(
        self,
        open_log: OpenLog,
        waiting: Callable[[], float],
        clock: Callable[[], datetime],
        zone: tzinfo,
        texts: Texts,
    ) -> None:
        self._texts = texts
        self._open_log = open_log
        self._waiting = waiting
        self._clock = clock
        self._zone = zone

    def search(self, **values: object) -> Response:
        """The search forms, with results or errors."""
        return self._page("decisions/search.html", **values)

    def find(self, form: Mapping[str, str]) -> Response:
        """Decisions by patient, order and days, newest first."""
        try:
            patient, order = _told(form, "patient"), _told(form, "order")
            if not patient and not order:
                raise NotFindable("Give a patient or an order.")
            since, until = self._days(form)
        except NotFindable as error:
            return self.search(asked=form, wrong_find=str(error))
        patient = patient_reference(patient) if patient else ""
        asked = {"patient": patient, "order": order, "since": since, "until": until}
        with self._opened("find", asked) as log:
            found = queries.find(
                log,
                patient=patient or None,
                orders=order_references(order) if order else (),
                span=TimeSpan(since, until),
                most=_MOST_FOUND + 1,
            )
        return self.search(
            asked=form,
            several_ehrs=len({(d.client, d.ehr) for d in found}) > 1,
            found=found[:_MOST_FOUND],
            more=len(found) > _MOST_FOUND,
            most=_MOST_FOUND,
        )

    def show(self, form: Mapping[str, str]) -> Response:
        """The latest decision with an assertion id, one at its position in a call, or a whole
        call.
        """
        call_id, position = _told(form, "call"), _told(form, "position")
        assertion_id = _told(form, "assertion_id").lower()
        body = form.get("body", "")
        body = body if body in ("request", "answer") else ""
        place = f"{call_id} {position}".strip()
        if not place and not assertion_id:
            return self.search(asked=form, wrong_show="Give an assertion id, or a call's id.")
        asked = {"assertion_id": assertion_id, "call": place, "body": body}
        with self._opened("show", asked) as log:
            found: DecisionDetail | CallDetail | None
            if call_id and not position:
                found = call_detail(log, call_id)
            elif place:
                at = int(position) if position.isdecimal() and len(position) < 5 else -1
                found = by_place(log, call_id, at)
            else:
                found = by_assertion(log, assertion_id) or call_detail(log, assertion_id)
        if found is None:
            wrong = "No decision has this assertion id, and no call this id."
            return self.search(asked=form, wrong_show=wrong)
        if isinstance(found, CallDetail):
            return self._call(found, body)
        return self._decision(found, body)

    def feedback(self, form: Mapping[str, str]) -> Response:
        """Feedback on cards, by policy and reason."""
        try:
            since, until = self._days(form)
            wrong = ""
        except NotFindable as error:
            since = until = None
            wrong = str(error)
        if since is None and until is None:
            first = self._clock().astimezone(self._zone).date() - timedelta(days=_FEEDBACK_DAYS)
            since = self._midnight(first)
        with self._opened("stats", {"since": since, "until": until}) as log:
            stats = policy_stats(log, TimeSpan(since, until))
        counted = [(s, bars(s, self._texts)) for s in stats if s.cards]
        asked = dict(form) if form.get("since") or form.get("until") else {}
        asked = asked or {"since": since.date().isoformat() if since else ""}
        return self._page("decisions/feedback.html", counted=counted, asked=asked, wrong=wrong)

    def _decision(self, found: DecisionDetail, body: str) -> Response:
        kept = found.call.kept
        answer = msgspec.convert(found.call.answer, ShownAnswer)
        shown = kept.request if body == "request" else kept.answer
        return self._page(
            "decisions/decision.html",
            found=found,
            d=found.determination,
            facts=list(display.facts(found, self._zone, self._texts.undetermined)),
            trace=[TraceStep(*map(display.printable, step)) for step in found.trace],
            answer=answer,
            coverage_information=_coverage_information(found, answer),
            said=_said(found),
            body=body,
            body_text=display.body_text(shown) if body else "",
        )

    def _call(self, found: CallDetail, body: str) -> Response:
        kept = found.call.kept
        answer = msgspec.convert(found.call.answer, ShownAnswer)
        return self._page(
            "decisions/call.html",
            call=found.call.row,
            facts=list(display.facts_of_call(found.call, self._zone)),
            determinations=found.call.determinations,
            answer=answer,
            body=body,
            body_text=display.body_text(kept.request if body == "request" else kept.answer),
        )

    def _opened(self, what: str, asked: Mapping[str, object]) -> AbstractContextManager[Connection]:
        return self._open_log(f"{current_session().reader.name} (page)", what, asked)

    def _page(self, template: str, **values: object) -> Response:
        return page(
            template,
            200,
            "no-store",
            reader=current_session().reader.name,
            form_token=current_session().form_token,
            moment=lambda at: display.moment(at, self._zone),
            instant=instant,
            words=display,
            undetermined_text=partial(
                display.undetermined_text, undetermined=self._texts.undetermined
            ),
            waiting=int(self._waiting()),
            **values,
        )

    def _days(self, form: Mapping[str, str]) -> tuple[datetime | None, datetime | None]:
        """The period between two days, both included."""
        since, until = (_day(form.get(name, "")) for name in ("since", "until"))
        if since and until and until < since:
            raise NotFindable("The last day is before the first.")
        after = until + timedelta(days=1) if until and until < date.max else until
        return self._midnight(since), self._midnight(after)

    def _midnight(self, day: date | None) -> datetime | None:
        return datetime.combine(day, time(), self._zone) if day else None


def decisions_blueprint(pages: DecisionPages, reader_auth: ReaderAuth) -> Blueprint:
    """The pages, behind reader authentication."""
    blueprint = Blueprint("decisions", __name__)
    ask_for_a_reader(blueprint, reader_auth)

    @blueprint.get(HOME)
    @open_to_all
    def search() -> Response:
        return pages.search(asked={})

    @blueprint.post(HOME)
    @open_to_all
    def look() -> Response:
        return pages.find(request.form) if "patient" in request.form else pages.show(request.form)

    @blueprint.get("/decisions/feedback")
    @open_to_all
    def feedback() -> Response:
        return pages.feedback(request.args)

    @blueprint.errorhandler(Unavailable)
    @blueprint.errorhandler(TooManyCalls)
    def later(error: Unavailable | TooManyCalls) -> Response:
        note(refused=type(error).__name__)
        return later_page(error)

    @blueprint.errorhandler(ConfigurationError)
    def not_of_this_version(_: ConfigurationError) -> Response:
        text = "The decision log is of another version than the service. Its operator must look."
        return problem_page(503, "The log cannot be read", text)

    return blueprint


def bars(stats: PolicyStats, texts: Texts) -> list[Bar]:
    """Feedback on a policy's cards, as bars of the plot; rare reasons are summed up."""
    displays = {reason.code: reason.display for reason in texts.phrases.override_reasons}
    counted = [("Accepted", "accepted", stats.accepted)]
    reasons = stats.overridden.most_common()
    for code, cards in reasons[:_MOST_REASONS]:
        name = displays.get(code) or display.printable(code)
        counted.append((f"Dismissed: {name}", "overridden", cards))
    if len(reasons) > _MOST_REASONS:
        rest = sum(cards for _, cards in reasons[_MOST_REASONS:])
        counted.append(("Dismissed: other reasons", "overridden", rest))
    counted.append(("Nothing was said", "unanswered", stats.unanswered))
    return [Bar(name, kind, n, round(100 * n / stats.cards, 1)) for name, kind, n in counted]


def _coverage_information(
    found: DecisionDetail, answer: ShownAnswer
) -> tuple[tuple[str, str], ...]:
    """The coverage information with the decision's assertion id, as (element, value) rows."""
    changes: list[OrderChange] = list(order_changes(answer, None))
    wanted = (_ASSERTION_ID, found.determination.assertion_id)
    return next((rows for c in changes for rows in c.coverage_information if wanted in rows), ())


def _said(found: DecisionDetail) -> dict[str, list[tuple[datetime, str]]]:
    """Feedback by card: (time, text)."""
    said: dict[str, list[tuple[datetime, str]]] = {}
    for item in found.said:
        told = (instant(item.outcome_at), display.feedback_in_words(item))
        said.setdefault(item.card_uuid, []).append(told)
    return said


def _told(form: Mapping[str, str], name: str) -> str:
    """A field without blanks around it; NUL, which PostgreSQL refuses, finds nothing."""
    return form.get(name, "").replace("\0", "\N{REPLACEMENT CHARACTER}").strip()


def _day(written: str) -> date | None:
    try:
        return date.fromisoformat(written.strip()) if written.strip() else None
    except ValueError:
        raise NotFindable("A day is written as YYYY-MM-DD.") from None
