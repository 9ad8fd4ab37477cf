"""A service that is told to stop finishes what was begun, and leaves nothing running."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
from pathlib import Path

from tests.conftest import FIXTURES, files_below, fixture_text_today
from tests.e2e.decision_log.instances import Instance, until
from tests.e2e.servers import free_port

BODY = fixture_text_today(FIXTURES / "order-sign" / "mrs-medicare-advantage.json").encode()


def begin_call(port: int) -> socket.socket:
    """A call whose body is half sent, and that the service has begun to read."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    head = (
        "POST /cds-services/order-sign-crd HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n"
        "Expect: 100-continue\r\n\r\n"
    )
    connection.sendall(head.encode())
    # Only a worker that reads the body asks for it.
    assert received(connection).startswith(b"HTTP/1.1 100")
    connection.sendall(BODY[:1000])
    return connection


def received(connection: socket.socket) -> bytes:
    """What came next."""
    came = connection.recv(65536)
    assert came, "the connection ended without a whole answer"
    return came


def end_call(connection: socket.socket) -> bytes:
    """Send the rest, and read the answer to its end."""
    connection.sendall(BODY[1000:])
    answer = b""
    with connection:
        while b"\r\n\r\n" not in answer:
            answer += received(connection)
        head, _, body = answer.partition(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length")
        )
        while len(body) < length:
            body += received(connection)
    return head.split(b"\r\n")[0] + b"\n" + body


def takes_calls(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=30).close()
    except ConnectionRefusedError:
        return False
    except ConnectionResetError:
        pass  # at the very moment at which it was closed: whether for good, the next one tells
    return True


def test_a_call_that_was_begun_is_answered_and_recorded_after_the_order_to_stop(
    instance: Instance,
) -> None:
    assert instance.process is not None
    connection = begin_call(instance.port)
    os.kill(instance.process.pid, signal.SIGTERM)
    until(lambda: not takes_calls(instance.port), "no new calls are taken")
    status, _, answer = end_call(connection).partition(b"\n")
    assert status.endswith(b"200 OK")
    assert len(json.loads(answer)["cards"]) == 2
    assert instance.process.wait(timeout=60) == 0
    with sqlite3.connect(instance.folder / "var" / "covercard.sqlite3") as log:
        assert log.execute("SELECT count(*) FROM call").fetchone() == (1,)


def test_workers_end_when_their_server_process_is_killed(instance: Instance) -> None:
    assert instance.process is not None
    os.kill(instance.process.pid, signal.SIGKILL)
    instance.process.wait(timeout=60)
    until(lambda: not takes_calls(instance.port), "the port is free")


def test_metrics_are_counted_over_all_workers(instance: Instance) -> None:
    import requests

    for _ in range(20):
        requests.post(
            f"{instance.base}/cds-services/order-sign-crd",
            data=BODY,
            headers={"Content-Type": "application/json", "Connection": "close"},
            timeout=30,
        )
    for _ in range(4):
        text = requests.get(f"{instance.base}/metrics", timeout=30).text
        line = next(line for line in text.splitlines() if line.startswith("covercard_calls_total"))
        assert line.endswith(" 20.0")


def test_only_its_owner_may_read_what_the_service_writes(instance: Instance) -> None:
    connection = begin_call(instance.port)
    end_call(connection)
    written = files_below(instance.folder / "var", Path.stat)
    assert written
    assert all(found.st_mode & 0o077 == 0 for found in written.values())


def with_workers_that_do_not_serve_yet(folder: Path) -> Instance:
    """An instance whose two workers stand still before they serve: where one was too fast to be
    met before, another instance is begun.
    """
    for number in range(20):
        instance = Instance(folder / f"instance-{number}", free_port())
        instance.begin()
        until(lambda met=instance: len(met.workers()) == 2, "the workers are there")
        for worker in instance.workers():
            os.kill(worker, signal.SIGSTOP)
        if "Started worker" not in instance.log:
            return instance
        instance.kill()
    raise AssertionError("workers serve as soon as they are there")


def test_a_worker_that_is_told_to_stop_before_it_serves_does_not_have_to_be_killed(
    tmp_path: Path,
) -> None:
    instance = with_workers_that_do_not_serve_yet(tmp_path)
    assert instance.process is not None
    os.kill(instance.process.pid, signal.SIGTERM)
    for worker in instance.workers():
        os.kill(worker, signal.SIGCONT)
    assert instance.process.wait(timeout=60) == 0
    assert instance.log.count('"worker stopped"') == 2
    assert "worker killed" not in instance.log
