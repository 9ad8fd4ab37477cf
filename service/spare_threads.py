"""Spare threads, kept for the next work: to start a thread takes longer than most of its work."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue

KEPT_SECONDS = 10.0

_Work = Callable[[], None]


class SpareThreads:
    """Daemon threads, as many as there is work at a time; one without work waits a while for more.

    Work that never ends holds its own thread only, and not the end of the process. `kept` is the
    time in seconds that a thread waits. Safe for threads; a forked process starts anew.
    """

    def __init__(self, name: str, kept: float = KEPT_SECONDS) -> None:
        self._name = name
        self._kept = kept
        self._pid = os.getpid()
        self._idle: deque[SimpleQueue[_Work]] = deque()

    def begin(self, work: _Work) -> None:
        """Begin work, which must not raise. RuntimeError if the system has no more threads."""
        if self._pid != os.getpid():
            self._pid, self._idle = os.getpid(), deque()
        try:
            # The one that has waited for the shortest time: the others come to their end.
            idle = self._idle.pop()
        except IndexError:
            threading.Thread(target=self._run, args=(work,), name=self._name, daemon=True).start()
        else:
            idle.put(work)

    def _run(self, work: _Work) -> None:
        given: SimpleQueue[_Work] = SimpleQueue()
        while True:
            work()
            # Nothing of a call is kept while the thread waits.
            del work
            self._idle.append(given)
            try:
                work = given.get(timeout=self._kept)
            except Empty:
                try:
                    self._idle.remove(given)
                except ValueError:
                    work = given.get()  # taken at this very moment: its work is on the way
                else:
                    return
