"""The load: wrk from Debian's packages, over loopback, as many calls as the server answers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.servers import Running

SCRIPT = Path(__file__).with_name("fire.lua")


class NoLoadGenerator(RuntimeError):
    """wrk is not there and could not be installed."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one run gave: calls answered a second, latencies in milliseconds.

    `cpu` is what a call cost the server's processes in processor microseconds, with what they do
    for it afterwards: it tells much the same on a busy machine.
    """

    rate: float
    p50: float
    p95: float
    p99: float
    cpu: float


def find_wrk() -> str:
    """The path of wrk; installs Debian's package where one may."""
    found = shutil.which("wrk")
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "install", "-y", "-qq", "wrk"], check=True, capture_output=True)
        found = shutil.which("wrk")
    if found is None:
        raise NoLoadGenerator("the bench needs wrk: apt-get install wrk")
    return found


def write_bodies(folder: Path, bodies: Sequence[bytes]) -> None:
    for i, body in enumerate(bodies):
        (folder / f"{i}.json").write_bytes(body)


def fire(
    wrk: str,
    url: str,
    bodies: Path,
    connections: int,
    seconds: int,
    server: Running,
) -> Load:
    """Fire the bodies of a folder for so many seconds. RuntimeError if any call went wrong."""
    began = server.cpu_seconds()
    count = len(list(bodies.glob("*.json")))
    ended = subprocess.run(
        [wrk, "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout=10s", f"-s{SCRIPT}", url],
        env={**os.environ, "BENCH_BODIES": str(bodies), "BENCH_COUNT": str(count)},
        check=True,
        capture_output=True,
        text=True,
    )
    line = next(n for n in ended.stdout.splitlines() if n.startswith("FIGURES "))
    figures = json.loads(line.removeprefix("FIGURES "))
    if figures["failed"] or not figures["requests"]:
        raise RuntimeError(f"{url}: {figures['failed']} of {figures['requests']} calls failed")
    server.settle()
    return Load(
        rate=figures["requests"] / figures["microseconds"] * 1e6,
        p50=figures["p50"] / 1000,
        p95=figures["p95"] / 1000,
        p99=figures["p99"] / 1000,
        cpu=(server.cpu_seconds() - began) / figures["requests"] * 1e6,
    )
