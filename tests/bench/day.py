"""A simulated day at speed: the calls of each hour, at its rate, against one instance.

The day is that of the busiest instance of the plan: its busiest hour comes at the rate that
`capacity` plans for an instance, the other hours in their proportion to it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import requests

from tests.bench.bodies import order_sign_bodies
from tests.bench.capacity import DAY, DEMAND, FIGURES
from tests.bench.servers import complete, running


@dataclass(frozen=True, slots=True)
class SimulatedDay:
    """What came of it: calls fired and answered, latency in milliseconds, processor's share.

    `late` are the calls that this load generator could not fire in time: with many of them the day
    says nothing.
    """

    fired: int
    answered: int
    late: int
    p99: float

    def lines(self, rate: float) -> Iterator[str]:
        """The report's lines; `rate` is that of the busiest hour, in calls a second."""
        yield f"DAY busiest hour {rate:.1f} calls a second"
        yield f"DAY answered {self.answered} of {self.fired}, {self.late} fired late"
        reached = "reached" if self.answered == self.fired else "NOT REACHED"
        yield f"TARGET every call of the day is answered: {reached}"
        yield f"DAY p99 {self.p99:.1f} ms"
        yield f"TARGET p99 at most 1000 ms: {'reached' if self.p99 <= 1000 else 'NOT REACHED'}"


def planned_rate() -> float:
    """Calls a second in the busiest minute that one instance is planned for."""
    return FIGURES.calls_a_second * DEMAND.load


def day(work: Path, workers: int, seconds_an_hour: float) -> Iterator[str]:
    """The report of a day at the planned rate, against Covercard complete."""
    work.mkdir()
    bodies = order_sign_bodies(64)
    with running(complete(workers, work / "data"), bodies[0], work / "log.txt") as server:
        rate = planned_rate()
        found = simulate(server.contender.url, bodies, rate, seconds_an_hour)
        server.settle()
    yield from found.lines(rate)


def simulate(
    url: str,
    bodies: Sequence[bytes],
    rate: float,
    seconds_an_hour: float,
    connections: int = 16,
) -> SimulatedDay:
    """Fire a day in which an hour takes `seconds_an_hour`, at `rate` in the busiest."""
    begin = time.monotonic() + 0.1
    due = list(_times(rate, seconds_an_hour))
    lock = threading.Lock()
    place = 0
    took: list[float] = []
    answered = late = 0

    def fire() -> None:
        nonlocal place, answered, late
        with requests.Session() as session:
            while True:
                with lock:
                    mine = place
                    place += 1
                if mine >= len(due):
                    return
                wait = begin + due[mine] - time.monotonic()
                if wait > 0:
                    time.sleep(wait)
                started = time.monotonic()
                body = bodies[mine % len(bodies)]
                try:
                    reply = session.post(
                        url, data=body, headers={"Content-Type": "application/json"}, timeout=30
                    )
                    good = reply.status_code == 200
                except requests.RequestException:
                    good = False
                with lock:
                    took.append((time.monotonic() - started) * 1000)
                    answered += good
                    late += wait < -0.25

    threads = [threading.Thread(target=fire) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    p99 = sorted(took)[max(0, round(len(took) * 0.99) - 1)] if took else 0.0
    return SimulatedDay(len(due), answered, late, p99)


def _times(rate: float, seconds_an_hour: float) -> Iterator[float]:
    """When each call is due, in seconds from the day's begin: evenly within each hour."""
    most = max(DAY)
    for hour, weight in enumerate(DAY):
        calls = round(rate * weight / most * seconds_an_hour)
        for n in range(calls):
            yield (hour + n / calls) * seconds_an_hour
