"""Key set retrieval (JWK Set URL): GET the URL that the operator pinned, and no other.

No redirect is followed, no proxy or netrc of the environment is used, TLS is verified, and the
answer is bounded in size and time, its headers included.
"""

from __future__ import annotations

import socket
import threading
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from service.auth.key_sets import KeySetUnreachable

LARGEST = 262_144
"""Bytes; a key set of a hundred keys is a third of it."""

DEADLINE = 5.0
"""Seconds for the whole exchange, from the connection to the last byte."""

_TIMEOUT = (2, 2)
"""Seconds to connect, and between two packets."""

_PLAIN = frozenset({"", "identity"})


def fetch_key_set(url: str, deadline: float = DEADLINE) -> bytes:
    """The body at `url`. Raises KeySetUnreachable unless it is a 200 within the bounds."""
    with requests.Session() as session, _DeadlineAdapter(deadline) as adapter:
        session.trust_env = False
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        try:
            body = _read(session, url)
        except (requests.RequestException, OSError, ValueError) as error:
            # A connection closed by the deadline fails in its current operation.
            why = "took too long" if adapter.expired else type(error).__name__
            raise KeySetUnreachable(why) from error
        if adapter.expired:
            # Headers cut off by the closing look complete.
            raise KeySetUnreachable("took too long")
        return body


def _read(session: requests.Session, url: str) -> bytes:
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    with session.get(
        url, headers=headers, timeout=_TIMEOUT, allow_redirects=False, stream=True
    ) as reply:
        if reply.status_code != requests.codes.ok:
            raise KeySetUnreachable(f"answered {reply.status_code}")
        if reply.headers.get("Content-Encoding", "").strip().lower() not in _PLAIN:
            # A few bytes could decompress to gigabytes.
            raise KeySetUnreachable("is encoded, which was not asked for")
        body = bytearray()
        for chunk in reply.iter_content(8192):
            body += chunk
            if len(body) > LARGEST:
                raise KeySetUnreachable(f"larger than {LARGEST} bytes")
        return bytes(body)


class _DeadlineAdapter(HTTPAdapter):
    """HTTP adapter with a deadline for the whole exchange: at its end connections are closed.

    The timeouts of sockets are between two packets: a server that sends a byte a second, in its
    headers or in the TLS handshake, keeps within them for ever.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(max_retries=0)
        self.expired = False
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True

    def __enter__(self) -> _DeadlineAdapter:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        with self._lock:
            for opened in self._sockets:
                opened.close()
            self._sockets.clear()

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        watch, plain = self._watch, pool.ConnectionCls

        class Watched(plain):  # type: ignore[misc, valid-type]
            def _new_conn(self) -> socket.socket:
                opened: socket.socket = super()._new_conn()
                # A duplicate, since TLS takes over the socket itself.
                watch(opened.dup())
                return opened

        pool.ConnectionCls = Watched
        return pool

    def _watch(self, opened: socket.socket) -> None:
        with self._lock:
            self._sockets.append(opened)
            if self.expired:
                opened.shutdown(socket.SHUT_RDWR)

    def _expire(self) -> None:
        with self._lock:
            self.expired = True
            for opened in self._sockets:
                try:
                    opened.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # closed by the other side meanwhile
