"""GET /cds-services and POST /cds-services/<id> (CDS Hooks 2.0)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flask import Blueprint, Response

from service.order_review import OrderReview
from service.web.call_records import CallKeeper
from service.web.json_body import bytes_response, encode, read_json_body


def hooks_blueprint(
    review: OrderReview,
    discovery: Mapping[str, object],
    keeper: CallKeeper,
    client_of_call: Callable[[], str],
) -> Blueprint:
    """The two endpoints; `discovery` is written to bytes once, `keeper` keeps every call.

    `client_of_call` names the client that is being answered.
    """
    hooks = Blueprint("hooks", __name__)
    discovery_bytes = encode(discovery)

    @hooks.get("/cds-services")
    def discover() -> Response:
        return Response(discovery_bytes, content_type="application/json")

    @hooks.post("/cds-services/<service_id>")
    def call(service_id: str) -> Response:
        body = read_json_body()
        received = keeper.received(service_id, client_of_call(), body)
        try:
            reviewed = review.review(service_id, body)
        except Exception as error:
            received.refused(error)
            raise
        return bytes_response(received.answered(reviewed))

    return hooks
