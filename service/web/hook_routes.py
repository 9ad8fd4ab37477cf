"""GET /cds-services and POST /cds-services/<id> (CDS Hooks 2.0)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext

from flask import Blueprint, Response, request

from service.call_facts import note, noted
from service.crd.hooks import SERVICES
from service.review.order_review import OrderReview
from service.web.call_logger import CallLogger
from service.web.client_auth import current_client, open_to_all, turn_to_compute
from service.web.json_body import bytes_response, encode, read_json_body
from service.web.request_log import name_call, timed

_LARGE = 65_536
"""Bytes of a call."""

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

    @hooks.post("/cds-services/<service_id>")
    def call(service_id: str) -> Response:
        _note_service(service_id)
        body = read_json_body()
        client = current_client()
        received = call_logger.received(service_id, client.name, body)
        name_call(received.id)
        try:
            with timed("review"), turn_to_compute():
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
        # A large record holds up the transaction that it shares with others.
        alone = turn_to_compute() if len(body) > _LARGE else nullcontext()
        with timed("record"), alone:
            answer = received.complete(reviewed)
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
