"""Deadline of an HTTP exchange as a whole, beside the timeouts between its packets."""

from __future__ import annotations

import socket
import threading
from typing import Any

from requests.adapters import HTTPAdapter


class DeadlineAdapter(HTTPAdapter):
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

    def __enter__(self) -> DeadlineAdapter:
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
