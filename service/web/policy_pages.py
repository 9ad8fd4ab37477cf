"""GET /policies and /policies/<id>: public policies, as pages or JSON.

Coverage criteria must be public (42 CFR 422.101(b)(6)). The pages contain no patient data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, tzinfo
from typing import TypeAlias, TypeVar

from flask import Blueprint, Response, request
from werkzeug.datastructures import MIMEAccept

from cards.naming import fill
from service.decision.policy import PolicyVersion, Program
from service.errors import MalformedRequest, RequestError, UnknownPolicy
from service.policies.differences import PolicyChange, differences
from service.policies.notices import Notice, NoticeLibrary
from service.policies.policy_store import PolicyStore
from service.policies.published import named_services, policy_document, policy_summary
from service.policies.rules_in_words import codes_in_words, rules_in_words, value_sets_of
from service.web.client_auth import open_to_all
from service.web.json_body import encode
from service.web.pages import page, problem_page
from service.web.visitors import VisitorLimits, limit_visitors

CACHE = "public, max-age=300"
"""A policy's page changes with its files and, for overdue reviews, with the day."""

_JSON = ".json"

T = TypeVar("T")
Groups: TypeAlias = list[tuple[str, list[T]]]


class PolicyPages:
    """Builder of the answers.

    `base_url` starts the JSON's links; `clock` and `zone` give today; `policies_digest` is that of
    the snapshot.
    """

    def __init__(
        self,
        policies: PolicyStore,
        notices: NoticeLibrary,
        base_url: str,
        clock: Callable[[], datetime],
        zone: tzinfo,
        policies_digest: str,
    ) -> None:
        self._digest = policies_digest
        self._policies = policies
        self._notices = notices
        self._base_url = base_url
        self._clock = clock
        self._zone = zone

    def index(self, as_json: bool) -> Response:
        """All policies, each by its current version."""
        today = self._today()
        shown = [self._current(i, today) for i in self._policies.ids()]
        if as_json:
            listed = [policy_summary(p, today, self._url) for p in shown]
            return _json({"policies": listed, "policies_digest": self._digest})
        return _page("policy/index.html", policies=shown, today=today)

    def policy(self, policy_id: str, on: str | None, as_json: bool) -> Response:
        """One policy as in force on the day `on` ("YYYY-MM-DD"), or its current version.

        Raises UnknownPolicy for an unknown id, or without a version that day.
        """
        versions = self._policies.versions(policy_id)
        if not versions:
            raise UnknownPolicy("no policy has this id; GET /policies lists them")
        today = self._today()
        day = _day(on) if on else today
        policy = self._policies.in_force(policy_id, day) if on else self._current(policy_id, today)
        if policy is None:
            first = versions[0].version
            raise UnknownPolicy(f"no version of this policy was in force that day, see {first}")
        if as_json:
            document = policy_document(policy, versions, self._notices, day, today, self._url)
            return _json({**document, "policies_digest": self._digest})
        notices = {
            program: [self._notices.edition(n, day) for n in ids]
            for program, ids in policy.notices.items()
            if program in policy.determinations
        }
        return _page(
            "policy/policy.html",
            policy=policy,
            on=day,
            day_asked=bool(on),
            today=today,
            rules=rules_in_words(policy),
            value_sets=[(s, list(codes_in_words(s))) for s in value_sets_of(policy)],
            groups=_grouped(policy.services, lambda s: s.group_name),
            notices=notices,
            places=_places(notices),
            next_version=next((v for v in versions if v.starts > today), None),
            history=_history(versions),
        )

    def no_such_policy(self, policy_id: str, on: str | None) -> Response:
        """The page for an unknown policy or day, with the existing ones."""
        versions = self._policies.versions(policy_id)
        today = self._today()
        if not versions:
            others = [self._current(i, today) for i in self._policies.ids()]
            return page("policy/unknown.html", 404, policies=others)
        return page("policy/not_that_day.html", 404, on=on, versions=versions, policy=versions[-1])

    def _current(self, policy_id: str, today: date) -> PolicyVersion:
        """The version in force today, else the latest past one, else the next future one."""
        versions = self._policies.versions(policy_id)
        begun = [v for v in versions if v.starts <= today]
        return self._policies.in_force(policy_id, today) or (begun[-1] if begun else versions[0])

    def _today(self) -> date:
        return self._clock().astimezone(self._zone).date()

    def _url(self, policy: PolicyVersion) -> str:
        return f"{self._base_url}/policies/{policy.id}?on={policy.version}"


def policy_pages_blueprint(pages: PolicyPages, limits: VisitorLimits) -> Blueprint:
    """The pages' routes; the suffix `.json` or an Accept header selects JSON."""
    blueprint = Blueprint("policies", __name__)
    limit_visitors(blueprint, limits)

    @blueprint.app_template_filter("filled")
    def filled(template: str, policy: PolicyVersion) -> str:
        return fill(template, named_services(policy))

    @blueprint.get("/policies")
    @open_to_all
    def index() -> Response:
        return pages.index(_json_wanted())

    @blueprint.get("/policies.json")
    @open_to_all
    def index_as_json() -> Response:
        return pages.index(as_json=True)

    @blueprint.get("/policies/<policy_id>")
    @open_to_all
    def policy(policy_id: str) -> Response:
        as_json = policy_id.endswith(_JSON) or _json_wanted()
        policy_id, on = policy_id.removesuffix(_JSON), request.args.get("on") or None
        try:
            return pages.policy(policy_id, on, as_json)
        except UnknownPolicy:
            if as_json:
                raise
            return pages.no_such_policy(policy_id, on)
        except RequestError as error:
            if as_json:
                raise
            (_, text), *_ = error.problems
            return problem_page(error.status, "This is no day", text)

    return blueprint


def _json_wanted() -> bool:
    accepted: MIMEAccept = request.accept_mimetypes
    return accepted.best_match(["text/html", "application/json"]) == "application/json"


def _day(written: str) -> date:
    try:
        return date.fromisoformat(written)
    except ValueError:
        raise MalformedRequest("expected a day as YYYY-MM-DD", "on") from None


def _history(
    versions: tuple[PolicyVersion, ...],
) -> list[tuple[PolicyVersion, Groups[PolicyChange] | None]]:
    """The versions, newest first, each with its changes from the previous one, by section."""
    before: list[PolicyVersion | None] = [None, *versions[:-1]]
    pairs = zip(versions, before, strict=True)
    return [
        (v, _grouped(differences(older, v), lambda c: c.section) if older else None)
        for v, older in pairs
    ][::-1]


def _places(notices: Mapping[Program, Sequence[Notice]]) -> dict[str, Program]:
    """Program that describes each notice; other programs link it.

    It is the first program with this notice alone, so that its anchor is unique.
    """
    places: dict[str, Program] = {}
    for program, editions in sorted(notices.items(), key=lambda item: len(item[1]) != 1):
        for notice in editions:
            places.setdefault(notice.id, program)
    return places


def _grouped(items: Iterable[T], name: Callable[[T], str]) -> Groups[T]:
    """Items by group name, in their order."""
    groups: dict[str, list[T]] = {}
    for item in items:
        groups.setdefault(name(item), []).append(item)
    return list(groups.items())


def _page(template: str, **values: object) -> Response:
    return _kept(page(template, 200, CACHE, **values))


def _json(document: dict[str, object]) -> Response:
    response = Response(encode(document), content_type="application/json")
    response.headers["Cache-Control"] = CACHE
    response.headers["Vary"] = "Accept"
    return _kept(response)


def _kept(response: Response) -> Response:
    """Add an ETag: 304 for an unchanged page."""
    response.add_etag()
    response.make_conditional(request)
    return response
