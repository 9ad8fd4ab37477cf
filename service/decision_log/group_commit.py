"""Group commit: waiting threads share one transaction, each bounded by its deadline.

The first thread writes; threads that arrive meanwhile wait and share the next transaction, written
by one of them. A lone call costs no thread switch, and many calls cost few commits.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Literal

from service.decision_log.log_store import LogStore
from service.decision_log.rows import LogEntry, together
from service.errors import EntryRejected, StoreUnavailable

_LARGEST_BATCH = 64
_CLOSE_SECONDS = 1.0

Ended = StoreUnavailable | EntryRejected | Literal["done"]


@dataclass(slots=True, eq=False)
class _Job:
    """A task for the store. Its thread receives the result, or the turn to write."""

    task: LogEntry | Literal["ping", "close"]
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

    def write(self, entry: LogEntry, within: float) -> None:
        """Write the entry; it is durable when this returns.

        Raises StoreUnavailable after about `within` seconds at the latest, EntryRejected if the
        store rejects it for good. After the deadline the entry may still be stored.
        """
        self._do(entry, within)

    def ping(self, within: float) -> None:
        """Connect if necessary; StoreUnavailable unless the store answers."""
        self._do("ping", within)

    def close(self) -> None:
        """Close the store after the current write, or interrupt a write that hangs."""
        try:
            self._do("close", _CLOSE_SECONDS)
        except StoreUnavailable:
            self._store.interrupt()

    def hang_up_if_late(self) -> None:
        """Interrupt a write past its deadline. Called regularly by another thread."""
        due = self._due
        if due is not None and time.monotonic() > due:
            self._store.interrupt()

    def _do(self, task: LogEntry | Literal["ping", "close"], within: float) -> None:
        job = _Job(task, time.monotonic() + within)
        with self._lock:
            leads = not self._busy
            if leads:
                self._busy = True
            else:
                self._waiting.append(job)
        ended = self._lead(job) if leads else self._follow(job)
        if ended != "done":
            # A copy: each waiting thread raises its own.
            raise type(ended)(*ended.args) from ended

    def _follow(self, job: _Job) -> Ended:
        try:
            told = job.told.get(timeout=max(0.0, job.deadline - time.monotonic()))
        except Empty:
            return self._give_up(job)
        return self._lead(job) if told == "your turn" else told

    def _give_up(self, job: _Job) -> Ended:
        """The deadline has passed; a result may have arrived at this moment."""
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
        """Do this job, an entry together with the waiting entries; then pass the turn on.

        A ping runs alone: it may have to connect, and no call can wait for that.
        """
        batch = [job]
        if isinstance(job.task, LogEntry):
            with self._lock:
                others = [j for j in self._waiting if isinstance(j.task, LogEntry)]
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
        """Pass the turn to a waiting thread. The lock is held."""
        if self._waiting:
            self._waiting.popleft().told.put("your turn")
        else:
            self._busy = False

    def _attempt(self, jobs: Sequence[_Job]) -> list[Ended]:
        """The result of each job."""
        ended = self._once(jobs)
        if isinstance(ended, EntryRejected) and len(jobs) > 1:
            return [self._once([job]) for job in jobs]  # one entry failed the whole batch
        return [ended] * len(jobs)

    def _once(self, jobs: Sequence[_Job]) -> Ended:
        deadline = self._due = jobs[0].deadline
        entries = [job.task for job in jobs if isinstance(job.task, LogEntry)]
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
            # Each thread that waits for this write must get a result.
            return StoreUnavailable(type(error).__name__)
        finally:
            self._due = None
        return "done"
