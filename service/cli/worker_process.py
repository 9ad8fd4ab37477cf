"""A worker process under its server process: how it is begun, told to stop, and ends.

A socket pair links the two. The worker writes one byte when it serves; either side learns by the
end of the stream that the other is gone, however that ended.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)

STOP = (signal.SIGTERM, signal.SIGINT)
"""Signals that tell the service to stop. They stay blocked in a worker: see `stand_by`."""

SECONDS_TO_STOP = 10
"""Limit of a graceful stop, for a client that never ends its request."""

SERVING = b"s"

_LOOK_SECONDS = 0.01


class Worker:
    """This process as a worker: `link` leads to its server process."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._lock = threading.Lock()
        self._before_stop: Callable[[], None] | None = None

    def stand_by(self) -> None:
        """Obey the signals to stop, and the end of the server process, from now on."""
        for task in (self._await_stop, self._await_end_of_server):
            threading.Thread(target=task, name=task.__name__.strip("_"), daemon=True).start()

    def serve(self, before_stop: Callable[[], None]) -> None:
        """The application is loaded: a stop is graceful from now on, after `before_stop`."""
        with self._lock:
            self._before_stop = before_stop
        try:
            self._link.sendall(SERVING)
        except OSError as error:
            # The server process is gone: the thread that waits for that ends this worker.
            log.warning("the server process is gone", kind=type(error).__name__)

    def _await_stop(self) -> None:
        """The server's own handler takes one signal and blocks for ever at the third, with all
        threads behind it: it is called once, from here.
        """
        signal.sigwait(STOP)
        with self._lock:
            if self._before_stop is None:
                os._exit(0)  # nothing was begun
        self._before_stop()
        while not callable(handler := signal.getsignal(signal.SIGTERM)):
            time.sleep(_LOOK_SECONDS)
        handler(signal.SIGTERM, None)

    def _await_end_of_server(self) -> None:
        try:
            while self._link.recv(1):
                pass
        except OSError as error:
            log.warning("the link to the server process is broken", kind=type(error).__name__)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(SECONDS_TO_STOP)
        os.kill(os.getpid(), signal.SIGKILL)


_this: Worker | None = None


def this_worker() -> Worker:
    """This process as a worker. Raises RuntimeError in any other process."""
    if _this is None:
        raise RuntimeError("this process is no worker")
    return _this


def become_worker(link: socket.socket) -> None:
    """Turn this process, just forked with the signals to stop blocked, into a worker."""
    global _this
    signal.set_wakeup_fd(-1)
    for told in STOP:
        signal.signal(told, signal.SIG_DFL)
    # A terminal that closes tells the server process; it tells its workers.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    _this = Worker(link)
