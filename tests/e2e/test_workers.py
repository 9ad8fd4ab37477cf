"""The server process and its workers: the service goes on whatever dies, and stops when told."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
import requests

from tests.e2e.decision_log.instances import Instance, until
from tests.e2e.decision_log.load import load
from tests.e2e.decision_log.test_stopping import begin_call, end_call, takes_calls
from tests.e2e.processes import lives
from tests.e2e.servers import free_port, running

SECONDS_TO_STOP = 60
"""Ten for calls that do not end, and more for a machine with much to do."""

BEFORE_THE_PROGRAM = "Fatal Python error: init_"
"""What Python says, with 1, at a SIGINT while it reads its own site: nothing of ours has run."""


def group(process: subprocess.Popen[bytes]) -> list[int]:
    """The living processes of its group."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, of = status.read_text().rpartition(")")[2].split()[:3]
            if int(of) == process.pid and state != "Z":
                found.append(int(status.parent.name))
    return found


def test_a_hangup_during_the_start_waits_and_ends_nothing(tmp_path: Path) -> None:
    """By itself it ends a process, which a service manager takes for a clean end."""
    instance = Instance(tmp_path / "instance", free_port())
    instance.begin()
    process = instance.process
    assert process is not None
    hung_up = 0
    try:
        while instance.ready() is None:
            status = Path(f"/proc/{process.pid}/status").read_text("ascii")
            blocked = int(status.split("SigBlk:\t")[1][:16], 16)
            if blocked & 1 << signal.SIGHUP - 1:
                os.kill(process.pid, signal.SIGHUP)
                hung_up += 1
            time.sleep(0.02)
        assert hung_up > 0
        until(lambda: "snapshot in force" in instance.log, "it has reloaded")
        assert process.poll() is None
    finally:
        instance.kill()


@pytest.mark.parametrize("seconds", [0.2, 1.5, 4.0])
def test_it_stops_in_time_however_many_signals_come_and_whenever(
    seconds: float, tmp_path: Path
) -> None:
    """Of a terminal, of make and of a service manager: to all processes at once, and to one."""
    moments = random.Random()
    instance = Instance(tmp_path / "instance", free_port())
    instance.begin()
    process = instance.process
    assert process is not None
    time.sleep(moments.uniform(0, seconds))
    sent = 0
    begun = time.monotonic()
    while process.poll() is None:
        assert time.monotonic() - begun < SECONDS_TO_STOP, f"after {sent} signals: {instance.log}"
        number = moments.choice([signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
        with contextlib.suppress(ProcessLookupError):
            (os.kill if moments.random() < 0.5 else os.killpg)(process.pid, number)
        sent += 1
        if moments.random() < 0.1:
            time.sleep(moments.uniform(0, 0.02))
    ends = (0, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP)
    assert process.returncode in ends or BEFORE_THE_PROGRAM in instance.log, instance.log
    until(lambda: not group(process), "no process is left")


def test_hundreds_of_signals_to_all_processes_lose_no_call_that_was_begun(
    instance: Instance,
) -> None:
    assert instance.process is not None
    connection = begin_call(instance.port)
    for _ in range(300):
        os.killpg(instance.process.pid, signal.SIGTERM)
        os.killpg(instance.process.pid, signal.SIGINT)
        time.sleep(0.001)
    until(lambda: not takes_calls(instance.port), "no new calls are taken")
    assert end_call(connection).startswith(b"HTTP/1.1 200 OK")
    assert instance.process.wait(timeout=SECONDS_TO_STOP) == 0


@pytest.mark.threat("failure-path")
def test_workers_that_die_at_the_same_moment_and_again_do_not_end_the_service(
    instance: Instance,
) -> None:
    for _ in range(3):
        gone = instance.workers()
        assert len(gone) == 2
        for worker in gone:
            os.kill(worker, signal.SIGKILL)
        until(lambda gone=gone: len(set(instance.workers()) - set(gone)) == 2, "others came")
    assert requests.get(f"{instance.base}/livez", timeout=30).status_code == 200
    assert instance.log.count('"worker died"') == 6


@pytest.mark.threat("failure-path")
def test_while_one_worker_dies_again_and_again_the_other_takes_all_calls(
    instance: Instance,
) -> None:
    with load(instance.base, clients=2) as calling:
        calling.answered_soon()
        for death in range(1, 4):
            os.kill(instance.workers()[-1], signal.SIGKILL)
            # In the pause before its next one, whoever calls anew comes to the other: the dead
            # one's listener is closed before the line is written.
            until(lambda n=death: instance.log.count('"worker died"') == n, "its death is seen")
            assert requests.get(f"{instance.base}/livez", timeout=30).status_code == 200
            until(lambda: len(instance.workers()) == 2, "another has taken its place")
        calling.answered_soon()


def test_a_worker_that_hangs_is_killed_at_a_stop_and_the_others_are_not(
    instance: Instance,
) -> None:
    assert instance.process is not None
    os.kill(instance.workers()[0], signal.SIGSTOP)
    instance.process.terminate()
    assert instance.process.wait(timeout=SECONDS_TO_STOP) == 0
    assert instance.log.count('"worker killed: it did not stop"') == 1
    assert instance.log.count('"worker stopped"') == 2


def test_when_the_server_process_is_killed_the_port_is_free_and_a_call_is_finished(
    instance: Instance,
) -> None:
    assert instance.process is not None
    workers = instance.workers()
    connection = begin_call(instance.port)
    os.kill(instance.process.pid, signal.SIGKILL)
    instance.process.wait(timeout=60)
    until(lambda: not takes_calls(instance.port), "the port is free")
    assert end_call(connection).startswith(b"HTTP/1.1 200 OK")
    until(lambda: not any(map(lives, workers)), "workers ended")


def test_a_service_killed_with_nine_can_be_started_again_at_once(tmp_path: Path) -> None:
    first = Instance(tmp_path / "instance", free_port())
    first.start()
    assert first.process is not None
    first.process.kill()
    first.process.wait(timeout=60)
    first.start()
    first.kill()


@pytest.mark.parametrize("host", ["localhost", "::1", "[::1]", "127.0.0.2"])
def test_it_listens_at_a_name_and_by_ipv6(host: str, tmp_path: Path) -> None:
    if "::" in host and not _has_ipv6():
        pytest.skip("this machine has no IPv6")
    address = {"localhost": "127.0.0.1", "::1": "[::1]"}.get(host, host)
    with running(tmp_path, host=host, answers_at=address) as server:
        assert requests.get(f"http://{address}:{server.port}/livez", timeout=30).status_code == 200
        assert server.says(f"Covercard on http://{address}:{server.port}/")


def _has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False


def test_a_hangup_ends_no_worker(instance: Instance) -> None:
    assert instance.process is not None
    before = instance.workers()
    os.killpg(instance.process.pid, signal.SIGHUP)
    time.sleep(0.5)
    assert instance.workers() == before
    assert requests.get(f"{instance.base}/livez", timeout=30).status_code == 200
