"""Workbench: a page that fires requests at this service and shows the answers as an EHR does.

The page posts to the hook endpoints. The decision trace, which no hook call returns, comes from
POST /workbench/explain; its body is neither stored nor logged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date

import msgspec
from flask import Blueprint, Response, abort, request

from service.crd.cds_service import CdsService
from service.crd.versions import CrdVersions
from service.decision.coverage import Payer
from service.decision.policy import PolicyVersion
from service.errors import MalformedRequest, RequestError
from service.review.order_review import Review
from service.web.client_auth import open_to_all
from service.web.fixtures import Fixtures
from service.web.json_body import encode, json_response, read_json_body
from service.web.pages import page
from service.web.response_view import order_changes, read_answer
from service.web.visitors import VisitorLimits, limit_visitors

_FIRST = "order-sign/mrs-medicare-advantage.json"
"""The first fixture on the page, if it exists."""


class FiredCall(msgspec.Struct, frozen=True):
    """A fired call and its answer, both as HTTP texts."""

    service: str
    request: str
    status: int
    answer: str


@dataclass(frozen=True, slots=True)
class Workbench:
    """The workbench's page and explanation.

    `review` decides a call without recording it; None shows answers without their trace.
    `policies_digest` is that of the snapshot that it decides by.
    """

    review: Callable[[str, bytes], Review] | None
    services: Sequence[CdsService]
    versions: CrdVersions
    policies: Iterable[PolicyVersion]
    payers: Iterable[Payer]
    fixtures: Fixtures
    today: Callable[[], date]
    policies_digest: str

    def page(self) -> Response:
        """The page itself."""
        names = {s.code: s.name for p in self.policies for s in p.services}
        services = {s.hook: s.id for s in self.services}
        return page(
            "workbench/page.html",
            fixtures=self.fixtures,
            first=_FIRST,
            services=services,
            versions=[v.name for v in self.versions],
            services_json=encode(services).decode(),
            codes=sorted(names.items()),
            payers=list(self.payers),
        )

    def explain(self, fired: FiredCall) -> Response:
        """An HTML fragment with the cards, the changed orders and the trace."""
        answer = read_answer(fired.answer)
        reviewed, refusal = self._decide(fired)
        sent = reviewed.request.resources() if reviewed else None
        return page(
            "workbench/result.html",
            http_status=fired.status,
            answer=answer,
            changes=list(order_changes(answer, sent)),
            reviewed=reviewed,
            refusal=refusal,
        )

    def trace(self, fired: FiredCall) -> Response:
        """The decision trace as JSON, for `covercard fire --explain --url`.

        {"determinations": [{"order": "Type/id", "trace": [[topic, finding, because], …]}, …],
        "policies_digest": "…"}
        Without determinations for a refused call; 404 where the workbench has no traces.
        """
        if self.review is None:
            abort(404)
        reviewed, _ = self._decide(fired)
        determinations = reviewed.determinations if reviewed else ()
        traces = [{"order": d.order.reference, "trace": d.trace} for d in determinations]
        return json_response({"determinations": traces, "policies_digest": self.policies_digest})

    def _decide(self, fired: FiredCall) -> tuple[Review | None, RequestError | None]:
        if self.review is None:
            return None, None
        try:
            return self.review(fired.service, fired.request.encode()), None
        except RequestError as error:
            return None, error


def workbench_blueprint(
    workbench: Workbench,
    limits: VisitorLimits,
    computing: Callable[[], AbstractContextManager[None]],
) -> Blueprint:
    """The routes of page, fixtures and explanation; `computing` is a block in which one is made."""
    blueprint = Blueprint("workbench", __name__)
    limit_visitors(blueprint, limits)

    @blueprint.get("/")
    @open_to_all
    def bench() -> Response:
        return workbench.page()

    @blueprint.get("/workbench/fixtures/<path:name>")
    @open_to_all
    def fixture(name: str) -> Response:
        content = workbench.fixtures.read(name, workbench.today())
        if content is None:
            abort(404)
        response = Response(content, content_type="application/json")
        response.headers["Cache-Control"] = "no-cache"
        return response

    # Open also where it decides a call: it does so only where no client is asked for. So it counts
    # among visitors, and takes no place of a call.
    @blueprint.post("/workbench/explain")
    @open_to_all
    def explain() -> Response:
        body = read_json_body()
        with computing():
            try:
                fired = msgspec.json.decode(body, type=FiredCall)
            except (msgspec.DecodeError, UnicodeError):
                raise MalformedRequest("expected service, request, status and answer") from None
            return workbench.trace(fired) if _json_wanted() else workbench.explain(fired)

    return blueprint


def _json_wanted() -> bool:
    wanted = request.accept_mimetypes.best_match(["text/html", "application/json"])
    return wanted == "application/json"
