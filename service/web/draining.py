"""Connection draining: before a worker stops, each answer asks to close its connection.

The server closes idle connections at once when told to stop. A client or proxy that sends its next
request at that moment would lose it, and may not send a POST again by itself (RFC 9110 9.2.2,
RFC 9112 9.6).
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_QUIET_SECONDS = 0.25
"""Without a request for so long, no connection is in use."""
_MOST_SECONDS = 1.0
_LOOK_SECONDS = 0.02


class Draining:
    """WSGI middleware over all requests of one worker."""

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app
        self._last = 0.0
        self._begun = False

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        self._last = time.monotonic()
        if not self._begun:
            return self._app(environ, start_response)

        def closing(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            return start_response(status, [*headers, ("Connection", "close")], *rest)

        return self._app(environ, closing)

    def drain(self) -> None:
        """Let clients that are at work go elsewhere: until none is, for a second at most."""
        self._begun = True
        until = time.monotonic() + _MOST_SECONDS
        while (now := time.monotonic()) < until and now - self._last < _QUIET_SECONDS:
            time.sleep(_LOOK_SECONDS)
