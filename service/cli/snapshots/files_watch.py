"""Comparison of the files with the snapshot in force, for readiness."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from service.bootstrap.snapshot import Digests, digests_on_disk, library_files
from service.cli.snapshots.board import ReloadOutcome
from service.errors import ConfigurationError
from service.settings import Settings
from service.web.operations import HealthFinding, State

AGAIN_SECONDS = 10.0
"""The files are looked at no more often than this: health is asked for by several, for ever."""

_SAY = "run `covercard reload`: it takes them, or says what is wrong"
_LONGEST_REASON = 500


class FilesWatch:
    """The comparison; `digests` are those of the snapshot, `outcome` gives the last reload's.

    `seconds` is a monotonic clock.
    """

    def __init__(
        self,
        settings: Settings,
        digests: Digests,
        outcome: Callable[[], ReloadOutcome | None],
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._digests = digests
        self._outcome = outcome
        self._seconds = seconds
        self._lock = threading.Lock()
        self._looked: float | None = None
        self._last: ReloadOutcome | None = None
        self._stamps: tuple[object, ...] = ()
        self._differ: str | None = None

    def look(self) -> HealthFinding:
        """Ready while the files are those in force, else degraded with the reason."""
        last = self._outcome()
        with self._lock:
            now = self._seconds()
            known = self._looked is not None and now - self._looked < AGAIN_SECONDS
            if not known or last != self._last:
                self._looked, self._last = now, last
                self._differ = self._compare()
        facts: dict[str, object] = {"files": "differ" if self._differ else "in force"}
        if last is not None:
            facts["reload"] = {"state": last.state, "at": last.at}
        if self._differ is None:
            return HealthFinding(State.READY, facts)
        warnings = [self._differ]
        if last is not None and last.state == "refused":
            warnings.append(f"the last reload was refused: {last.why[:_LONGEST_REASON]}")
        return HealthFinding(State.DEGRADED, facts, tuple(warnings))

    def _compare(self) -> str | None:
        try:
            # A large library is read only where one of its files may have changed.
            stamps = tuple(
                (path, found.st_mtime_ns, found.st_size, found.st_ino)
                for path in library_files(self._settings)
                for found in (path.stat(),)
            )
            if stamps == self._stamps:
                known = self._digests.policies
                differ = digests_on_disk(self._settings, known) != self._digests
            else:
                differ = digests_on_disk(self._settings) != self._digests
                self._stamps = () if differ else stamps
        except (ConfigurationError, OSError) as error:
            why = str(error) if isinstance(error, ConfigurationError) else error.strerror
            return f"the files cannot be read as they are now ({why}); {_SAY}"[:_LONGEST_REASON]
        return f"the files differ from the snapshot in force; {_SAY}" if differ else None
