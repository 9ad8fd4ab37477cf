"""Answers of the server to requests whose thread waits for their body.

Granian gives the application no means to end such a wait: a body has no time limit in it, by its
author's decision, and the object that takes the answer stays with the server's own frame. It is
taken from there, for a request that is late only. tests/e2e/test_slow_bodies.py holds this to the
locked version of the server.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Generator
from typing import Any

from service.web.body_deadline import LateAnswer

_SERVER = "granian.wsgi"
_FUNCTION = "_runner"
_PROTOCOL = "proto"

_ON_ITS_WAY = 0.2
"""Seconds until the answer has left; the connection is closed then."""


def late_answer(thread: int) -> LateAnswer | None:
    """The unsent answer of the request in a thread, by its identifier; None without a request."""
    frame = sys._current_frames().get(thread)
    while frame is not None:
        if frame.f_code.co_name == _FUNCTION and frame.f_globals.get("__name__") == _SERVER:
            protocol = frame.f_locals.get(_PROTOCOL)
            return None if protocol is None else _Answer(protocol)
        frame = frame.f_back
    return None


class _Answer:
    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol

    def send(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        # One byte is announced that does not come. The server takes this for a broken answer and
        # closes the connection at once; after a whole one it would go on to wait for the body.
        told = [*headers, ("Content-Length", str(len(body) + 1)), ("Connection", "close")]
        self._protocol.response_iter(status, told, _Parts(body))


class _Parts:
    """The body, and its end a moment later: what was written before the end is sent by then."""

    def __init__(self, body: bytes) -> None:
        self._parts = self._one_by_one(body)

    def __next__(self) -> bytes:
        return next(self._parts)

    def close(self) -> None:
        self._parts.close()

    @staticmethod
    def _one_by_one(body: bytes) -> Generator[bytes]:
        yield body
        time.sleep(_ON_ITS_WAY)
