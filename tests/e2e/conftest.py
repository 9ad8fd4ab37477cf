"""The real server, as `covercard serve` starts it, on a free loopback port."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

ROOT = Path(__file__).parent.parent.parent
_SECONDS_TO_START = 30


@dataclass(frozen=True)
class Server:
    """A running server; `base` is its URL, `log` the file of what it printed."""

    base: str
    process: subprocess.Popen[bytes]
    log: Path

    def post(self, path: str, **options: object) -> requests.Response:
        return requests.post(self.base + path, timeout=30, **options)  # type: ignore[arg-type]

    def get(self, path: str, **options: object) -> requests.Response:
        return requests.get(self.base + path, timeout=30, **options)  # type: ignore[arg-type]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def start_server(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., Server]]:
    """Starts servers, each with its own settings and folder; stops them all at the end."""
    started: list[Server] = []

    def start(**settings: object) -> Server:
        folder = tmp_path_factory.mktemp("server")
        port = free_port()
        environment = {k: v for k, v in os.environ.items() if not k.startswith("COVERCARD_")}
        environment |= {f"COVERCARD_{k.upper()}": str(v) for k, v in settings.items()}
        environment |= {"COVERCARD_PORT": str(port), "PYTHONPATH": str(ROOT)}
        log = folder / "log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-c", "from service.cli import main; main()", "serve"],
                cwd=folder,
                env=environment,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        server = Server(f"http://127.0.0.1:{port}", process, log)
        started.append(server)
        _wait_until_it_answers(server)
        return server

    yield start
    for server in started:
        server.process.terminate()
    for server in started:
        try:
            server.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            server.process.kill()


def _wait_until_it_answers(server: Server) -> None:
    deadline = time.monotonic() + _SECONDS_TO_START
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            break
        try:
            if server.get("/cds-services").status_code == 200:
                return
        except requests.ConnectionError:
            time.sleep(0.05)
    raise RuntimeError(f"the server did not start:\n{server.log.read_text('utf-8')}")


@pytest.fixture(scope="session")
def server(start_server: Callable[..., Server]) -> Server:
    """One server with default settings for all tests that need nothing special."""
    return start_server()
