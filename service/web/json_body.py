"""JSON bodies: bounded reading of requests, encoding of answers."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec
from flask import Request, Response, g, request
from flask.ctx import _AppCtxGlobals
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge
from werkzeug.http import parse_options_header

from service.errors import BodyTooLarge, UnsupportedMediaType
from service.web.applications import BytesResponse
from service.web.request_log import timed

if TYPE_CHECKING:
    from _typeshed.wsgi import InputStream

encode = msgspec.json.Encoder().encode

_JSON_TYPES = frozenset({"application/json", "application/fhir+json", "application/json+fhir"})


def receive_body(call: Request, of_call: _AppCtxGlobals) -> None:
    """Read the body of a JSON request, for `read_json_body`; nothing if there is none.

    `of_call` is the request's `g`.
    """
    if call.content_length or "HTTP_TRANSFER_ENCODING" in call.environ:
        with timed("read"):
            of_call.body = _received(call, of_call)


def read_json_body() -> bytes:
    """The bytes of a JSON request; 415 for another content type, 413 above the limit."""
    of_call = g._get_current_object()
    body: bytes | None = of_call.pop("body", None)
    if body is not None:
        return body
    return _received(request._get_current_object(), of_call)  # type: ignore[attr-defined]


def _received(call: Request, of_call: _AppCtxGlobals) -> bytes:
    if _media_type(call.environ.get("CONTENT_TYPE", "")) not in _JSON_TYPES:
        raise UnsupportedMediaType(
            "expected Content-Type: application/json or application/fhir+json"
        )
    length, limit = call.content_length, call.max_content_length
    try:
        if length is None or (limit is not None and length > limit):
            body = call.get_data(cache=False)
        else:
            body = _whole(call.environ["wsgi.input"], length)
    except RequestEntityTooLarge:
        raise BodyTooLarge(f"larger than {limit} bytes") from None
    of_call.body_bytes = len(body)
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
    response = BytesResponse(body, status, content_type="application/json")
    response.headers.add("Cache-Control", "no-store")
    return response
