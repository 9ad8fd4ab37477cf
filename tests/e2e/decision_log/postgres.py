"""A PostgreSQL server of one's own, from Debian's packages, on a free loopback port."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.e2e.decision_log.instances import until
from tests.e2e.processes import lives

_SECONDS_TO_START = 90


class PostgresMissing(Exception):
    """Why no server can be started here."""


def _programs() -> Path:
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / "initdb").is_file():
            return folder
    raise PostgresMissing("PostgreSQL's server is not installed (apt-get install postgresql)")


def _owner() -> pwd.struct_passwd | None:
    """Whom to run it as: it refuses to run as root. None for whoever runs the tests."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        raise PostgresMissing("running as root, and there is no user `postgres`") from None


@dataclass
class Postgres:
    """A server: `url` is its database's, for COVERCARD_DATABASE_URL."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return self.url_of("covercard")

    def url_of(self, database: str) -> str:
        return f"postgresql+psycopg://covercard@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str = "covercard") -> psycopg.Connection:
        """A connection for looking at what is there."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user="covercard",
            dbname=database,
            autocommit=True,
            connect_timeout=5,
        )

    def start(self) -> None:
        """Start it, and wait until it answers."""
        owner = _owner()
        (self.folder / "data" / "postmaster.pid").unlink(missing_ok=True)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    str(_programs() / "postgres"),
                    *("-D", str(self.folder / "data"), "-p", str(self.port)),
                    *("-c", "listen_addresses=127.0.0.1"),
                    *("-c", f"unix_socket_directories={self.folder}"),
                ],
                stdout=log,
                stderr=log,
                user=owner.pw_uid if owner else None,
                group=owner.pw_gid if owner else None,
                start_new_session=True,
            )
        deadline = time.monotonic() + _SECONDS_TO_START
        while time.monotonic() < deadline:
            with contextlib.suppress(psycopg.OperationalError):
                self.connect("postgres").close()
                return
            time.sleep(0.05)
        raise RuntimeError((self.folder / "log").read_text("utf-8", "replace")[-2000:])

    def processes(self) -> list[int]:
        """The server's process and all its children; none once it has ended."""
        if self.process is None or self.process.poll() is not None:
            return []
        found = [self.process.pid]
        for status in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields = status.read_text().rpartition(")")[2].split()
                if int(fields[1]) == self.process.pid:
                    found.append(int(status.parent.name))
        return found

    def signal(self, number: signal.Signals) -> list[int]:
        """Send a signal to the server's process and all its children; returns them."""
        processes = self.processes()
        for pid in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return processes

    def kill(self) -> None:
        """As a power cut would: every process at once, without a word."""
        killed = self.signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait(timeout=60)
        # A server does not start while one of the former's processes still has its memory.
        until(lambda: not any(map(lives, killed)), "the server's processes are gone")

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                self.kill()


@contextlib.contextmanager
def postgres(folder: Path, port: int) -> Iterator[Postgres]:
    """A new server with an empty database, stopped at the end; PostgresMissing if it cannot be.

    `folder` must be one that another user may enter: the server does not run as root.
    """
    owner = _owner()
    programs = _programs()
    folder.mkdir(parents=True)
    if owner:
        shutil.chown(folder, owner.pw_uid, owner.pw_gid)
    subprocess.run(
        [
            str(programs / "initdb"),
            *("-D", str(folder / "data"), "-U", "covercard", "-A", "trust", "-E", "UTF8"),
            *("--no-sync", "--locale=C.UTF-8"),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        user=owner.pw_uid if owner else None,
        group=owner.pw_gid if owner else None,
    )
    server = Postgres(folder, port)
    try:
        server.start()
        with server.connect("postgres") as connection:
            connection.execute("CREATE DATABASE covercard")
        yield server
    finally:
        server.stop()
