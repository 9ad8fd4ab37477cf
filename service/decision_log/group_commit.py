"""Writing to the store by whoever has something to write, together, and never for too long.

The first to come writes; those who come meanwhile wait, and share the next transaction, which one
of them writes. So a lone call pays for no change of threads, and many calls pay for few commits.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Literal

from service.decision_log.log_store import EntryRejected, LogStore, StoreUnavailable
from service.decision_log.rows import Entry, together

_LARGEST_BATCH = 64
_CLOSE_SECONDS = 1.0

Ended = StoreUnavailable | EntryRejected | Literal["done"]


@dataclass(slots=True, eq=False)
class _Job:
    """Something to do with the store. Its thread is told how it ended, or that it writes next."""

    task: Entry | Literal["ping", "close"]
    deadline: float
    told: SimpleQueue[Ended | Literal["your turn"]] = field(default_factory=SimpleQueue)


class StoreWriter:
    """Writes to one store for all threads of a process."""

    def __init__(self, store: LogStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._busy = False
        self._waiting: deque[_Job] = deque()
        self._due: float | None = None

    def write(self, entry: Entry, within: float) -> None:
        """Write the entry; it is durable when this returns.

        Raises StoreUnavailable after about `within` seconds at the latest, EntryRejected if the
        store will never take it. After the deadline the entry may still get there.
        """
        self._do(entry, within)

    def ping(self, within: float) -> None:
        """Connect if need be; StoreUnavailable unless the store answers."""
        self._do("ping", within)

    def close(self) -> None:
        """Close the store after what is being written, or hang up on it where that hangs."""
        try:
            self._do("close", _CLOSE_SECONDS)
        except StoreUnavailable:
            self._store.interrupt()

    def hang_up_if_late(self) -> None:
        """End a write that is over its deadline. To be called now and then by another thread."""
        due = self._due
        if due is not None and time.monotonic() > due:
            self._store.interrupt()

    def _do(self, task: Entry | Literal["ping", "close"], within: float) -> None:
        job = _Job(task, time.monotonic() + within)
        with self._lock:
            leads = not self._busy
            if leads:
                self._busy = True
            else:
                self._waiting.append(job)
        ended = self._lead(job) if leads else self._follow(job)
        if ended != "done":
            # A new one: the same may be raised in every thread that waited.
            raise type(ended)(*ended.args) from ended

    def _follow(self, job: _Job) -> Ended:
        try:
            told = job.told.get(timeout=max(0.0, job.deadline - time.monotonic()))
        except Empty:
            return self._give_up(job)
        return self._lead(job) if told == "your turn" else told

    def _give_up(self, job: _Job) -> Ended:
        """The deadline is over; but it may have been told something this very moment."""
        with self._lock:
            if job in self._waiting:
                self._waiting.remove(job)
            elif not job.told.empty():
                told = job.told.get()
                if told != "your turn":
                    return told
                self._pass_on()
        return StoreUnavailable("the store is busy")

    def _lead(self, job: _Job) -> Ended:
        """Do this job, with the entries that wait if it is one; then it is another's turn.

        A ping may have to connect, for which no call can wait: whoever pings does so alone.
        """
        batch = [job]
        if isinstance(job.task, Entry):
            with self._lock:
                others = [j for j in self._waiting if isinstance(j.task, Entry)]
                batch.extend(others[: _LARGEST_BATCH - 1])
                self._waiting = deque(j for j in self._waiting if j not in batch)
        try:
            ended = self._attempt(batch)
            for follower, end in zip(batch[1:], ended[1:], strict=True):
                follower.told.put(end)
            return ended[0]
        finally:
            with self._lock:
                self._pass_on()

    def _pass_on(self) -> None:
        """Let one who waits write next. The lock is held."""
        if self._waiting:
            self._waiting.popleft().told.put("your turn")
        else:
            self._busy = False

    def _attempt(self, jobs: Sequence[_Job]) -> list[Ended]:
        """How it ends for each of them."""
        ended = self._once(jobs)
        if isinstance(ended, EntryRejected) and len(jobs) > 1:
            return [self._once([job]) for job in jobs]  # one of them spoiled it for all
        return [ended] * len(jobs)

    def _once(self, jobs: Sequence[_Job]) -> Ended:
        deadline = self._due = jobs[0].deadline
        entries = [job.task for job in jobs if isinstance(job.task, Entry)]
        try:
            if entries:
                whole = entries[0] if len(entries) == 1 else together(entries)
                self._store.write(whole, deadline)
            elif jobs[0].task == "ping":
                self._store.ping(deadline)
            else:
                self._store.close()
        except (StoreUnavailable, EntryRejected) as error:
            return error
        except Exception as error:
            # Whatever it is, those who wait for this write must be told.
            return StoreUnavailable(type(error).__name__)
        finally:
            self._due = None
        return "done"
