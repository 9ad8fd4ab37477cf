"""Recorder: writes each call durably to the store, or to the spool while the store is unavailable.

After a failure or a missed deadline, answers bypass the store: a background thread retries it,
drains the spool into it, and then puts it back into use.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from service.decision_log.call_record import CallRecord
from service.decision_log.drain import drain
from service.decision_log.group_commit import StoreWriter
from service.decision_log.log_store import LogStore
from service.decision_log.rows import FeedbackRow, LogEntry, encode_entry, entry_of
from service.decision_log.spool import Spool, SpoolDepth
from service.errors import ConfigurationError, EntryRejected, RecordsUnavailable, StoreUnavailable

_FIRST_RETRY_SECONDS = 0.5
_LONGEST_RETRY_SECONDS = 5.0
_OPEN_SECONDS = 5.0
_PING_SECONDS = 3.0
_STOP_SECONDS = 2.0
_PROBE_EVERY_SECONDS = 30.0
_NOTHING = SpoolDepth(0, 0, 0)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Health:
    """Health of recording in this process.

    `refusing`: neither store nor spool takes a record. `spool_usable`: the last write to the spool
    succeeded, and it can be read.
    """

    store_up: bool
    spool: SpoolDepth
    refusing: bool
    spool_usable: bool = True


class Recorder:
    """Durable recording of calls and feedback. Safe for threads; a forked process starts anew.

    `new_store` creates the store, `prepare` migrates its tables; both are called on the first use,
    so that a process that records nothing pays for neither. `patience` is the longest wait for the
    store in seconds.
    """

    def __init__(
        self,
        new_store: Callable[[], LogStore],
        prepare: Callable[[], None],
        spool_dir: Path,
        patience: float,
    ) -> None:
        self._new_store = new_store
        self._prepare = prepare
        self._spool_dir = spool_dir
        self._patience = patience
        self._starting = threading.Lock()
        self._process: _Process | None = None

    def start(self) -> None:
        """Open the store and start draining the spool; otherwise the first record does."""
        self._running()

    def stop(self) -> None:
        """End the threads of this process."""
        with self._starting:
            process, self._process = self._process, None
        if process is not None and process.pid == os.getpid():
            process.stop()

    def record(self, call: CallRecord) -> None:
        """Record a call and its answer, durable on return.

        Raises RecordsUnavailable if neither the store nor the spool takes it.
        """
        self._running().keep(entry_of(call))

    def record_feedback(self, feedback: list[FeedbackRow]) -> None:
        """Record feedback, durable on return. A repeated item is stored once.

        Raises RecordsUnavailable if neither the store nor the spool takes it.
        """
        if feedback:
            self._running().keep(LogEntry(feedback=feedback))

    def health(self) -> Health:
        """The health as last observed by this process; never waits for the store."""
        process = self._process
        if process is None:
            depth = _depth(Spool(self._spool_dir))
            return Health(True, depth or _NOTHING, False, depth is not None)
        return process.health()

    def _running(self) -> _Process:
        process = self._process
        if process is not None and process.pid == os.getpid():
            return process
        with self._starting:
            if self._process is None or self._process.pid != os.getpid():
                self._process = _Process(
                    self._new_store(), self._prepare, Spool(self._spool_dir), self._patience
                )
            return self._process


class _Process:
    """The recorder's parts in one process: writer, spool, background threads."""

    def __init__(
        self, store: LogStore, prepare: Callable[[], None], spool: Spool, patience: float
    ) -> None:
        self.pid = os.getpid()
        self._prepare: Callable[[], None] | None = prepare
        self._spool = spool
        self._patience = patience
        self._writer = StoreWriter(store)
        self._store_up = False
        self._refusing = False
        self._spool_usable = True
        self._probe_at = 0.0
        self._stopping = threading.Event()
        self._looked = threading.Event()
        self._tender = threading.Thread(target=self._tend, name="spool-tender", daemon=True)
        self._watch = threading.Thread(target=self._watch_writer, name="store-watch", daemon=True)
        self._tender.start()
        self._watch.start()
        # Keeps the first calls out of the spool while the store opens.
        self._looked.wait(_OPEN_SECONDS)

    def stop(self) -> None:
        self._stopping.set()
        self._tender.join(_STOP_SECONDS)
        self._writer.close()

    def health(self) -> Health:
        depth = _depth(self._spool)
        usable = self._spool_usable and depth is not None
        return Health(self._store_up, depth or _NOTHING, self._refusing, usable)

    def keep(self, entry: LogEntry) -> None:
        if self._store_up and self._stored(entry):
            return
        try:
            self._spool.append(encode_entry(entry))
        except OSError as error:
            log.error("spool cannot be written", reason=error.strerror)
            # The store may have recovered since the last attempt.
            if not self._stored(entry):
                self._refusing = True
                raise RecordsUnavailable("neither the store nor the spool can be written") from None
        self._refusing = False

    def _stored(self, entry: LogEntry) -> bool:
        try:
            self._writer.write(entry, within=self._patience)
        except EntryRejected as error:
            log.error("the store rejects a record", reason=str(error))
            return False
        except StoreUnavailable as error:
            self._lost(error)
            return False
        return True

    def _lost(self, error: StoreUnavailable) -> None:
        if self._store_up:
            self._store_up = False
            log.error("store lost, keeping records in the spool", reason=str(error))

    def _watch_writer(self) -> None:
        """Until stopped: interrupt a store that overruns a deadline."""
        while not self._stopping.wait(self._patience / 5):
            self._writer.hang_up_if_late()

    def _tend(self) -> None:
        """Until stopped: check the store, and drain the spool into it."""
        retry = _FIRST_RETRY_SECONDS
        pause = 0.0
        while not self._stopping.wait(pause):
            if self._look_after_store():
                retry = pause = _FIRST_RETRY_SECONDS
            else:
                pause = retry * random.uniform(0.75, 1.25)  # noqa: S311  instances spread out
                retry = min(2 * retry, _LONGEST_RETRY_SECONDS)
            self._looked.set()

    def _look_after_store(self) -> bool:
        """Whether the store is available and this process's share of the spool is drained."""
        try:
            if not self._prepared():
                self._look_after_spool()
                return False
            self._writer.ping(within=_PING_SECONDS)
            emptied = self._emptied()
        except StoreUnavailable as error:
            self._lost(error)
            self._look_after_spool()
            return False
        except Exception as error:
            log.error("store cannot be looked after", reason=type(error).__name__)
            return False
        if not self._store_up:
            self._store_up = True
            log.info("store in use")
        self._refusing = False
        if time.monotonic() >= self._probe_at:
            # An unusable spool is best known before the store fails.
            self._look_after_spool()
        return emptied

    def _emptied(self) -> bool:
        """Whether the spool is drained. An error of the spool does not disable the store."""
        try:
            drain(self._spool, self._writer)
        except StoreUnavailable:
            raise
        except Exception as error:
            reason = error.strerror if isinstance(error, OSError) else type(error).__name__
            log.error("spool cannot be emptied", reason=reason)
            return False
        return True

    def _prepared(self) -> bool:
        """Whether the tables are up to date; retried until it succeeds once."""
        if self._prepare is not None:
            try:
                self._prepare()
            except (StoreUnavailable, ConfigurationError) as error:
                log.error("store cannot be prepared, using the spool", reason=str(error))
                return False
            self._prepare = None
        return True

    def _look_after_spool(self) -> None:
        """Probe the spool, the only storage while the store is unavailable."""
        self._probe_at = time.monotonic() + _PROBE_EVERY_SECONDS
        try:
            self._spool.probe()
        except OSError as error:
            if self._spool_usable:
                log.error("spool cannot be written", reason=error.strerror)
            self._spool_usable = False
        else:
            self._spool_usable = True
        self._refusing = not (self._store_up or self._spool_usable)


def _depth(spool: Spool) -> SpoolDepth | None:
    """The spool's depth; None if it cannot be read."""
    try:
        return spool.depth()
    except OSError:
        return None
