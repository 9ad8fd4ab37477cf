"""Calls a second by worker processes, up to as many as four."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.bench.bodies import order_sign_bodies
from tests.bench.load import find_wrk, fire, write_bodies
from tests.bench.servers import complete, running

WORKERS = (1, 2, 4)
_CONNECTIONS = 16


def by_workers(work: Path, seconds: int) -> Iterator[str]:
    """The lines of this measurement; the load generator takes processor time of the same cores."""
    bodies = work / "bodies"
    bodies.mkdir(parents=True)
    calls = order_sign_bodies(64)
    write_bodies(bodies, calls)
    for workers in WORKERS:
        contender = complete(workers, work / f"workers-{workers}")
        with running(contender, calls[0], work / f"workers-{workers}.log") as server:
            fire(find_wrk(), contender.url, bodies, 8, 1, server)
            load = fire(find_wrk(), contender.url, bodies, _CONNECTIONS, seconds, server)
            yield (
                f"GROWTH workers {workers}: {load.rate:.0f} calls/s, p99 {load.p99:.1f} ms, "
                f"{load.cpu:.0f} us CPU a call at {_CONNECTIONS} connections"
            )
