"""The drainer has a process of its own: rows follow, whatever happens to it and to the others."""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing

from tests.e2e.decision_log.instances import Instance, until
from tests.e2e.decision_log.load import load
from tests.e2e.decision_log.test_stopping import begin_call, end_call, takes_calls
from tests.e2e.processes import drainer_of, lives


def drainer(instance: Instance) -> int | None:
    assert instance.process is not None
    return drainer_of(instance.process.pid)


def rows(instance: Instance) -> int:
    with closing(sqlite3.connect(instance.folder / "var" / "covercard.sqlite3")) as log:
        (calls,) = log.execute("SELECT count(*) FROM call").fetchone()
    return int(calls)


def test_no_worker_drains(instance: Instance) -> None:
    pid = drainer(instance)
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        end_call(begin_call(instance.port))
        until(lambda: instance.waiting() > 0, "the record waits")
        assert rows(instance) == 0
    finally:
        os.kill(pid, signal.SIGCONT)
    until(lambda: rows(instance) == 1, "the row follows")


def test_a_drainer_that_dies_is_begun_again_and_the_rows_follow(instance: Instance) -> None:
    gone = drainer(instance)
    assert gone is not None
    with load(instance.base, clients=2) as calling:
        calling.answered_soon()
        os.kill(gone, signal.SIGKILL)
        until(lambda: drainer(instance) not in (None, gone), "another drains")
        calling.answered_soon()
    until(instance.settled, "all is in the rows")
    assert rows(instance) == len(calling.received.answers)
    assert instance.log.count('"drainer died"') == 1
    assert '"worker died"' not in instance.log


def test_signals_to_all_processes_leave_no_record_without_its_row(instance: Instance) -> None:
    assert instance.process is not None
    connection = begin_call(instance.port)
    for _ in range(20):
        os.killpg(instance.process.pid, signal.SIGTERM)
        os.killpg(instance.process.pid, signal.SIGINT)
    until(lambda: not takes_calls(instance.port), "no new calls are taken")
    assert end_call(connection).startswith(b"HTTP/1.1 200 OK")
    assert instance.process.wait(timeout=60) == 0
    assert rows(instance) == 1
    assert instance.log.count('"drainer stopped"') == 1


def test_when_the_server_process_is_killed_the_last_calls_get_their_rows(
    instance: Instance,
) -> None:
    assert instance.process is not None
    pid = drainer(instance)
    assert pid is not None
    connection = begin_call(instance.port)
    os.kill(instance.process.pid, signal.SIGKILL)
    instance.process.wait(timeout=60)
    assert end_call(connection).startswith(b"HTTP/1.1 200 OK")
    until(lambda: rows(instance) == 1, "the row follows")
    until(lambda: not lives(pid), "the drainer ends, too")


def test_a_drainer_that_hangs_does_not_keep_the_service_from_stopping(instance: Instance) -> None:
    assert instance.process is not None
    pid = drainer(instance)
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    end_call(begin_call(instance.port))
    instance.process.terminate()
    assert instance.process.wait(timeout=60) == 0
    assert instance.log.count('"drainer killed: it did not stop"') == 1
    # The record is in its segment: the next start moves it.
    instance.start()
    until(lambda: rows(instance) == 1, "the row follows")
