"""Time limit of work that waits for a database: what takes longer is interrupted."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

_LOOK_SECONDS = 0.25
_IDLE_LOOKS = 40


class TimeLimit:
    """A limit on pieces of work of one thread; `interrupt` ends one from another thread.

    One thread looks several times a second, and ends when nothing has been limited for a while: a
    timer for each piece would start a thread each time.
    """

    def __init__(self, interrupt: Callable[[], None]) -> None:
        self._interrupt = interrupt
        self._lock = threading.Lock()
        self._until: float | None = None
        self._begun = 0
        self._looking = False

    @contextlib.contextmanager
    def of(self, seconds: float) -> Iterator[None]:
        """A block that is interrupted after so many seconds, and a moment at most."""
        with self._lock:
            self._until = time.monotonic() + seconds
            self._begun += 1
            start, self._looking = not self._looking, True
        if start:
            threading.Thread(target=self._look, name="records-limit", daemon=True).start()
        try:
            yield
        finally:
            with self._lock:
                self._until = None

    def _look(self) -> None:
        seen, idle = 0, 0
        while True:
            time.sleep(_LOOK_SECONDS)
            with self._lock:
                idle = 0 if self._begun != seen or self._until is not None else idle + 1
                seen = self._begun
                if idle == _IDLE_LOOKS:
                    self._looking = False
                    return
                if self._until is not None and time.monotonic() > self._until:
                    self._until = None
                    self._interrupt()
