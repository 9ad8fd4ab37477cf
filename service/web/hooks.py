"""GET /cds-services and POST /cds-services/<id> (CDS Hooks 2.0)."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Blueprint, Response

from service.order_review import OrderReview
from service.web.json_body import encode, json_response, read_json_body


def hooks_blueprint(review: OrderReview, discovery: Mapping[str, object]) -> Blueprint:
    """The two endpoints; `discovery` is written to bytes once."""
    hooks = Blueprint("hooks", __name__)
    discovery_bytes = encode(discovery)

    @hooks.get("/cds-services")
    def discover() -> Response:
        return Response(discovery_bytes, content_type="application/json")

    @hooks.post("/cds-services/<service_id>")
    def call(service_id: str) -> Response:
        return json_response(review.review(service_id, read_json_body()).answer)

    return hooks
