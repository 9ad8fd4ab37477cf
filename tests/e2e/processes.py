"""The processes of a server that is under test, and threads that this one does not get."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.cli.drainer_process import PROCESS_NAME


@contextlib.contextmanager
def without_threads(name: str) -> Iterator[None]:
    """A block in which the system has no more threads for what the service calls by this name."""
    start = threading.Thread.start

    def started(thread: threading.Thread) -> None:
        if thread.name == name:
            raise RuntimeError("can't start new thread")
        start(thread)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(threading.Thread, "start", started)
        yield


def children_of(server: int) -> dict[int, str]:
    """The children of a process that it has not waited for, with their names."""
    with contextlib.suppress(OSError):
        told = Path(f"/proc/{server}/task/{server}/children").read_text()
        names = {pid: _name(pid) for pid in map(int, told.split())}
        return {pid: name for pid, name in names.items() if name is not None}
    return {}


def workers_of(server: int) -> list[int]:
    """The worker processes of this server process."""
    return [pid for pid, name in children_of(server).items() if name != PROCESS_NAME]


def drainer_of(server: int) -> int | None:
    """The process that moves this server's records to the rows; None while there is none."""
    found = [pid for pid, name in children_of(server).items() if name == PROCESS_NAME]
    assert len(found) < 2
    return found[0] if found else None


def lives(process: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has waited for does not."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def _name(pid: int) -> str | None:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return None
