"""Keeper of the snapshot in force, in the server process.

A worker that is forked has it; a reload reads the files, checks them, runs the policies' cases and
hands the new snapshot to the workers that run. Either all of them switch, or none does.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import time
from collections.abc import Callable
from datetime import UTC, date, datetime

import structlog

from service.bootstrap.app import create_app
from service.bootstrap.snapshot import (
    CHANGING,
    Snapshot,
    as_bytes,
    library_places,
    read_snapshot,
)
from service.cli.snapshots.board import Board, ReloadOutcome, Report
from service.errors import ConfigurationError, NotNow
from service.policies.cases import CaseResult, run_all_cases
from service.policies.library_files import digest_on_disk
from service.settings import Settings
from service.uncaught import told

log = structlog.get_logger(__name__)

SECONDS_TO_BE_READY = 60.0
SECONDS_TO_SWITCH = 10.0
_MOST_SHOWN = 20


class SnapshotKeeper:
    """The snapshot in force (`held`, with its number), and the board on which workers find it.

    `tell` is told how each reload came out. `stopping` says whether the service was told to stop
    meanwhile: nothing is waited for then.
    """

    def __init__(
        self, settings: Settings, snapshot: Snapshot, tell: Callable[[ReloadOutcome], None]
    ) -> None:
        self.held = (0, snapshot)
        self.board = Board()
        self.stopping: Callable[[], bool] = lambda: False
        self._settings = settings
        self._tell = tell
        self._offers = 0
        self._workers: set[int] = set()

    def reload(self) -> None:
        """Bring the files as they are now into force, or keep what is; never raises."""
        began = time.monotonic_ns()
        cases = 0
        try:
            new, cases = self._read()
            if new.digests == self.held[1].digests and not _made_later(new, self.held[1]):
                outcome = self._outcome("unchanged", began, cases)
            else:
                self._switch_to(new)
                outcome = self._outcome("in force", began, cases)
        except ConfigurationError as error:
            outcome = self._outcome("refused", began, cases, str(error))
        except Exception as error:
            outcome = self._outcome("refused", began, cases, told(error))
        if outcome.state == "refused":
            log.error("reload refused: the snapshot of before stays in force", why=outcome.why)
        else:
            log.info(
                "snapshot in force",
                changed=outcome.state != "unchanged",
                policies=outcome.policies,
                access=outcome.access,
                cases=cases,
                **({"bundle_made": outcome.bundle_made} if outcome.bundle_made else {}),
            )
        self.board.tell(outcome)
        self._tell(outcome)
        gc.collect()
        gc.freeze()  # as at the start: what the next workers share stays shared

    def _outcome(self, state: str, began: int, cases: int, why: str = "") -> ReloadOutcome:
        digests, made = self.held[1].digests, self.held[1].library.made
        at = datetime.now(UTC).isoformat(timespec="seconds")
        return ReloadOutcome(
            state,  # type: ignore[arg-type]
            why,
            began,
            at,
            digests.policies,
            digests.access,
            cases,
            made.isoformat() if made else None,
        )

    def _read(self) -> tuple[Snapshot, int]:
        """The snapshot of the files, with the number of cases that it has passed."""
        with library_places(self._settings) as places:
            new = read_snapshot(self._settings, places)
            library = new.library
            self._refuse_an_older_one(new)
            results = run_all_cases(places.folders, library.policies, library.notices)
            if digest_on_disk(places) != library.digest:
                raise NotNow(CHANGING.format(places.directory))
        failed = [result for result in results if not result.passed]
        if failed:
            raise ConfigurationError(_told_of_failures(failed, len(results)))
        day = datetime.now(self._settings.zone).date()
        # Where none was before, as after the end of the only one, clients and readers still change.
        if _any_in_force(self.held[1], day) and not _any_in_force(new, day):
            raise ConfigurationError(
                f"no policy would be in force today, {day}: look whether all files are there"
            )
        return new, len(results)

    def _refuse_an_older_one(self, new: Snapshot) -> None:
        """A former bundle that lies there again, by mistake or by malice, is as rightly signed."""
        held = self.held[1]
        if held.digests.policies != new.library.digest and _made_later(held, new):
            raise ConfigurationError(
                f"{self._settings.policy_bundle}: was made {_moment(new)}, and the bundle in force"
                f" later, {_moment(held)}. Is it the right file? To go back to its policies on"
                " purpose, make a bundle of them anew, or restart the service with this one"
            )

    def _switch_to(self, new: Snapshot) -> None:
        """Hand a snapshot to all workers and put it into force.

        Raises ConfigurationError, and keeps the one of before, if one of them cannot take it.
        """
        create_app(self._settings, snapshot=new)  # a wrong file is found here, as at the start
        self._offers += 1
        number = self._offers
        try:
            self.board.offer(number, as_bytes(new))
            self._wait_for("ready", number, SECONDS_TO_BE_READY)
        except OSError as error:
            self.board.withdraw()
            why = (error.strerror or type(error).__name__).lower()
            raise ConfigurationError(f"the workers cannot be told of it ({why})") from None
        except BaseException:
            self.board.withdraw()
            raise
        # A worker that is forked from here on has it already.
        self.held = (number, new)
        self.board.put_in_force(number)
        with contextlib.suppress(_Stopping):
            self._kill(self._wait_for("answers", number, SECONDS_TO_SWITCH))

    def _kill(self, late: set[int]) -> None:
        for process in late:
            log.error("a worker does not switch: it is killed", process=process)
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def _wait_for(self, state: str, number: int, seconds: float) -> set[int]:
        """Wait until all workers say so; returns those that have not answered in time.

        Raises ConfigurationError if one has failed or, before the switch, is late.
        """
        until = time.monotonic() + seconds
        heard = self._hear()  # of workers that have begun meanwhile, too
        waiting = set(self._workers)
        while True:
            for report in heard:
                if report.number != number:
                    continue
                if report.state == "failed":
                    raise ConfigurationError(report.why)
                if report.state in (state, "answers"):
                    waiting.discard(report.process)
            waiting = {process for process in waiting if _runs(process)}
            if not waiting or time.monotonic() >= until:
                break
            if self.stopping():
                raise _Stopping("the service was told to stop")
            select.select([self.board.reports], [], [], 0.25)
            heard = self._hear()
        if waiting and state == "ready":
            raise ConfigurationError(
                f"a worker was not ready for it within {seconds:.0f} seconds; try again"
            )
        return waiting

    def _hear(self) -> list[Report]:
        heard = self.board.heard()
        self._workers.update(report.process for report in heard)
        self._workers = {process for process in self._workers if _runs(process)}
        return heard


class _Stopping(ConfigurationError):
    pass


def _runs(process: int) -> bool:
    """Whether a child runs; one that has ended stays to be waited for by its owner."""
    try:
        return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False


def _made_later(one: Snapshot, other: Snapshot) -> bool:
    """Whether one's bundle was made later; a bundle that does not tell is older than all others."""
    made, before = one.library.made, other.library.made
    return made is not None and (before is None or made > before)


def _moment(snapshot: Snapshot) -> str:
    made = snapshot.library.made
    return made.isoformat() if made else "by a former version, which does not tell when"


def _any_in_force(snapshot: Snapshot, day: date) -> bool:
    return any(version.in_force_on(day) for version in snapshot.library.policies)


def _told_of_failures(failed: list[CaseResult], ran: int) -> str:
    lines = [f"{len(failed)} of {ran} cases fail:"]
    lines += [
        f"  {result.case.policy}: {result.case.it}: {'; '.join(result.differences)}"
        for result in failed[:_MOST_SHOWN]
    ]
    if len(failed) > _MOST_SHOWN:
        lines.append(f"  and {len(failed) - _MOST_SHOWN} more: covercard policy test has them")
    return "\n".join(lines)
