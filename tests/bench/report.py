"""From runs to figures: medians over rounds, ratios, and the lines and tables that show them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from statistics import median

from tests.bench.load import Load

PEERS = ("healthchain", "healthchain-uvloop")
"""Others' services, compared by rate and by processor time: a rate at which cores stand still says
nothing of their work.
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """One server: its loads by connections (a Load a round), memory in MB, start in seconds."""

    name: str
    what: str
    loads: Mapping[int, Sequence[Load]]
    memory: Sequence[float]
    started_in: Sequence[float]

    def at(self, connections: int) -> Load:
        """The median of each figure over the rounds."""
        return median_load(self.loads[connections])

    @property
    def megabytes(self) -> float:
        return median(self.memory)


@dataclass(frozen=True, slots=True)
class Target:
    """A ratio or a figure with what it should be: at least or at most `bound`.

    `what` begins with its kind: RATIO, MEMORY or START.
    """

    what: str
    value: float
    bound: float
    at_least: bool

    @property
    def reached(self) -> bool:
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    @property
    def figure(self) -> str:
        """The line with the figure, and nothing after it."""
        return f"{self.what} {self.value:.2f}"

    @property
    def verdict(self) -> str:
        """The line that says whether the figure is what it should be."""
        sense = "at least" if self.at_least else "at most"
        verdict = "reached" if self.reached else "NOT REACHED"
        name = self.what.removeprefix("RATIO ")
        return f"TARGET {name} {sense} {self.bound:g}: {verdict}"


def median_load(rounds: Sequence[Load]) -> Load:
    """Each figure's own median: one disturbed round then moves none of them."""
    return Load(**{f.name: median(getattr(r, f.name) for r in rounds) for f in fields(Load)})


def ratio_of_rounds(ours: Sequence[Load], theirs: Sequence[Load], figure: str) -> float:
    """The median of the ratios within each round: both sides of one met the same machine."""
    pairs = zip(ours, theirs, strict=True)
    return median(getattr(o, figure) / getattr(t, figure) for o, t in pairs)


def targets(measured: Mapping[str, Measured]) -> Iterator[Target]:
    """The project's targets, as far as what they compare was measured."""
    complete = measured.get("complete")
    if complete is None:
        return
    ours = complete.loads
    if (base := measured.get("base")) and 16 in ours:
        ratio = ratio_of_rounds(ours[16], base.loads[16], "cpu")
        yield Target("RATIO CPU time complete/base at 16", ratio, 0.5, False)
    if 16 in ours and 64 in ours:
        ratio = ratio_of_rounds(ours[64], ours[16], "rate")
        yield Target("RATIO complete at 64/at 16", ratio, 1.0, True)
    floor = measured.get("floor")
    if floor is None:
        return
    if 16 in ours:
        yield Target(
            "RATIO complete/floor at 16",
            ratio_of_rounds(ours[16], floor.loads[16], "rate"),
            0.28,
            True,
        )
        ratio = ratio_of_rounds(ours[16], floor.loads[16], "p99")
        yield Target("RATIO p99 complete/floor at 16", ratio, 2.0, False)
    more = complete.megabytes - floor.megabytes
    yield Target("MEMORY complete-floor MB a worker", more, 60, False)
    yield Target("START complete seconds", median(complete.started_in), 2.0, False)


def target_lines(measured: Mapping[str, Measured]) -> Iterator[str]:
    """Each target's figure, and its verdict on the line after it."""
    for target in targets(measured):
        yield target.figure
        yield target.verdict


def other_ratios(measured: Mapping[str, Measured]) -> Iterator[str]:
    """How each server does against the floor, for every number of connections."""
    floor = measured.get("floor")
    if floor is None:
        return
    for m in measured.values():
        if m is not floor:
            for connections, loads in m.loads.items():
                ratio = ratio_of_rounds(loads, floor.loads[connections], "rate")
                cost = ratio_of_rounds(floor.loads[connections], loads, "cpu")
                yield f"RATIO {m.name}/floor at {connections} {ratio:.2f}"
                yield f"RATIO {m.name}/floor by CPU time at {connections} {cost:.2f}"
    complete = measured.get("complete")
    for name in PEERS:
        peer = measured.get(name)
        if complete and peer:
            most = max(complete.loads)
            ours, theirs = complete.loads[most], peer.loads[most]
            yield f"RATIO complete/{name} {ratio_of_rounds(ours, theirs, 'rate'):.2f}"
            cost = ratio_of_rounds(theirs, ours, "cpu")
            yield f"RATIO complete/{name} by CPU time {cost:.2f}"


def markdown(measured: Sequence[Measured]) -> str:
    """A row a server and number of connections."""
    lines = [
        "| server | connections | calls/s | p50 ms | p95 ms | p99 ms "
        "| CPU us a call | MB a worker | start s |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for m in measured:
        for i, connections in enumerate(m.loads):
            load = m.at(connections)
            once = (f"{m.megabytes:.0f}", f"{median(m.started_in):.2f}") if i == 0 else ("", "")
            cells = [
                m.what if i == 0 else "",
                str(connections),
                f"{load.rate:.0f}",
                *(f"{v:.1f}" for v in (load.p50, load.p95, load.p99)),
                f"{load.cpu:.0f}",
                *once,
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
