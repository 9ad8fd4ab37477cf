"""The servers that are measured: how each is started, when it first answers, what it holds."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from service.cli.drainer_process import PROCESS_NAME

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SERVICE_PATH = "/cds-services/order-sign-crd"
_PATIENCE_SECONDS = 60
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Contender:
    """One server to measure. `command` is run in `folder` with `environment` added to ours."""

    name: str
    what: str
    command: tuple[str, ...]
    port: int
    environment: Mapping[str, str] = field(default_factory=dict)
    path: str = SERVICE_PATH
    folder: Path = ROOT

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.path}"


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers: its process, its answer, and the seconds until the first one."""

    contender: Contender
    process: subprocess.Popen[bytes]
    answer: bytes
    started_in: float

    def memory(self) -> list[float]:
        """Resident megabytes of each worker: the processes that have no child of their own."""
        family = _family(self.process.pid)
        parents = {_parent(pid) for pid in family}
        workers = [pid for pid in family if pid not in parents and _serves(pid)]
        return [_resident_megabytes(pid) for pid in workers]

    def settle(self, seconds: float = 0.3) -> None:
        """Wait until the server has nothing left to do, so that it takes no time of the next."""
        until = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < until:
            before = self.cpu_seconds()
            time.sleep(seconds)
            if self.cpu_seconds() - before < 0.1 * seconds:
                return

    def cpu_seconds(self) -> float:
        """Processor time that all its processes have used."""
        return family_seconds(self.process.pid)


def family_seconds(pid: int) -> float:
    """Processor time that a process and all its descendants have used."""
    return sum(_cpu_seconds(each) for each in _family(pid))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def covercard_environment(port: int, workers: int, data: Path) -> dict[str, str]:
    """Settings of one server. One client fires all calls here: no limit on it may count."""
    data.mkdir()
    return {
        "COVERCARD_PORT": str(port),
        "COVERCARD_WORKERS": str(workers),
        "COVERCARD_DATABASE_URL": f"sqlite:///{data}/covercard.sqlite3",
        "COVERCARD_RECORDS_DIR": str(data / "records"),
        "COVERCARD_CALLS_PER_MINUTE": "1000000",
        # Each worker by itself: how calls are counted together is a matter of the database.
        "COVERCARD_CALL_COUNTS": "memory",
        "COVERCARD_BYTES_PER_MINUTE": str(2**34),
        "COVERCARD_MAX_CONCURRENT_CALLS": "64",
    }


def launched(
    name: str, what: str, factory: str, workers: int, data: Path, **environment: str
) -> Contender:
    """An application factory under the server settings of `covercard serve`."""
    port = free_port()
    command = (sys.executable, "-m", "tests.bench.launch", factory)
    settings = covercard_environment(port, workers, data)
    return Contender(name, what, command, port, settings | environment)


def complete(workers: int, data: Path) -> Contender:
    """Covercard as an operator starts it; its log lies in the folder `data`."""
    port = free_port()
    command = (sys.executable, "-c", "from service.cli import main; main()", "serve")
    settings = covercard_environment(port, workers, data)
    return Contender("complete", "Covercard complete", command, port, settings)


def healthchain(python: Path, workers: int, *, with_uvloop: bool) -> Contender:
    """HealthChain under uvicorn, by the Python that it is installed for."""
    port = free_port()
    how = "uvloop" if with_uvloop else "as-installed"
    return Contender(
        "healthchain-uvloop" if with_uvloop else "healthchain",
        "HealthChain and uvloop" if with_uvloop else "HealthChain",
        (str(python), "healthchain_app.py", str(port), str(workers), how),
        port,
        {"HEALTHCHAIN_TELEMETRY": "0", "DO_NOT_TRACK": "1"},
        path=f"/cds{SERVICE_PATH}",
        folder=HERE,
    )


@contextmanager
def running(contender: Contender, body: bytes, log: Path) -> Iterator[Running]:
    """Start the server, wait for its first answer to `body`, stop it at the end."""
    began = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            contender.command,
            cwd=contender.folder,
            env={**os.environ, **contender.environment},
            stdout=output,
            stderr=output,
        )
    try:
        answer = _first_answer(contender, process, body, began, log)
        yield Running(contender, process, answer, time.monotonic() - began)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _first_answer(
    contender: Contender, process: subprocess.Popen[bytes], body: bytes, began: float, log: Path
) -> bytes:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(contender.url, body, headers)
    while time.monotonic() - began < _PATIENCE_SECONDS:
        try:
            with urllib.request.urlopen(request, timeout=10) as reply:
                answer: bytes = reply.read()
                return answer
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{contender.name} answers {error.code}: {error.read()!r}") from None
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.01)
    raise RuntimeError(f"{contender.name} did not start:\n{log.read_text('utf-8', 'replace')}")


def _family(pid: int) -> list[int]:
    """A process and all its descendants."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        below = [int(child) for child in children.read_text().split()]
    except OSError:
        return []
    return [pid, *(p for child in below for p in _family(child))]


def _stat(pid: int) -> list[str]:
    # The name in parentheses may hold blanks; what follows it is the state.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _parent(pid: int) -> int:
    return int(_stat(pid)[1])


def _cpu_seconds(pid: int) -> float:
    try:
        stat = _stat(pid)
    except OSError:
        return 0.0
    return (int(stat[11]) + int(stat[12])) / _CLOCK_TICKS


def _serves(pid: int) -> bool:
    """Not so the drainer, nor multiprocessing's resource tracker, beside the workers."""
    name = Path(f"/proc/{pid}/comm").read_text().strip()
    tracks = b"resource_tracker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return not tracks and name != PROCESS_NAME


def _resident_megabytes(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0
