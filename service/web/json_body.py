"""JSON bodies: bounded reading of requests, encoding of answers."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec
from flask import Response, g, request
from werkzeug.datastructures import Headers
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge
from werkzeug.http import parse_options_header

from service.errors import BodyTooLarge, UnsupportedMediaType
from service.web.applications import BytesResponse
from service.web.request_log import timed

if TYPE_CHECKING:
    from _typeshed.wsgi import InputStream

encode = msgspec.json.Encoder().encode

_READY = [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
_JSON_TYPES = frozenset({"application/json", "application/fhir+json", "application/json+fhir"})


def receive_body() -> None:
    """Read the body of a JSON request, for `read_json_body`; nothing if there is none."""
    if request.content_length or "HTTP_TRANSFER_ENCODING" in request.environ:
        with timed("read"):
            g.body = _received()


def read_json_body() -> bytes:
    """The bytes of a JSON request; 415 for another content type, 413 above the limit."""
    body: bytes | None = g.pop("body", None)
    return _received() if body is None else body


def _received() -> bytes:
    call = request._get_current_object()  # type: ignore[attr-defined]
    if _media_type(call.environ.get("CONTENT_TYPE", "")) not in _JSON_TYPES:
        raise UnsupportedMediaType(
            "expected Content-Type: application/json or application/fhir+json"
        )
    length, limit = call.content_length, call.max_content_length
    try:
        if length is None or (limit is not None and length > limit):
            body: bytes = call.get_data(cache=False)
        else:
            body = _whole(call.environ["wsgi.input"], length)
    except RequestEntityTooLarge:
        raise BodyTooLarge(f"larger than {limit} bytes") from None
    g.body_bytes = len(body)
    if length is None and limit is not None and len(body) >= limit:
        # A chunked body is cut off silently at the limit.
        raise BodyTooLarge(f"larger than {limit} bytes")
    return body


def _whole(stream: InputStream, length: int) -> bytes:
    """A body of known length, in one read where the server has it. Raises ClientDisconnected."""
    body = stream.read(length)
    while len(body) < length:
        more = stream.read(length - len(body))
        if not more:
            raise ClientDisconnected
        body += more
    return body


@lru_cache(maxsize=64)
def _media_type(content_type: str) -> str:
    return parse_options_header(content_type)[0].lower()


def json_response(body: object, status: int = 200) -> Response:
    """A JSON answer with `no-store`: it may contain patient data."""
    return bytes_response(encode(body), status)


def bytes_response(body: bytes, status: int = 200) -> Response:
    """The same for encoded JSON."""
    return BytesResponse(body, status, Headers(_READY))
