"""Metrics and logs are off the failure path: calls are answered whatever becomes of either."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.e2e.decision_log.instances import until
from tests.e2e.servers import SERVE, Server, environment, free_port, running

PATH = "/cds-services/order-sign-crd"
JSON = {"Content-Type": "application/json"}
PIPE_BYTES = 4096


def call(server: Server, order: bytes) -> requests.Response:
    reply = server.post(PATH, data=order, headers=JSON)
    assert reply.status_code == 200, reply.text
    return reply


def answers(server: Server) -> bool:
    assert server.process.poll() is None
    with contextlib.suppress(requests.ConnectionError, requests.Timeout):
        return server.get("/livez").status_code == 200
    return False


def calls_counted(server: Server) -> float:
    lines = server.get("/metrics").text.splitlines()
    return sum(float(li.split()[-1]) for li in lines if li.startswith("covercard_calls_total"))


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk without a free byte."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    disk = tmp_path / "full"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "covercard-test", str(disk)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    with contextlib.suppress(OSError):
        (disk / "fill").write_bytes(b"x" * 1_000_000)
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.threat("failure-path")
def test_with_a_full_folder_for_temporary_files_calls_are_answered_and_counted(
    tmp_path: Path, full_disk: Path, order: bytes
) -> None:
    with running(tmp_path, {"TMPDIR": str(full_disk)}, workers=2) as server:
        for _ in range(20):
            call(server, order)
        assert calls_counted(server) == 20
        assert server.lines("worker died") == []


def test_without_a_folder_for_temporary_files_it_starts_and_counts(
    tmp_path: Path, order: bytes
) -> None:
    with running(tmp_path, {"TMPDIR": str(tmp_path / "none")}) as server:
        call(server, order)
        assert calls_counted(server) == 1


def test_a_folder_for_temporary_files_that_goes_away_is_not_missed(
    tmp_path: Path, order: bytes
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    with running(tmp_path, {"TMPDIR": str(folder)}) as server:
        call(server, order)
        shutil.rmtree(folder)
        call(server, order)
        assert calls_counted(server) == 2


@pytest.mark.threat("failure-path")
def test_a_reader_of_the_log_that_stands_still_delays_no_call(tmp_path: Path, order: bytes) -> None:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    port = free_port()
    process = subprocess.Popen(
        SERVE,
        cwd=tmp_path,
        env=environment({"port": port, "workers": 2}),
        stdout=writer,
        stderr=subprocess.DEVNULL,
    )
    os.close(writer)
    server = Server(f"http://127.0.0.1:{port}", process, tmp_path / "log")
    impatient = threading.Timer(60, process.terminate)
    impatient.daemon = True
    try:
        until(lambda: answers(server), "it answers", 120)
        told = [call(server, order).headers["Covercard-Call"] for _ in range(60)]
        # The reader goes on, and has all there is before the service stops: that waits for it for a
        # second only.
        impatient.start()
        with os.fdopen(reader, "rb") as log:
            lines = (json.loads(line) for line in log if line.startswith(b"{"))
            calls = (line["call"] for line in lines if line.get("hook") == "order-sign")
            logged = [*itertools.islice(calls, len(told))]
            process.terminate()
            logged += calls
    finally:
        impatient.cancel()
        process.kill()
        process.wait()
    assert sorted(logged) == sorted(told)


def test_with_standard_output_closed_it_serves_and_writes_its_lines_nowhere(
    tmp_path: Path, order: bytes
) -> None:
    """Not into the file that gets the number of standard output instead."""
    port = free_port()
    process = subprocess.Popen(
        ["sh", "-c", 'exec "$@" >&-', "sh", *SERVE],
        cwd=tmp_path,
        env=environment({"port": port, "workers": 1}),
        stderr=subprocess.DEVNULL,
    )
    server = Server(f"http://127.0.0.1:{port}", process, tmp_path / "log")
    try:
        until(lambda: answers(server), "it answers", 120)
        call(server, order)
        process.terminate()
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.wait()
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or b'"event": "worker begun"' not in file.read_bytes()


def test_with_a_read_only_root_it_needs_its_own_folders_only(tmp_path: Path, order: bytes) -> None:
    """As in a container with a read-only root, and one volume."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("only root may mount its root read-only")
    volume = tmp_path / "volume"
    volume.mkdir()
    mounts = (
        f"mount --make-rprivate / && mount --bind {volume} {volume}"
        " && mount -o remount,ro,bind / && for each in /tmp /var/tmp /dev/shm;"
        " do mount -o remount,ro,bind $each 2>/dev/null || true; done"
        ' && exec "$@"'
    )
    port = free_port()
    settings = {
        "port": port,
        "workers": 2,
        "database_url": f"sqlite:///{volume}/covercard.sqlite3",
        "records_dir": volume / "records",
        "cache_dir": tmp_path / "cache",
    }
    log = volume / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", mounts, "sh", *SERVE],
            cwd=tmp_path,
            env=environment(settings),
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    server = Server(f"http://127.0.0.1:{port}", process, log)
    try:
        until(lambda: answers(server), "it answers", 120)
        call(server, order)
        assert calls_counted(server) == 1
        assert server.get("/readyz").json()["status"] == "ready"
        assert not (tmp_path / "cache").exists()
    finally:
        process.terminate()
        process.wait(timeout=60)
