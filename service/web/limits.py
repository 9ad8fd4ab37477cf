"""Limits on encoding and Host of a call. Size: json_body; depth: crd; rate: client_auth."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from flask import Flask, request

from service.errors import MalformedRequest, UnsupportedMediaType

_MOST_HOSTS = 64
"""Written hosts that are remembered: callers choose them."""


def refuse_compressed_bodies(app: Flask) -> None:
    """415 for a compressed body: a few bytes could decompress to gigabytes."""

    @app.before_request
    def refuse() -> None:
        encoding = request.environ.get("HTTP_CONTENT_ENCODING", "identity")
        if encoding != "identity" and encoding.strip().lower() != "identity":
            raise UnsupportedMediaType("expected a body without Content-Encoding")


_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?", re.IGNORECASE | re.ASCII)
"""A name or address and a port (RFC 3986 3.2.2); an address of IPv6 is in brackets."""


def refuse_other_names(app: Flask, names: Sequence[str]) -> None:
    """400 for a Host other than `names`, on any port: protection of open mode against DNS
    rebinding. An address of IPv6 is named in brackets.

    A hostile page could otherwise resolve its own name to this machine and read the answers.
    """

    @lru_cache(maxsize=_MOST_HOSTS)
    def is_own(written: str) -> bool:
        host = _HOST.fullmatch(written)
        return host is not None and host[1].lower() in names

    @app.before_request
    def refuse() -> None:
        if not is_own(request.host):
            raise MalformedRequest("the Host header names another server")
