"""Deadline of request bodies: a body that has not come in time is answered with 408.

The server reads a body while the application asks for it, and limits no time: a client that stops
in the middle holds its thread for as long as it likes. A read cannot be interrupted from within, so
a watch over all reads answers in place of the thread that waits. Ordinary calls pay for one entry
in a list, and no thread is started for them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

import structlog

from service.errors import BodyTooSlow
from service.web.json_body import encode

if TYPE_CHECKING:
    from _typeshed.wsgi import InputStream, StartResponse, WSGIApplication, WSGIEnvironment

log = structlog.get_logger(__name__)

_LOOK_SECONDS = 0.25


class LateAnswer(Protocol):
    """The answer to a request whose thread waits for the body."""

    def send(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        """Answer and close the connection, which ends the read. May take a moment."""


FindAnswer = Callable[[int], LateAnswer | None]
"""The unsent answer of the request that a thread, named by its identifier, is reading."""


@dataclass(slots=True, eq=False)
class _Read:
    """One read that is under way; `until` is its end by the monotonic clock."""

    until: float
    thread: int = field(default_factory=threading.get_ident)
    late: bool = False


class BodyWatch:
    """The watch over the reads of one worker; `find` gives the answers of those that are late."""

    def __init__(self, find: FindAnswer, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._find = find
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._reads: set[_Read] = set()

    def start(self) -> None:
        """Look at the reads from now on, in a thread of its own."""
        threading.Thread(target=self._look_for_ever, name="body-watch", daemon=True).start()

    def timed(self, until: float, read: Callable[[], bytes]) -> bytes:
        """The result of a read. Raises BodyTooSlow if it was ended."""
        under_way = _Read(until)
        with self._lock:
            self._reads.add(under_way)
        try:
            return read()
        finally:
            with self._lock:
                self._reads.discard(under_way)
            if under_way.late:
                raise BodyTooSlow

    def look(self) -> None:
        """Answer each read that is late."""
        now = self._monotonic()
        answers: list[LateAnswer] = []
        # While the lock is held, no thread goes on from its read to its own answer or to another
        # request.
        with self._lock:
            for each in self._reads:
                if each.until > now or each.late:
                    continue
                each.late = True
                answer = self._find(each.thread)
                if answer is None:
                    log.error("a slow body cannot be ended; its thread waits for the client")
                else:
                    answers.append(answer)
        for answer in answers:
            # Apart: each waits a moment for its bytes to be on their way.
            threading.Thread(target=_refuse, args=(answer,), name="late-body", daemon=True).start()

    def _look_for_ever(self) -> None:
        while True:
            time.sleep(_LOOK_SECONDS)
            try:
                self.look()
            except Exception:
                log.exception("slow bodies were not looked for")


def _refuse(answer: LateAnswer) -> None:
    refusal = BodyTooSlow()
    headers = [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
    answer.send(refusal.status, headers, encode(refusal.operation_outcome()))


class _TimedInput:
    """A body that must have come `seconds` after its first read."""

    def __init__(self, inner: InputStream, watch: BodyWatch, seconds: float) -> None:
        self._inner = inner
        self._watch = watch
        self._seconds = seconds
        self._until: float | None = None

    def read(self, size: int = -1, /) -> bytes:
        # The server's own stream takes no negative size.
        return self._timed(partial(self._inner.read, *(() if size < 0 else (size,))))

    def readline(self, _size: int = -1, /) -> bytes:
        return self._timed(self._inner.readline)

    def readlines(self, _hint: int = -1, /) -> list[bytes]:
        return list(self)

    def __iter__(self) -> Iterator[bytes]:
        while line := self.readline():
            yield line

    def _timed(self, read: Callable[[], bytes]) -> bytes:
        if self._until is None:
            self._until = time.monotonic() + self._seconds
        return self._watch.timed(self._until, read)


class BodyDeadline:
    """WSGI middleware: each body must have come `seconds` after its first read."""

    def __init__(self, app: WSGIApplication, watch: BodyWatch, seconds: float) -> None:
        self._app = app
        self._watch = watch
        self._seconds = seconds

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ["wsgi.input"] = _TimedInput(environ["wsgi.input"], self._watch, self._seconds)
        return self._app(environ, start_response)
