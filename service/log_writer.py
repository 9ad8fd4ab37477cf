"""Writer of log lines: no call waits for whoever reads them.

Standard output is often a pipe, and a write to one whose reader stands still takes as long as that
does. Lines are written by a thread; as many wait for it as `MOST_WAITING`. Further ones are left
out and counted, and the count is told in their place once there is room.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import sys
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

MOST_WAITING = 10_000
"""Lines; some five megabytes."""


class LogWriter:
    """A text stream that takes whole lines and writes them to a descriptor, in their order.

    `told` gives the line that says how many were left out. Only lines of one process are in order,
    and lines of several do not mix as long as each fits into `PIPE_BUF`.
    """

    def __init__(
        self, descriptor: int, told: Callable[[int], str], most: int = MOST_WAITING
    ) -> None:
        self._descriptor = descriptor
        self._told = told
        self._most = most
        self._left_out = 0
        self._begin()
        os.register_at_fork(after_in_child=self._begin)
        atexit.register(self.drain)

    def write(self, text: str) -> int:
        """Take text that ends with a line. Never waits."""
        if self._thread is None:
            self._start_once()
        waiting = self._lines.qsize()
        # Once lines are left out, they are until half of those that wait are written.
        if waiting >= self._most or (self._left_out and waiting > self._most // 2):
            with self._lock:
                self._left_out += 1
        else:
            if self._left_out:
                with self._lock:
                    number, self._left_out = self._left_out, 0
                if number:
                    self._lines.put(self._told(number))
            self._lines.put(text)
        return len(text)

    def flush(self) -> None:
        """Return at once: callers flush after each line. See `drain`."""

    def drain(self, seconds: float = 1.0) -> None:
        """Wait until all lines of before are written, for so long at most."""
        if self._thread is not None:
            written = threading.Event()
            self._lines.put(written)
            written.wait(seconds)

    def _begin(self) -> None:
        """Begin without lines: those of before a fork are the other process's to write."""
        self._lines: SimpleQueue[str | threading.Event] = SimpleQueue()
        self._lock = threading.Lock()
        self._left_out = 0
        self._thread: threading.Thread | None = None

    def _start_once(self) -> None:
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
                # Where no thread is to be had, the line waits for the next one's try.
                with contextlib.suppress(RuntimeError):
                    thread.start()
                    self._thread = thread

    def _run(self) -> None:
        taken: str | threading.Event | None = None
        while True:
            batch = b""
            taken = taken or self._lines.get()
            while isinstance(taken, str):
                line = taken.encode("utf-8", "backslashreplace")
                if batch and len(batch) + len(line) > select.PIPE_BUF:
                    break
                batch += line
                try:
                    taken = self._lines.get_nowait()
                except Empty:
                    taken = None
            self._write(batch)
            if isinstance(taken, threading.Event):
                taken.set()
                taken = None

    def _write(self, batch: bytes) -> None:
        left = memoryview(batch)
        while left:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:
                # Another program has set the pipe so.
                select.select([], [self._descriptor], [])
            except OSError as error:
                lines = bytes(left).count(b"\n")
                with contextlib.suppress(OSError, ValueError):
                    sys.stderr.write(
                        f"{lines} log lines could not be written: {type(error).__name__}\n"
                    )
                return
