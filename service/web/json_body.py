"""A request's body within the limits, and answers as JSON."""

from __future__ import annotations

import msgspec
from flask import Response, request
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
    if request.content_length is None and limit is not None and len(body) >= limit:
        # A body sent in chunks is cut off at the limit without a word.
        raise BodyTooLarge(f"larger than {limit} bytes")
    return body


def json_response(body: object, status: int = 200) -> Response:
    """An answer that is never stored on the way, since it may speak of a patient."""
    return bytes_response(encode(body), status)


def bytes_response(body: bytes, status: int = 200) -> Response:
    """The same of JSON that is written already."""
    response = Response(body, status, content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response
