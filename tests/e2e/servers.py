"""The real service, as `covercard serve` starts it, on a free port of loopback."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

ROOT = Path(__file__).parent.parent.parent
SERVE = [sys.executable, "-c", "from service.cli import main; main()", "serve"]
_SECONDS_TO_START = 120
_SECONDS_TO_STOP = 60
"""Ten for calls that do not end, ten for the drainer, and more for a machine with much to do."""
_SECONDS_FOR_A_LINE = 60
_PATIENT: dict[str, object] = {"timeout": 60}


@dataclass(frozen=True)
class Server:
    """A running server; `base` is its URL, `log` the file of what it printed."""

    base: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def port(self) -> int:
        return int(self.base.rpartition(":")[2])

    def post(self, path: str, **options: object) -> requests.Response:
        return requests.post(self.base + path, **{**_PATIENT, **options})  # type: ignore[arg-type]

    def get(self, path: str, **options: object) -> requests.Response:
        return requests.get(self.base + path, **{**_PATIENT, **options})  # type: ignore[arg-type]

    def printed(self) -> str:
        """Everything that it has printed so far. A line is written a moment after its answer, by a
        thread: what must be there is waited for (`told`, `says`, `line_of`).
        """
        size = -1
        while size != (size := self.log.stat().st_size):
            time.sleep(0.05)
        return self.log.read_text("utf-8", "replace")

    def lines(self, event: str) -> list[dict[str, Any]]:
        """Its log lines of one event that are whole by now."""
        whole = self.printed().rpartition("\n")[0]
        lines = [json.loads(li) for li in whole.splitlines() if li.startswith("{")]
        return [line for line in lines if line["event"] == event]

    def told(self, event: str, number: int = 1) -> list[dict[str, Any]]:
        """Its log lines of one event, as soon as there are so many."""
        return self._soon(lambda: [*self.lines(event)], number, f"lines of: {event}")

    def says(self, words: str) -> bool:
        """Whether it prints these words: now or soon."""
        return bool(self._soon(lambda: [words] * (words in self.printed()), 1, words))

    def _soon(self, look: Callable[[], list[Any]], number: int, what: str) -> list[Any]:
        deadline = time.monotonic() + _SECONDS_FOR_A_LINE
        while len(found := look()) < number:
            assert time.monotonic() < deadline, f"not {number} {what}; {self.printed()[-2000:]}"
            time.sleep(0.05)
        return found

    def counts_alone(self) -> int:
        """How often a worker has begun to count without the others, the database being slow."""
        return len(self.lines("calls are counted by each instance for itself"))

    def tokens_alone(self) -> int:
        """How often a worker has begun to know used tokens without the others, as above."""
        return len(self.lines("used tokens are known to this instance alone"))

    def line_of(self, reply: requests.Response) -> dict[str, Any]:
        """The log line of the call that got this answer."""
        call = reply.headers["Covercard-Call"]

        def lines() -> list[dict[str, Any]]:
            return [line for line in self.lines("call") if line["call"] == call]

        line: dict[str, Any] = self._soon(lines, 1, f"line of call {call}")[0]
        return line


def _ports() -> Iterator[int]:
    """Ports for listening, below those that the system gives to outgoing connections.

    Tests may run on several workers: worker gw1 of four has each fourth port, so that none takes
    one that another has been given and does not listen on yet.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    own = range(10_000 + worker, 32_000, workers)
    start = random.randrange(len(own))
    for number in itertools.count(start):
        yield own[number % len(own)]


_next_ports = _ports()


def free_port() -> int:
    for port in _next_ports:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("ports do not end")


def environment(settings: Mapping[str, object]) -> dict[str, str]:
    """This environment with these settings (lower case, without COVERCARD_) and no others."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("COVERCARD_")}
    clean |= {f"COVERCARD_{k.upper()}": str(v) for k, v in settings.items()}
    return clean | {"PYTHONPATH": str(ROOT)}


@contextlib.contextmanager
def running(
    folder: Path,
    variables: Mapping[str, str] | None = None,
    answers_at: str = "127.0.0.1",
    **settings: object,
) -> Iterator[Server]:
    """A server with these settings, at home in `folder`, from its first answer to the block's end.

    It has one worker, unless they say otherwise. `variables` are further variables of its
    environment.
    """
    port = int(str(settings.setdefault("port", free_port())))
    settings.setdefault("workers", 1)
    log = folder / f"log-{port}"
    with log.open("wb") as out:
        process = subprocess.Popen(
            SERVE,
            cwd=folder,
            env=environment(settings) | dict(variables or {}),
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    server = Server(f"http://{answers_at}:{port}", process, log)
    try:
        _wait_until_it_answers(server)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(timeout=_SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_it_answers(server: Server) -> None:
    deadline = time.monotonic() + _SECONDS_TO_START
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            break
        try:
            if server.get("/cds-services").status_code == 200:
                return
        except (requests.ConnectionError, requests.Timeout):
            time.sleep(0.05)
    raise RuntimeError(f"the server did not start:\n{server.printed()}")


def refused_start(folder: Path, exit_code: int = 2, **settings: object) -> str:
    """What the server says as it refuses to start with these settings."""
    settings.setdefault("port", free_port())
    ended = subprocess.run(
        SERVE,
        cwd=folder,
        env=environment(settings),
        capture_output=True,
        text=True,
        timeout=_SECONDS_TO_START,
        check=False,
    )
    assert ended.returncode == exit_code, ended.stdout + ended.stderr
    return ended.stderr


def talk(port: int, *parts: bytes, pause: float = 0.0) -> bytes:
    """Send raw bytes, with a pause between the parts, and read until the other side closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        received = b""
        with contextlib.suppress(ConnectionError):
            for part in parts:
                connection.sendall(part)
                time.sleep(pause)
        with contextlib.suppress(ConnectionError):
            while chunk := connection.recv(65536):
                received += chunk
        return received
