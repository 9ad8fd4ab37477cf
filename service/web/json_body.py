"""JSON bodies: bounded reading of requests, encoding of answers."""

from __future__ import annotations

import msgspec
from flask import Response, g, request
from werkzeug.exceptions import RequestEntityTooLarge

from service.errors import BodyTooLarge, UnsupportedMediaType

encode = msgspec.json.Encoder().encode

_JSON_TYPES = frozenset({"application/json", "application/fhir+json", "application/json+fhir"})


def read_json_body() -> bytes:
    """The bytes of a JSON request; 415 for another content type, 413 above the limit."""
    if request.mimetype not in _JSON_TYPES:
        raise UnsupportedMediaType("expected Content-Type: application/json")
    limit = request.max_content_length
    try:
        body = request.get_data(cache=False)
    except RequestEntityTooLarge:
        raise BodyTooLarge(f"larger than {limit} bytes") from None
    g.body_bytes = len(body)
    if request.content_length is None and limit is not None and len(body) >= limit:
        # A chunked body is cut off silently at the limit.
        raise BodyTooLarge(f"larger than {limit} bytes")
    return body


def json_response(body: object, status: int = 200) -> Response:
    """A JSON answer with `no-store`: it may contain patient data."""
    return bytes_response(encode(body), status)


def bytes_response(body: bytes, status: int = 200) -> Response:
    """The same for encoded JSON."""
    response = Response(body, status, content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response
