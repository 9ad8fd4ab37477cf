"""The machine during a measurement: processor time of others and time stolen by the hypervisor.

Read from /proc/stat, which counts all processes in clock ticks; ours are taken off.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

MOST_OF_OTHERS = 0.2
"""Cores that others may use: a measurement beside more does not count."""

_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Beside:
    """Cores that were busy for others during a measurement, and cores that were stolen."""

    others: float
    stolen: float

    @property
    def counts(self) -> bool:
        return self.others + self.stolen <= MOST_OF_OTHERS


@dataclass(frozen=True, slots=True)
class Watch:
    """The machine from now on; `ours` gives the processor time of our processes in seconds."""

    ours: Callable[[], float]
    began: float
    busy: float
    stolen: float
    own: float

    @classmethod
    def begin(cls, ours: Callable[[], float]) -> Watch:
        busy, stolen = read_ticks(Path("/proc/stat").read_text())
        return cls(ours, time.monotonic(), busy, stolen, ours() + _own_seconds())

    def end(self) -> Beside:
        """What was beside the measurement since the beginning."""
        busy, stolen = read_ticks(Path("/proc/stat").read_text())
        own = self.ours() + _own_seconds()
        seconds = time.monotonic() - self.began
        others = (busy - self.busy) - (own - self.own)
        # Ticks are coarse: a little less than nothing is nothing.
        return Beside(max(0.0, others / seconds), (stolen - self.stolen) / seconds)


def read_ticks(stat: str) -> tuple[float, float]:
    """Seconds that all processes were busy, and seconds stolen, of the text of /proc/stat.

    Interrupts belong to no process and are left out.
    """
    user, nice, system, _, _, _, _, steal, *_ = map(int, stat.splitlines()[0].split()[1:])
    return (user + nice + system) / _CLOCK_TICKS, steal / _CLOCK_TICKS


def machine_lines(besides: Sequence[Beside]) -> list[str]:
    """The most that was beside a measurement, and whether the run counts."""
    disturbed = sum(not beside.counts for beside in besides)
    most = max((beside.others for beside in besides), default=0.0)
    stolen = max((beside.stolen for beside in besides), default=0.0)
    counts = (
        "this run counts"
        if not disturbed
        else f"this run DOES NOT COUNT: {disturbed} of {len(besides)} measurements had more than "
        f"{MOST_OF_OTHERS} cores of others beside them"
    )
    return [f"MACHINE others {most:.2f} cores, stolen {stolen:.2f} cores at most: {counts}"]


def _own_seconds() -> float:
    """Processor time of the bench itself and of its load generators that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(u.ru_utime + u.ru_stime for u in used)
