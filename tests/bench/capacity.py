"""Capacity: what to provision for so many members, from figures of the bench and a day's demand.

`python -m tests.bench.capacity` prints the table of docs/performance.md. Measured figures and
assumptions stand in one place each: FIGURES and DEMAND.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MEMBERS = (1_000_000, 10_000_000, 50_000_000)


@dataclass(frozen=True)
class BenchFigures:
    """Measured by the bench on one machine of `cores` (docs/performance.md, figures).

    `calls_a_second` of the complete service at 16 connections, less two fifths, for a slower
    machine or one with other work; `log_bytes` a call in the log's database with its indexes;
    `segment_bytes` a call in the segments on an instance's disk; `member_bytes` a member in
    PostgreSQL with its indexes.
    """

    cores: int = 2
    calls_a_second: float = 900.0
    log_bytes: float = 9_282.0
    segment_bytes: float = 9_000.0
    member_bytes: float = 1_300.0


@dataclass(frozen=True)
class DemandOfMembers:
    """Assumptions on what members bring, to be replaced by a plan's own.

    `orders` signed a member and year; `calls` of all hooks for each; `working_days` a year; the
    busiest hour's `share` of a day; `burst`, how much the busiest minute exceeds its hour's
    average; `load`, the part of the cores that it may take; `years` that the log is kept.
    """

    orders: float = 15.0
    calls: float = 5.0
    working_days: int = 250
    share: float = 1 / 7
    burst: float = 4.0
    load: float = 0.5
    years: float = 10.0


FIGURES = BenchFigures()
DEMAND = DemandOfMembers()

DAY = (1, 1, 1, 1, 1, 2, 4, 9, 18, 24, 26, 25, 20, 22, 25, 24, 19, 12, 6, 4, 3, 2, 1, 1)
"""A working day by hours, as weights of calls: clinics from eight to five, hospitals around."""


@dataclass(frozen=True)
class Provision:
    """What so many members need; sizes in bytes, rates in calls a second."""

    members: int
    calls_a_day: float
    busiest_hour: float
    peak: float
    instances: int
    log_a_month: float
    log_kept: float
    partitions: int
    payer_data: float
    segments: float


def provision(
    members: int, figures: BenchFigures = FIGURES, demand: DemandOfMembers = DEMAND
) -> Provision:
    """The provision for so many members.

    Instances are machines of `figures.cores`, with one to spare: it may fail, or be restarted.
    Segments are those of the busiest day, should the database be away for all of it.
    """
    a_year = members * demand.orders * demand.calls
    a_day = a_year / demand.working_days
    busiest = a_day * demand.share
    peak = busiest / 3600 * demand.burst
    serving = math.ceil(peak / (figures.calls_a_second * demand.load))
    instances = max(1, serving) + 1
    return Provision(
        members=members,
        calls_a_day=a_day,
        busiest_hour=busiest,
        peak=peak,
        instances=instances,
        log_a_month=a_year / 12 * figures.log_bytes,
        log_kept=a_year * demand.years * figures.log_bytes,
        partitions=math.ceil(12 * demand.years) + 12,
        payer_data=members * figures.member_bytes,
        segments=a_day / instances * figures.segment_bytes,
    )


def hours(a_day: float) -> Sequence[float]:
    """The calls of each hour of a day with so many calls."""
    whole = sum(DAY)
    return [a_day * weight / whole for weight in DAY]


def size(value: float) -> str:
    """Bytes in words: two digits that count."""
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            digits = max(0, 1 - math.floor(math.log10(max(value, 1))))
            return (
                f"{value:,.{digits}f} {unit}" if value < 100 else f"{round(value, -1):,.0f} {unit}"
            )
        value /= 1000
    raise AssertionError("unreachable")


def number(value: float) -> str:
    """A number with two digits that count."""
    if value <= 0:
        return "0"
    digits = 1 - math.floor(math.log10(value))
    return f"{round(value, digits):,.{max(digits, 0)}f}"


def table(provisions: Sequence[Provision]) -> Iterator[str]:
    """The table of docs/performance.md, line by line."""
    yield "| to provision for | " + " | ".join(f"{p.members:,} members" for p in provisions) + " |"
    yield "|---|" + "--:|" * len(provisions)
    rows = {
        "calls a working day": [number(p.calls_a_day) for p in provisions],
        "calls in the busiest hour": [number(p.busiest_hour) for p in provisions],
        "calls a second in its busiest minute": [number(p.peak) for p in provisions],
        f"instances of {FIGURES.cores} cores, one to spare": [str(p.instances) for p in provisions],
        "log: a monthly partition": [size(p.log_a_month) for p in provisions],
        f"log: {DEMAND.years:g} years": [size(p.log_kept) for p in provisions],
        "log: partitions, with the coming year's": [str(p.partitions) for p in provisions],
        "payer's records in PostgreSQL": [size(p.payer_data) for p in provisions],
        "segments of an instance, database away for a day": [size(p.segments) for p in provisions],
    }
    for name, cells in rows.items():
        yield f"| {name} | " + " | ".join(cells) + " |"


if __name__ == "__main__":
    print("\n".join(table([provision(members) for members in MEMBERS])))
