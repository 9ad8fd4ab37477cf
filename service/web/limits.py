"""What a call may be made of; size: json_body, depth: crd, number and rate: client_auth."""

from __future__ import annotations

from collections.abc import Sequence

from flask import Flask, request
from werkzeug.sansio.utils import host_is_trusted

from service.errors import MalformedRequest, UnsupportedMediaType


def refuse_compressed_bodies(app: Flask) -> None:
    """415 for a body that is encoded: a few bytes could unfold to gigabytes."""

    @app.before_request
    def refuse() -> None:
        if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
            raise UnsupportedMediaType("expected a body without Content-Encoding")


def refuse_other_names(app: Flask, names: Sequence[str]) -> None:
    """400 for a Host that is none of `names`, whatever its port.

    For a service that asks nobody who he is: a hostile page could else make its own name stand for
    this machine and then read, as its own, what the service answers (DNS rebinding).
    """

    @app.before_request
    def refuse() -> None:
        if not host_is_trusted(request.host, names):
            raise MalformedRequest("the Host header names another server")
