"""POST /cds-services/<id>/feedback: feedback on cards (CDS Hooks 2.0, Feedback)."""

from __future__ import annotations

from flask import Blueprint, Response

from service.crd.call_limits import CallLimits
from service.crd.hook_request import parse_json
from service.crd.hooks import SERVICES
from service.decision_log.feedback_rows import read_feedback
from service.errors import UnknownService
from service.interpreter_lock import giving_way
from service.web.call_logger import CallLogger
from service.web.client_auth import current_client, turn_to_compute
from service.web.json_body import json_response, read_json_body

_KNOWN = frozenset(s.id for s in SERVICES)


def feedback_blueprint(call_logger: CallLogger, limits: CallLimits) -> Blueprint:
    """The endpoint; feedback is durable before the answer is sent. `limits` are those of a call."""
    feedback = Blueprint("feedback", __name__)

    @feedback.post("/cds-services/<service_id>/feedback")
    def receive(service_id: str) -> Response:
        if service_id not in _KNOWN:
            raise UnknownService("no CDS service has this id; GET /cds-services lists them")
        body = read_json_body()
        with turn_to_compute(len(body)):
            limits.check_values(body)
            rows = read_feedback(
                parse_json(body),
                client=current_client().name,
                service_id=service_id,
                received_at=call_logger.clock(),
            )
            # In the same turn: to write a thousand items takes as long as to read them.
            call_logger.recorder.record_feedback(rows)
            for row in giving_way(rows):
                call_logger.metrics.feedback(row.outcome)
        return json_response({"received": len(rows)})

    return feedback
