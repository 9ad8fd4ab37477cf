"""Reading of YAML by helper processes, ahead of the process that loads a library.

A helper reads the files from the last one on, the loading process from the first one on: they meet
somewhere, and nobody waits for anybody. What a helper cannot read, it leaves out, and the loading
process comes to it and to its error. So a helper that is slow, or dead, costs its help alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import msgspec

MOST_HELPERS = 7
"""Above this number they would find nothing to do."""

FILES_IN_A_MESSAGE = 16

BYTES_AHEAD = 1 << 20
"""How much a helper hands over before somebody takes it, where the system allows it."""

Digest = str
"""What a file is known by: the digest of its content."""
Found = tuple[Digest, bytes]
"""A file's plain data, as JSON."""
ReadFile = Callable[[bytes], Found | None]
"""Reads the content of a file; None for what is not to be handed over. Raises nothing."""


def helpers_at_hand() -> int:
    """The number of processes that can help here: one on each further processor.

    None where a fork is not safe: beside other threads, and outside of Linux.
    """
    if sys.platform != "linux" or threading.active_count() > 1:
        return 0
    return min(len(os.sched_getaffinity(0)) - 1, MOST_HELPERS)


class ReadingAhead:
    """Helpers that read `paths`, the last one first."""

    def __init__(self, paths: Sequence[Path], read: ReadFile, helpers: int) -> None:
        self._read = read
        self._pending: dict[Connection, BaseProcess] = {}
        context = get_context("fork")
        backwards = paths[::-1]
        for n in range(helpers):
            ours, theirs = context.Pipe(duplex=False)
            with contextlib.suppress(OSError):  # a user may have only so much
                fcntl.fcntl(ours.fileno(), fcntl.F_SETPIPE_SZ, BYTES_AHEAD)
            share = backwards[n::helpers]
            process = context.Process(target=self._help, args=(share, theirs, ours), daemon=True)
            with contextlib.suppress(OSError):  # no further process allowed: nobody helps
                process.start()
                self._pending[ours] = process
            theirs.close()

    def found(self) -> Iterator[Found]:
        """The data of files read since the last time; never waits."""
        for ours in list(self._pending):
            try:
                while ours.poll():
                    yield from msgspec.msgpack.decode(ours.recv_bytes(), type=list[Found])
            except (EOFError, OSError):
                self._end(ours)

    def end(self) -> None:
        """Stop the helpers, whatever they are at."""
        for ours in list(self._pending):
            self._end(ours)

    def _end(self, ours: Connection) -> None:
        process = self._pending.pop(ours)
        process.kill()
        process.join()
        process.close()
        ours.close()

    def _help(self, share: Collection[Path], theirs: Connection, ours: Connection) -> None:
        """The helper's whole life."""
        ours.close()
        for told in (signal.SIGINT, signal.SIGTERM):
            signal.signal(told, signal.SIG_DFL)
        found: list[Found] = []
        with contextlib.suppress(OSError):  # the loading process is gone
            for path in share:
                with contextlib.suppress(OSError):  # the loading process says so
                    if (read := self._read(path.read_bytes())) is not None:
                        found.append(read)
                if len(found) == FILES_IN_A_MESSAGE:
                    theirs.send_bytes(msgspec.msgpack.encode(found))
                    found.clear()
            if found:
                theirs.send_bytes(msgspec.msgpack.encode(found))
