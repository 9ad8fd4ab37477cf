"""POST /cds-services/<id>/feedback: feedback on cards (CDS Hooks 2.0, Feedback)."""

from __future__ import annotations

from flask import Blueprint, Response

from service.crd.hook_request import parse_json
from service.crd.hooks import SERVICES
from service.decision_log.feedback_rows import read_feedback
from service.errors import UnknownService
from service.web.call_logger import CallLogger
from service.web.client_auth import current_client
from service.web.json_body import json_response, read_json_body

_KNOWN = frozenset(s.id for s in SERVICES)


def feedback_blueprint(call_logger: CallLogger) -> Blueprint:
    """The endpoint; feedback is durable before the answer is sent."""
    feedback = Blueprint("feedback", __name__)

    @feedback.post("/cds-services/<service_id>/feedback")
    def receive(service_id: str) -> Response:
        if service_id not in _KNOWN:
            raise UnknownService("no CDS service has this id; GET /cds-services lists them")
        rows = read_feedback(
            parse_json(read_json_body()),
            client=current_client().name,
            service_id=service_id,
            received_at=call_logger.clock(),
        )
        call_logger.recorder.record_feedback(rows)
        for row in rows:
            call_logger.metrics.feedback(row.outcome)
        return json_response({"received": len(rows)})

    return feedback
