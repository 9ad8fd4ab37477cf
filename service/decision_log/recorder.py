"""Recorder: appends each record to a chain of this process, on disk before it returns.

A thread moves what is in the segments to the store behind it: in one process of a folder at a time,
whichever gets the lock. Nothing that an answer waits for touches the database.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import structlog

from service.decision_log.anchors import Anchors
from service.decision_log.call_record import CallRecord
from service.decision_log.chain_key import KEY_FILE, ChainKey, chain_key, write_key
from service.decision_log.chain_writer import ChainEnd, ChainWriter
from service.decision_log.drain import Drainer
from service.decision_log.former_spool import take_over
from service.decision_log.frames import LogRecordKind
from service.decision_log.instants import microseconds, new_call_id
from service.decision_log.log_store import LogStore
from service.decision_log.process_chains import ProcessChains
from service.decision_log.records_folder import DrainState, RecordsFolder, Waiting
from service.decision_log.rows import (
    AccessRow,
    FeedbackRow,
    LogEntry,
    encode_entry,
    entry_of,
)
from service.decision_log.segment_reader import oldest_waiting
from service.errors import ConfigurationError, RecordsUnavailable, StoreUnavailable
from service.os_errors import with_repair

_DRAIN_EVERY_SECONDS = 0.5
_TRY_LOCK_SECONDS = 1.0
_FIRST_RETRY_SECONDS = 0.5
_LONGEST_RETRY_SECONDS = 5.0
_STOP_SECONDS = 5.0
_PROBE_SECONDS = 1.0
_LOOK_SECONDS = 0.01
_ANCHOR_SECONDS = 60.0
_TAKE_OVER_EVERY_SECONDS = 60.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Health:
    """Health of recording, as this process sees it.

    `trouble`: why the rows do not follow, None while they do. `refusing`: records cannot be
    written, and calls are refused. `lost`: answered records that are gone. `not_anchored`: why the
    configured place did not take the end of the chain, None where it did.
    """

    trouble: str | None = None
    waiting: Waiting = field(default_factory=Waiting)
    refusing: bool = False
    lost: int = 0
    not_anchored: str | None = None

    @property
    def store_up(self) -> bool:
        return self.trouble is None


@dataclass(frozen=True, slots=True)
class RecordsPlace:
    """Place of the records.

    `folder` has the segments; `key_file` the installation's key, None for one in the folder;
    `former` are folders where a former version's spool may be; `keep_seconds` is the time that
    drained segments stay; `anchors`, where chains' ends are told, None for nowhere.
    """

    folder: Path
    key_file: Path | None = None
    former: Sequence[Path] = ()
    keep_seconds: float = 86_400.0
    anchors: Anchors | None = None


class Recorder:
    """Durable recording of calls, feedback and accesses. Safe for threads; a forked process starts
    anew.

    `new_store` creates the store, `prepare` migrates its tables; both are called by the thread
    that drains, so that a process that records nothing pays for neither. One that does not `drain`
    leaves the rows to another process of the folder.
    """

    def __init__(
        self,
        new_store: Callable[[], LogStore],
        prepare: Callable[[], None],
        place: RecordsPlace,
        *,
        drains: bool = True,
    ) -> None:
        self._new_store = new_store
        self._prepare = prepare
        self._place = place
        self._drains = drains
        self._starting = threading.Lock()
        self._process: _Process | None = None

    def start(self) -> None:
        """Start this process's threads; otherwise the first record does."""
        self._running()

    def stop(self) -> None:
        """Move what was recorded to the store if it can be reached, and end this process's
        threads.
        """
        with self._starting:
            process, self._process = self._process, None
        if process is not None and process.pid == os.getpid():
            process.stop()

    def record(self, call: CallRecord) -> None:
        """Record a call and its answer, durable on return. Raises RecordsUnavailable."""
        self._keep(LogRecordKind.CALL, entry_of(call))

    def record_feedback(self, feedback: list[FeedbackRow]) -> None:
        """Record feedback, durable on return. A repeated item is stored once.

        Raises RecordsUnavailable.
        """
        if feedback:
            self._keep(LogRecordKind.FEEDBACK, LogEntry(feedback=feedback))

    def record_access(self, who: str, what: str, detail: str, at: datetime | None = None) -> None:
        """Record an access by `who`, durable on return: `what` names the action, `detail` is a JSON
        object. `at` is an instant; None is now. Raises RecordsUnavailable.
        """
        now = at or datetime.now(UTC)
        row = AccessRow(new_call_id(now), microseconds(now), who, what, detail)
        self._keep(LogRecordKind.ACCESS, LogEntry(accesses=[row]))

    def settle(self, within: float) -> bool:
        """Wait until all that was recorded in the folder up to now is in the rows.

        False if it is not after `within` seconds.
        """
        return self._running().settle(within)

    def health(self) -> Health:
        """The health, by a write of its own to the folder; never waits for the store."""
        process = self._process
        if process is None:
            folder = RecordsFolder(self._place.folder)
            return Health(waiting=_waiting(folder, folder.state()))
        return process.health()

    def _keep(self, kind: LogRecordKind, entry: LogEntry) -> None:
        self._running().keep(kind, encode_entry(entry))

    def _running(self) -> _Process:
        process = self._process
        if process is not None and process.pid == os.getpid():
            return process
        with self._starting:
            if self._process is None or self._process.pid != os.getpid():
                self._process = _Process(
                    self._new_store, self._prepare, self._place, drains=self._drains
                )
            return self._process


class _Process:
    """The recorder's parts in one process: the writers of its chains, the thread that drains."""

    def __init__(
        self,
        new_store: Callable[[], LogStore],
        prepare: Callable[[], None],
        place: RecordsPlace,
        *,
        drains: bool,
    ) -> None:
        self.pid = os.getpid()
        self._new_store = new_store
        self._prepare = prepare
        self._place = place
        self._folder = RecordsFolder(place.folder)
        self._key_lock = threading.Lock()
        self._key: ChainKey | None = None
        self._chains = ProcessChains(
            lambda: ChainWriter(self._folder, self._chain_key, drained=self._drained_of)
        )
        self._refusing = False
        self._probed_at = 0.0
        self._probe_lock = threading.Lock()
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._take_over_at = 0.0
        self._anchored: dict[int, ChainEnd] = {}
        self._not_anchored: str | None = None
        self._anchor_lock = threading.Lock()
        self._drainer: threading.Thread | None = None
        if drains:
            self._drainer = threading.Thread(target=self._drain, name="records-drain", daemon=True)
            self._drainer.start()
        if place.anchors is not None:
            # Apart from the rows, which must not wait for a place elsewhere.
            threading.Thread(target=self._keep_anchored, name="records-anchor", daemon=True).start()

    def stop(self) -> None:
        self._chains.close()
        self._stopping.set()
        self._wake.set()
        if self._drainer is not None:
            self._drainer.join(_STOP_SECONDS)
        self._anchor()

    def keep(self, kind: LogRecordKind, payload: bytes) -> None:
        try:
            self._chains.append(kind, payload)
        except (OSError, ConfigurationError) as error:
            log.error("a record cannot be written", reason=self._told(error))
            self._refusing = True
            raise RecordsUnavailable("the decision log cannot be written") from None
        self._refusing = False

    def health(self) -> Health:
        self._probe()
        state = self._folder.state()
        return Health(
            state.trouble,
            _waiting(self._folder, state),
            self._refusing,
            self._chains.lost + state.lost,
            self._not_anchored,
        )

    def settle(self, within: float) -> bool:
        deadline = time.monotonic() + within
        goal = dict(self._folder.sizes())
        while True:
            drained = self._folder.state().segments
            there = {name for name, _ in self._folder.sizes()}
            if all(
                name not in there or drained.get(str(name), (0, 0))[0] >= size
                for name, size in goal.items()
            ):
                return True
            if time.monotonic() >= deadline:
                return False
            self._wake.set()
            time.sleep(_LOOK_SECONDS)

    def _chain_key(self) -> ChainKey:
        """The installation's key; its file is made, and made again where it is gone."""
        with self._key_lock:
            place = self._place
            if place.key_file is None:
                self._folder.make()
            key = self._key or chain_key(place.folder, place.key_file)
            if place.key_file is None and not (file := place.folder / KEY_FILE).exists():
                write_key(file, key)
            self._key = key
            return key

    def _drained_of(self, segment: str) -> int:
        return self._folder.state().segments.get(segment, (0, -1))[1]

    def _probe(self) -> None:
        """Know whether a record could be written, by writing; once a second at most."""
        with self._probe_lock:
            if time.monotonic() < self._probed_at + _PROBE_SECONDS:
                return
            try:
                self._folder.probe()
                self._chain_key()
                self._chains.check()
            except (OSError, ConfigurationError) as error:
                if not self._refusing:
                    log.error("records cannot be written", reason=self._told(error))
                self._refusing = True
            else:
                self._refusing = False
            self._probed_at = time.monotonic()

    def _drain(self) -> None:
        """Until stopped: look after the store as the one process of the folder that does.

        At a stop once more: the process that did may have been stopped before this one's last call.
        """
        ending = False
        trouble: str | None = None
        while not ending:
            ending = self._stopping.is_set()
            try:
                lock = self._folder.lock_for_draining()
                trouble = None
            except (OSError, ConfigurationError) as error:
                if trouble != (trouble := self._told(error)):
                    log.error("records cannot be drained", reason=trouble)
                lock = None
            if lock is not None:
                try:
                    self._drain_with(lock)
                except Exception as error:
                    log.error("draining has failed", reason=type(error).__name__)
                finally:
                    os.close(lock)
            self._pause(_TRY_LOCK_SECONDS)

    def _drain_with(self, lock: int) -> None:
        drainer = Drainer(
            self._folder,
            self._new_store(),
            self._chain_key,
            self._place.keep_seconds,
            self._prepare,
        )
        retry = _FIRST_RETRY_SECONDS
        trouble: str | None = None
        try:
            while self._folder.holds(lock):
                stopping = self._stopping.is_set()
                found = self._sweep(drainer)
                if found != trouble:
                    if found is None:
                        log.info("the rows follow again")
                        drainer.look_at_all()
                    else:
                        log.error(
                            "the rows do not follow, records wait in the segments", reason=found
                        )
                    trouble = found
                if stopping:
                    return
                if trouble is None:
                    retry = _FIRST_RETRY_SECONDS
                    self._pause(_DRAIN_EVERY_SECONDS)
                else:
                    # Instances spread out.
                    self._pause(retry * random.uniform(0.75, 1.25))  # noqa: S311
                    retry = min(2 * retry, _LONGEST_RETRY_SECONDS)
        finally:
            drainer.close()

    def _sweep(self, drainer: Drainer) -> str | None:
        """Move what is there; why it could not be moved, None if it was."""
        try:
            if time.monotonic() >= self._take_over_at:
                self._take_over()
            drainer.sweep()
        except (StoreUnavailable, ConfigurationError) as error:
            trouble = str(error)
        except OSError as error:
            trouble = self._told(error)
        else:
            return None
        drainer.tell(trouble)
        return trouble

    def _take_over(self) -> None:
        """Take over what a former version's spool still holds."""
        for folder in dict.fromkeys((self._place.folder, *self._place.former)):
            take_over(folder, self._keep_former)
        self._take_over_at = time.monotonic() + _TAKE_OVER_EVERY_SECONDS

    def _keep_former(self, entry: LogEntry) -> None:
        kind = LogRecordKind.CALL if entry.calls else LogRecordKind.FEEDBACK
        self._chains.append(kind, encode_entry(entry))

    def _keep_anchored(self) -> None:
        while not self._stopping.wait(_ANCHOR_SECONDS):
            self._anchor()

    def _anchor(self) -> None:
        """Tell the ends of this process's chains to the log and, where configured, elsewhere.

        A place that did not take it is told again the next time.
        """
        with self._anchor_lock:
            if self._place.anchors is None:
                return
            failed: str | None = None
            for end in self._chains.ends:
                if end != self._anchored.get(end.chain):
                    why = self._place.anchors.tell(end)
                    if why is None:
                        self._anchored[end.chain] = end
                    failed = failed or why
            self._not_anchored = failed

    def _told(self, error: OSError | ConfigurationError) -> str:
        """The error with its place, the folder unless it names another, and the repair."""
        if isinstance(error, ConfigurationError):
            return str(error)
        if not error.errno:  # told by this program
            return error.strerror or type(error).__name__
        return with_repair(error, error.filename or self._folder.path)

    def _pause(self, seconds: float) -> None:
        if not self._stopping.is_set():
            self._wake.wait(seconds)
        self._wake.clear()


def _waiting(folder: RecordsFolder, state: DrainState) -> Waiting:
    """The waiting records, by the sizes of the segments and one record's head of each."""
    total = 0
    oldest: int | None = None
    try:
        for name, size in folder.sizes():
            drained = state.segments.get(str(name), (0, -1))[0]
            if size > drained:
                total += size - drained
                at = oldest_waiting(folder, name, drained)
                if at is not None:
                    oldest = at if oldest is None else min(oldest, at)
        aside = folder.set_aside_count()
    except OSError:
        return Waiting()
    seconds = 0.0 if oldest is None else max(0.0, time.time() - oldest / 1e6)
    return Waiting(total, seconds, aside)
