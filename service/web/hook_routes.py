"""GET /cds-services and POST /cds-services/<id> (CDS Hooks 2.0)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

from flask import Blueprint, Response, request

from service.auth.call_places import LARGE_BODY
from service.call_facts import note, noted
from service.crd.hooks import SERVICES
from service.review.order_review import OrderReview
from service.web.call_logger import CallLogger, ReceivedCall
from service.web.client_auth import current_client, open_to_all, turn_to_compute
from service.web.json_body import bytes_response, encode, read_json_body
from service.web.request_log import name_call, timed

_HOOKS = {service.id: service.hook for service in SERVICES}


def hooks_blueprint(
    review: OrderReview, discovery: Mapping[str, object], call_logger: CallLogger
) -> Blueprint:
    """The two endpoints; `discovery` is encoded once, `call_logger` records each call."""
    hooks = Blueprint("hooks", __name__)
    discovery_bytes = encode(discovery)

    @hooks.get("/cds-services", strict_slashes=False)
    @open_to_all
    def discover() -> Response:
        return Response(discovery_bytes, content_type="application/json")

    def answered(
        received: ReceivedCall, service_id: str, body: bytes, turn: AbstractContextManager[None]
    ) -> bytes:
        """The answer of a call, reviewed in this `turn` and recorded."""
        client = current_client()
        try:
            with timed("review"), turn:
                reviewed = review.review(
                    service_id, body, client.fhir_servers, client.apps, client.told_apart_as
                )
        except Exception as error:
            received.fail(error)
            raise
        note(
            version=reviewed.request.version.name,
            cards=len(reviewed.cards),
            statements=sum(a is not None and a.sent for a in reviewed.asserted),
        )
        with timed("record"):
            return received.complete(reviewed)

    @hooks.post("/cds-services/<service_id>")
    def call(service_id: str) -> Response:
        _note_service(service_id)
        body = read_json_body()
        received = call_logger.received(service_id, current_client().name, body)
        name_call(received.id)
        if len(body) > LARGE_BODY:
            # Recorded in the same turn: a large record holds up the flush that it shares with
            # others. What was read of the body is gone when the turn ends.
            with turn_to_compute(len(body)):
                answer = answered(received, service_id, body, nullcontext())
        else:
            answer = answered(received, service_id, body, turn_to_compute())
        return bytes_response(answer)

    @hooks.after_request
    def name_service(response: Response) -> Response:
        # Also of a call that was refused before the view: its line tells the hook.
        if "service" not in noted():
            _note_service((request.view_args or {}).get("service_id", ""))
        return response

    return hooks


def _note_service(service_id: str) -> None:
    if service_id in _HOOKS:
        note(service=service_id, hook=_HOOKS[service_id])
