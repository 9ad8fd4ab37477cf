"""Replay of a logged call by other files, and its differences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import msgspec

from service.auth.clients import ANYONE
from service.bootstrap.app import wire_review
from service.bootstrap.snapshot import Library
from service.decision_log.display import short_codes
from service.decision_log.fetched_resources import FetchedBefore
from service.decision_log.logged_findings import record_of
from service.decision_log.queries import LoggedCall
from service.decision_log.rows import DeterminationRow
from service.ehr.fhir_client import Access
from service.ehr.resource_fetcher import Fetched, Plan, ResourceFetcher
from service.errors import RequestError
from service.fhir.resources import Resources
from service.review.order_review import Review
from service.settings import Settings

RECORDS = "payer's records"
"""What has changed where the payer's own records tell otherwise than in the call."""


class AnswerChange(msgspec.Struct, frozen=True):
    """One difference. `what` is "answer", "policy", "notices", "cards", "payer's records" …

    `records` says whether the payer's own records told the same in the call as they do now
    ("same"), or otherwise ("changed"): then a difference need not come from the files.
    """

    received_at: str
    call_id: str
    order: str
    codes: str
    assertion_id: str | None
    what: str
    before: str
    after: str
    records: str = "same"


class Replay:
    """A review by the files in `settings`, each call on its own day.

    Counts `decided` and `skipped` calls: refused ones, and those without a stored request. Stored
    fetched resources are used again; nothing is fetched. The payer's own records are as they are
    now, for the log keeps their versions only: it is compared, and told where they differ.
    """

    def __init__(self, settings: Settings) -> None:
        self.decided = 0
        self.skipped = 0
        self._now = datetime.now(UTC)
        self._fetched: ResourceFetcher = FetchedBefore(None)
        self._review = wire_review(settings, Library(settings), lambda: self._now, self)

    def changes(self, logged: LoggedCall) -> Iterator[AnswerChange]:
        """The differences of a call; none if it cannot be decided again."""
        if logged.row.status != 200 or logged.kept.request is None:
            self.skipped += 1
            return
        self.decided += 1
        self._now = logged.received_at
        self._fetched = FetchedBefore(logged.kept.fetched)
        try:
            client = "" if logged.row.client == ANYONE.name else logged.row.client
            review = self._review.review(logged.row.service_id, logged.kept.request, client=client)
        except RequestError as error:
            yield _change(logged, None, "status", "200", str(error.status))
            return
        changes = list(_differences(logged, review))
        changed = any(change.what == RECORDS for change in changes)
        for change in changes:
            yield msgspec.structs.replace(change, records="changed") if changed else change

    def complete(
        self, resources: Resources, plan: Plan, access: Access | None, patient: str
    ) -> Fetched:
        """The review's fetcher: replays the current call's fetched resources."""
        return self._fetched.complete(resources, plan, access, patient)


def _differences(logged: LoggedCall, review: Review) -> Iterator[AnswerChange]:
    for before, now in zip(logged.determinations, review.determinations, strict=False):
        told = record_of(logged.kept.traces[before.position])
        tell = record_of(now.trace)
        if told != tell:
            words = ("; ".join(said) or "not asked" for said in (told, tell))
            yield _change(logged, before, RECORDS, *words)
    for before, (after, notices) in zip(logged.determinations, _now(review), strict=False):
        for what, was, would_be in (
            ("answer", before.covered, after["covered"]),
            ("reason", before.reason_id or before.undetermined, after["reason"]),
            ("policy", _version(before), after["policy"]),
            ("program", before.program, after["program"]),
            ("notices", _list(before.notices), " ".join(notices)),
            ("codes", " ".join(short_codes(before.billing_codes)), after["codes"]),
        ):
            if (was or "") != (would_be or ""):
                yield _change(logged, before, what, was or "none", would_be or "none")
    shown = [str(card["summary"]) for card in logged.cards]
    would_show = [str(card["summary"]) for card in msgspec.json.decode(review.answer)["cards"]]
    if shown != would_show:
        yield _change(logged, None, "cards", " / ".join(shown), " / ".join(would_show))
    if len(logged.determinations) != len(review.determinations):
        counts = (str(len(logged.determinations)), str(len(review.determinations)))
        yield _change(logged, None, "orders decided", *counts)


def _now(review: Review) -> Iterator[tuple[dict[str, str | None], Sequence[str]]]:
    for d in review.determinations:
        reason = (
            d.policy_determination.reason_id
            if d.policy_determination
            else d.undetermined.value
            if d.undetermined
            else None
        )
        facts = {
            "covered": d.covered.value,
            "reason": reason,
            "policy": f"{d.policy.id} {d.policy.version}" if d.policy else None,
            "program": d.program.program.value,
            "codes": " ".join(c.value for c in d.billing_codes),
        }
        yield facts, d.notices


def _version(d: DeterminationRow) -> str | None:
    return f"{d.policy_id} {d.policy_version}" if d.policy_id else None


def _list(written: str) -> str:
    return " ".join(msgspec.json.decode(written))


def _change(
    logged: LoggedCall, d: DeterminationRow | None, what: str, before: str, after: str
) -> AnswerChange:
    return AnswerChange(
        received_at=logged.received_at.isoformat(timespec="seconds"),
        call_id=logged.row.call_id,
        order=d.order_ref if d else "",
        codes=" ".join(short_codes(d.codes)) if d else "",
        assertion_id=d.assertion_id if d else None,
        what=what,
        before=before,
        after=after,
    )
