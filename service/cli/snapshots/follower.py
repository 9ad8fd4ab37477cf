"""Follower of a worker: it answers by the snapshot in force, and takes the next one when told.

A snapshot that is offered is made ready beside the one in force. All workers switch at the word of
the server, between two calls: a call ends under the snapshot that it began with.
"""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal

import structlog

from service.bootstrap.snapshot import Snapshot, from_bytes
from service.cli.snapshots.board import Board
from service.errors import ConfigurationError
from service.uncaught import told

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = structlog.get_logger(__name__)

_LOOK_SECONDS = 0.1
_AT_THE_WORD_SECONDS = 0.001
_SETTLED_SECONDS = 60.0
"""Longer than a call takes: whatever began under the snapshot of before has ended by then."""

Build = Callable[[Snapshot], "WSGIApplication"]


class CurrentApplication:
    """The application of the snapshot in force; each call goes through the one it found."""

    def __init__(self, application: WSGIApplication) -> None:
        self.application = application

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return self.application(environ, start_response)


class Follower:
    """The follower; `number` is that of the snapshot that `current` answers by.

    `build` makes the application of another snapshot; it raises ConfigurationError if it cannot.
    """

    def __init__(
        self, board: Board, number: int, current: CurrentApplication, build: Build
    ) -> None:
        self._board = board
        self._number = number
        self._current = current
        self._build = build
        self._tried = number

    def start(self) -> None:
        """Catch up with the snapshot in force, and follow it in a thread."""
        # Said first: a switch that is made after the look at what is in force waits for this one.
        self._say(self._number, "answers")
        while self._board.in_force != self._number:
            self._catch_up()
            self._say(self._number, "answers")
        threading.Thread(target=self._follow, name="snapshot-follower", daemon=True).start()

    def _follow(self) -> None:
        settles = None
        while True:
            time.sleep(_LOOK_SECONDS)
            before = self._number
            try:
                self._step()
            except Exception as error:
                # Two workers must not answer by different policies: this one starts again.
                log.error("the snapshot in force cannot be taken", exc_info=error)
                os.kill(os.getpid(), signal.SIGTERM)
                return
            if self._number != before:
                settles = time.monotonic() + _SETTLED_SECONDS
            if settles is not None and time.monotonic() >= settles:
                settles = None
                settle()

    def _step(self) -> None:
        offered = self._board.offered
        if self._board.in_force != self._number:
            self._catch_up()
            self._say(self._number, "answers")
        elif offered not in (self._number, self._tried):
            self._tried = offered
            self._make_ready(offered)

    def _make_ready(self, number: int) -> None:
        """Build the application of what is offered, and switch at the word of the server."""
        try:
            application = self._build(from_bytes(self._board.read(number)))
        except (ConfigurationError, ValueError, OSError) as error:
            self._say(number, "failed", str(error))
            return
        except Exception as error:
            self._say(number, "failed", told(error))
            return
        self._say(number, "ready")
        while self._board.offered == number:
            if self._board.in_force == number:
                self._switch(number, application)
                self._say(number, "answers")
                return
            time.sleep(_AT_THE_WORD_SECONDS)

    def _catch_up(self) -> None:
        """Take the snapshot in force. Raises whatever is wrong with it."""
        number = self._board.in_force
        application = self._build(from_bytes(self._board.read(number)))
        # Meanwhile another one may have come into force, or have been offered.
        if self._board.in_force == number:
            self._switch(number, application)

    def _switch(self, number: int, application: WSGIApplication) -> None:
        self._current.application = application
        self._number = self._tried = number

    def _say(
        self, number: int, state: Literal["ready", "answers", "failed"], why: str = ""
    ) -> None:
        try:
            self._board.report(number, state, why)
        except OSError as error:
            log.warning("the server process does not listen", kind=type(error).__name__)


def settle() -> None:
    """Free what the application of before has left, and spare the new one the collections.

    What is frozen is never looked at, nor freed: it is thawed first.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
