"""JSON bodies: bounded reading of requests, encoding of answers."""

from __future__ import annotations

import msgspec
from flask import Response, g, request
from werkzeug.exceptions import RequestEntityTooLarge

from service.errors import BodyTooLarge, UnsupportedMediaType
from service.web.request_log import timed

encode = msgspec.json.Encoder().encode

_JSON_TYPES = frozenset({"application/json", "application/fhir+json", "application/json+fhir"})


def receive_body() -> None:
    """Read the body of a JSON request, for `read_json_body`; nothing if there is none."""
    if request.content_length or "Transfer-Encoding" in request.headers:
        with timed("read"):
            g.body = _received()


def read_json_body() -> bytes:
    """The bytes of a JSON request; 415 for another content type, 413 above the limit."""
    body: bytes = g.pop("body") if "body" in g else _received()
    return body


def _received() -> bytes:
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
