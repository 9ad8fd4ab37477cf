"""Limits on encoding and Host of a call. Size: json_body; depth: crd; rate: client_auth."""

from __future__ import annotations

from collections.abc import Sequence

from flask import Flask, request
from werkzeug.sansio.utils import host_is_trusted

from service.errors import MalformedRequest, UnsupportedMediaType


def refuse_compressed_bodies(app: Flask) -> None:
    """415 for a compressed body: a few bytes could decompress to gigabytes."""

    @app.before_request
    def refuse() -> None:
        if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
            raise UnsupportedMediaType("expected a body without Content-Encoding")


def refuse_other_names(app: Flask, names: Sequence[str]) -> None:
    """400 for a Host other than `names`, on any port: protection of open mode against DNS
    rebinding.

    A hostile page could otherwise resolve its own name to this machine and read the answers.
    """

    @app.before_request
    def refuse() -> None:
        if not host_is_trusted(request.host, names):
            raise MalformedRequest("the Host header names another server")
