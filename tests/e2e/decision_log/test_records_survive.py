"""Whatever is killed, hangs or fills up: each answer that a client received is in the log once.

Real processes: two instances with two workers each behind nginx, on one PostgreSQL, under load; and
one instance on SQLite. The numbers are printed at the end of the run.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from service.database.engines import open_engine
from service.decision_log.rows import unpack_payload
from service.decision_log.tables import call
from tests.e2e.decision_log.conftest import NUMBERS
from tests.e2e.decision_log.instances import Instance, covercard, until
from tests.e2e.decision_log.load import Load, compare, load
from tests.e2e.decision_log.nginx import installed, nginx
from tests.e2e.decision_log.postgres import Postgres
from tests.e2e.servers import free_port

HANG_SECONDS = 2.0
AWAY_SECONDS = 1.5


@dataclass
class Stack:
    """What the clients see at `base`, what is behind it, and where it keeps its log."""

    base: str
    instances: list[Instance]
    database_url: str

    def logged(self) -> dict[str, list[str]]:
        """hookInstance → the SHA-256 of each answer that is in the log."""
        found: dict[str, list[str]] = {}
        with open_engine(self.database_url).connect() as connection:
            rows = connection.execution_options(yield_per=500).execute(
                select(call.c.hook_instance, call.c.kept)
            )
            for instance, kept in rows:
                digest = hashlib.sha256(unpack_payload(kept).answer).hexdigest()
                found.setdefault(instance, []).append(digest)
        return found

    def proof(self, running: Load, what: str) -> None:
        """End the load, wait until all is settled, compare, and note the numbers."""
        waiting = sum(i.waiting() for i in self.instances)
        received = running.stop()
        for instance in self.instances:
            until(instance.settled, f"{instance.base} settled: {instance.log[-1500:]}")
        missing, doubled = compare(received, self.logged())
        statuses = ", ".join(f"{n} with {s}" for s, n in sorted(received.statuses.items()))
        NUMBERS.append(
            f"{what}: {received.sent} calls, {statuses}, {received.lost} without an answer;"
            f" {waiting} bytes not in the rows at the end of it; slowest answer"
            f" {received.slowest * 1000:.0f} ms; missing {len(missing)}, doubled {len(doubled)}"
        )
        assert received.answered > 0
        assert (missing, doubled) == ([], [])


@pytest.fixture(scope="module")
def stack(server: Postgres, open_folder: Path) -> Iterator[Stack]:
    """Two instances behind nginx on one PostgreSQL."""
    if not installed():
        pytest.skip("nginx is not installed (apt-get install nginx)")
    upgraded = covercard(open_folder, "db", "upgrade", database_url=server.url)
    assert upgraded.returncode == 0, upgraded.stderr
    with ExitStack() as running:
        instances = [
            Instance(open_folder / name, free_port(), {"database_url": server.url})
            for name in ("one", "two")
        ]
        for instance in instances:
            instance.start()
            running.callback(instance.kill)
        ports = [instance.port for instance in instances]
        base = running.enter_context(nginx(open_folder / "nginx", free_port(), ports))
        yield Stack(base, instances, server.url)


def test_two_instances_share_one_log(stack: Stack) -> None:
    with load(stack.base) as running:
        running.answered_soon(200)
        stack.proof(running, "nothing happens")


def test_a_worker_is_killed(stack: Stack) -> None:
    first = stack.instances[0]
    with load(stack.base) as running:
        running.answered_soon()
        victim = first.workers()[0]
        os.kill(victim, signal.SIGKILL)
        until(lambda: victim not in first.workers(), "the dead worker is gone")
        until(lambda: len(first.workers()) == 2, "another worker has taken its place")
        running.answered_soon()
        stack.proof(running, "kill -9 of a worker")


def test_an_instance_is_killed_and_started_again(stack: Stack) -> None:
    first = stack.instances[0]
    with load(stack.base) as running:
        running.answered_soon()
        first.kill()
        running.answered_soon()
        first.start()
        running.answered_soon()
        stack.proof(running, "kill -9 of an instance")


def test_postgresql_is_killed_and_started_again(stack: Stack, server: Postgres) -> None:
    with load(stack.base) as running:
        running.answered_soon()
        server.kill()
        running.answered_soon(100)
        time.sleep(AWAY_SECONDS)
        waiting = sum(i.waiting() for i in stack.instances)
        server.start()
        running.answered_soon()
        stack.proof(running, f"kill -9 of PostgreSQL ({waiting} bytes not in the rows meanwhile)")
    assert waiting > 0


def test_a_database_that_hangs_delays_no_answer_for_long(stack: Stack, server: Postgres) -> None:
    with load(stack.base) as running:
        running.answered_soon()
        server.signal(signal.SIGSTOP)
        try:
            running.answered_soon(100)
            time.sleep(HANG_SECONDS)
            waiting = sum(i.waiting() for i in stack.instances)
        finally:
            server.signal(signal.SIGCONT)
        running.answered_soon()
        stack.proof(running, f"PostgreSQL hangs ({waiting} bytes not in the rows meanwhile)")
    assert waiting > 0


def test_an_instance_is_killed_while_the_database_hangs(stack: Stack, server: Postgres) -> None:
    first = stack.instances[0]
    with load(stack.base) as running:
        running.answered_soon()
        server.signal(signal.SIGSTOP)
        try:
            running.answered_soon(100)
            first.kill()
            running.answered_soon()
            first.start()
            running.answered_soon()
        finally:
            server.signal(signal.SIGCONT)
        running.answered_soon()
        stack.proof(running, "kill -9 of an instance while PostgreSQL hangs")


@pytest.fixture
def on_sqlite(tmp_path: Path) -> Iterator[Callable[..., Stack]]:
    """Starts one instance with two workers, its SQLite log and its records in a folder."""
    started: list[Instance] = []

    def start(var: Path, **others: object) -> Stack:
        url = f"sqlite:///{var}/covercard.sqlite3"
        own: dict[str, object] = {"database_url": url, "records_dir": var / "records"}
        settings = own | others
        instance = Instance(tmp_path / "instance", free_port(), settings)
        instance.start()
        started.append(instance)
        return Stack(instance.base, [instance], url)

    yield start
    for instance in started:
        instance.kill()


def test_on_sqlite_a_worker_and_then_the_instance_are_killed(
    on_sqlite: Callable[..., Stack], tmp_path: Path
) -> None:
    stack = on_sqlite(tmp_path)
    (instance,) = stack.instances
    with load(stack.base) as running:
        running.answered_soon()
        os.kill(instance.workers()[0], signal.SIGKILL)
        running.answered_soon()
        instance.kill()
        instance.start()
        running.answered_soon()
        stack.proof(running, "SQLite: kill -9 of a worker, then of the instance")


def test_on_sqlite_segments_and_then_the_database_file_are_deleted_in_use(
    on_sqlite: Callable[..., Stack], tmp_path: Path
) -> None:
    stack = on_sqlite(tmp_path)
    (instance,) = stack.instances
    with load(stack.base) as running:
        running.answered_soon()
        for segment in (tmp_path / "records").glob("*.segment"):
            segment.unlink()
        running.answered_soon()
        (tmp_path / "records").rename(tmp_path / "gone")
        shutil.rmtree(tmp_path / "gone")
        running.answered_soon()
        for file in tmp_path.glob("covercard.sqlite3*"):
            file.unlink()
        running.answered_soon()
        until((tmp_path / "covercard.sqlite3").exists, "the database is made again")
        (tmp_path / "covercard.sqlite3").rename(tmp_path / "moved.sqlite3")
        running.answered_soon()
        stack.proof(running, "SQLite: segments, their folder and the database deleted and moved")
    assert "a segment was gone, and is written anew" in instance.log
    told = instance.readiness()["checks"]["records"]
    assert (told["status"], told["lost"]) == ("ready", 0)


def test_on_sqlite_the_disk_is_full(
    on_sqlite: Callable[..., Stack], small_disk: Path, disks: Disks
) -> None:
    stack = on_sqlite(small_disk)
    with load(stack.base) as running:
        running.answered_soon()
        until(lambda: running.received.statuses.get(503, 0) > 20, "calls are refused")
        # Each worker says what it has seen; at the brink of a full disk some records still fit.
        until(lambda: stack.instances[0].readiness()["status"] == "failing", "it is said")
        disks.remount(small_disk, "size=256m")
        running.answered_soon(100)
        stack.proof(running, "SQLite: full disk, and then room again")


def test_on_sqlite_a_read_only_mount_lies_over_the_records_in_use(
    on_sqlite: Callable[..., Stack], tmp_path: Path, disks: Disks
) -> None:
    """No answer goes out without its record, and the service goes on where the mount is gone."""
    stack = on_sqlite(tmp_path)
    records = tmp_path / "records"
    with load(stack.base) as running:
        running.answered_soon()
        disks.mount(records, "ro")
        until(lambda: running.received.statuses.get(503, 0) > 20, "calls are refused")
        until(lambda: stack.instances[0].readiness()["status"] == "failing", "it is said")
        disks.unmount(records)
        running.answered_soon()
        stack.proof(running, "SQLite: a read-only mount over the records in use, and then gone")
    assert '"reason": "Read-only file system"' in stack.instances[0].log


def test_on_sqlite_a_start_on_read_only_records_refuses_calls_until_they_can_be_written(
    on_sqlite: Callable[..., Stack], tmp_path: Path, disks: Disks
) -> None:
    var = tmp_path / "var"
    (var / "records").mkdir(parents=True)
    disks.mount(var / "records", "ro")
    stack = on_sqlite(var)
    assert stack.instances[0].readiness()["status"] == "failing"
    with load(stack.base) as running:
        until(lambda: running.received.statuses.get(503, 0) > 20, "calls are refused")
        assert running.received.answered == 0
        disks.remount(var / "records", "rw")
        running.answered_soon()
        stack.proof(running, "SQLite: a start on read-only records, and then writable ones")


def test_on_sqlite_rows_wait_in_the_segments_while_the_database_is_on_a_read_only_mount(
    on_sqlite: Callable[..., Stack], tmp_path: Path, disks: Disks
) -> None:
    """A disk that the kernel has made read-only after an error, met at the next start."""
    var, disk = tmp_path / "var", tmp_path / "disk"
    for folder in (var, disk):
        folder.mkdir()
    disks.mount(disk)
    stack = on_sqlite(disk, records_dir=var / "records")
    (instance,) = stack.instances
    with load(stack.base) as running:
        running.answered_soon()
        # Under load something always waits: that rows follow at all is enough.
        until(stack.logged, "the rows follow")
        instance.kill()
        disks.remount(disk, "ro")
        instance.start()
        running.answered_soon(60)
        until(lambda: records_of(instance)["store"] == "away", "the rows do not follow")
        told = records_of(instance)
        assert (told["status"], told["segments"]) == ("degraded", "written")
        assert told["waiting_bytes"] > 0
        disks.remount(disk, "rw")
        until(lambda: records_of(instance)["store"] == "up", "they follow")
        stack.proof(running, "SQLite: the database on a read-only mount, and then writable")


def records_of(instance: Instance) -> dict[str, Any]:
    """What readiness says of the records. The drainer, another process, says when rows wait."""
    told: dict[str, Any] = instance.readiness()["checks"]["records"]
    return told


@dataclass
class Disks:
    """Disks of their own in memory: mounted, made read-only, and gone with the test."""

    mounted: list[Path]

    def mount(self, place: Path, options: str = "size=64m") -> None:
        """Mount one over a folder; without the right to, the test says so and is skipped."""
        options = f"{options},mode=0700"
        tried = _run("mount", "-t", "tmpfs", "-o", options, "covercard-test", str(place))
        if tried.returncode != 0:
            why = tried.stderr.strip()
            pytest.skip(f"NOT TESTED HERE: no disk can be mounted ({why}); run it as root")
        self.mounted.append(place)

    def remount(self, place: Path, options: str) -> None:
        """Change a mount's options, once nobody who was killed has a file of it open any more."""
        command = ("mount", "-o", f"remount,{options}", str(place))
        until(lambda: _run(*command).returncode == 0, " ".join(command))

    def unmount(self, place: Path) -> None:
        """Take it away; who still has a file of it open keeps that file."""
        self.mounted.remove(place)
        done = _run("umount", "--lazy", str(place))
        assert done.returncode == 0, done.stderr


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def disks() -> Iterator[Disks]:
    made = Disks([])
    yield made
    for place in [*made.mounted]:
        made.unmount(place)


@pytest.fixture
def small_disk(tmp_path: Path, disks: Disks) -> Path:
    """A disk of six megabytes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    disks.mount(disk, "size=6m")
    return disk
