"""Limits on encoding and Host of a call. Size: json_body; depth: crd; rate: client_auth."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from flask import Flask, request
from werkzeug.sansio.utils import host_is_trusted

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


def refuse_other_names(app: Flask, names: Sequence[str]) -> None:
    """400 for a Host other than `names`, on any port: protection of open mode against DNS
    rebinding.

    A hostile page could otherwise resolve its own name to this machine and read the answers.
    """

    @lru_cache(maxsize=_MOST_HOSTS)
    def is_own(host: str) -> bool:
        return host_is_trusted(host, names)

    @app.before_request
    def refuse() -> None:
        if not is_own(request.host):
            raise MalformedRequest("the Host header names another server")
