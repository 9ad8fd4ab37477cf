"""Limits on encoding and Host of a call. Size: json_body; depth: crd; rate: client_auth."""

from __future__ import annotations

import re
from collections.abc import Sequence

from flask import Flask, request

from service.errors import MalformedRequest, UnsupportedMediaType


def refuse_compressed_bodies(app: Flask) -> None:
    """415 for a compressed body: a few bytes could decompress to gigabytes."""

    @app.before_request
    def refuse() -> None:
        if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
            raise UnsupportedMediaType("expected a body without Content-Encoding")


_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?", re.IGNORECASE | re.ASCII)
"""A name or address and a port (RFC 3986 3.2.2); an address of IPv6 is in brackets."""


def refuse_other_names(app: Flask, names: Sequence[str]) -> None:
    """400 for a Host other than `names`, on any port: protection of open mode against DNS
    rebinding. An address of IPv6 is named in brackets.

    A hostile page could otherwise resolve its own name to this machine and read the answers.
    """

    @app.before_request
    def refuse() -> None:
        host = _HOST.fullmatch(request.host)
        if host is None or host[1].lower() not in names:
            raise MalformedRequest("the Host header names another server")
