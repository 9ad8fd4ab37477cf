"""Instances of the service that can be killed and started again, each with a folder of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from tests.conftest import ROOT
from tests.e2e.processes import children_of, lives, workers_of

_SECONDS = 120
_COMMAND = [sys.executable, "-c", "from service.cli import main; main()"]


def covercard(
    folder: Path, *arguments: str, **settings: object
) -> subprocess.CompletedProcess[str]:
    """Run a command of `covercard` to its end."""
    return subprocess.run(
        [*_COMMAND, *arguments],
        cwd=folder,
        env=environment(settings),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def environment(settings: dict[str, object]) -> dict[str, str]:
    """This process's environment, with these settings of the service and no others."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("COVERCARD_", "PROMETHEUS_"))}
    return plain | {
        "PYTHONPATH": str(ROOT),
        **{f"COVERCARD_{k.upper()}": str(v) for k, v in settings.items()},
    }


def until(condition: Any, what: str, seconds: float = _SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not in {seconds} s: {what}"
        time.sleep(0.05)


@dataclass
class Instance:
    """One instance: a server process with its workers, in a process group of its own."""

    folder: Path
    port: int
    settings: dict[str, object] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text("utf-8", "replace")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.begin()
        until(lambda: self.ready() is not None, f"{self.base} answers; {self.log[-2000:]}")

    def begin(self) -> None:
        """Start it."""
        self.folder.mkdir(exist_ok=True)
        settings = {
            "port": self.port,
            "workers": 2,
            "calls_per_minute": 1_000_000,
            **self.settings,
        }
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*_COMMAND, "serve"],
                cwd=self.folder,
                env=environment(settings),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def ready(self) -> dict[str, Any] | None:
        """What /readyz says; None while nobody answers."""
        with contextlib.suppress(requests.RequestException):
            told: dict[str, Any] = requests.get(f"{self.base}/readyz", timeout=30).json()
            return told
        return None

    def readiness(self) -> dict[str, Any]:
        """What /readyz says, as soon as somebody answers."""
        said: list[dict[str, Any]] = []

        def is_told() -> bool:
            told = self.ready()
            said.extend([told] if told else [])
            return bool(said)

        until(is_told, f"{self.base} answers; {self.log[-2000:]}")
        return said[0]

    def waiting(self) -> int:
        """Bytes of records that are not in the database yet."""
        return int(self.readiness()["checks"]["records"]["waiting_bytes"])

    def settled(self) -> bool:
        """Whether it is ready, with all in the database."""
        told = self.readiness()
        return told["status"] == "ready" and not told["checks"]["records"]["waiting_bytes"]

    def workers(self) -> list[int]:
        """The worker processes."""
        assert self.process is not None
        return workers_of(self.process.pid)

    def kill(self) -> None:
        """Kill the server and all its workers at once, and see that none is left; nothing if it has
        ended.
        """
        assert self.process is not None
        # Once it has ended and was waited for, its number may be another's.
        if self.process.poll() is None:
            children = children_of(self.process.pid)
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(timeout=60)
            # Their folder is often removed now: a file that one still writes would be in the way.
            until(lambda: not any(map(lives, children)), "its workers are gone")
