"""The writer of log lines: in order, by no one waited for, and honest about what it left out."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from multiprocessing import get_context

import pytest

from service.log_writer import LogWriter
from tests.conftest import without_further_threads

SECONDS = 30


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for end in (reader, writer):
        os.close(end)


def told(number: int) -> str:
    return f"left out {number}\n"


def lines_until(reader: int, last: str) -> list[str]:
    """What is read, line by line, until that line."""
    came = b""
    while not came.endswith(f"{last}\n".encode()):
        came += os.read(reader, 65536)
    return came.decode().splitlines()


@pytest.mark.threat("failure-path")
def test_lines_wait_while_the_system_has_no_more_threads(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    out = LogWriter(writer, told)
    with without_further_threads():
        out.write("line 1\n")
    out.write("line 2\n")
    assert lines_until(reader, "line 2") == ["line 1", "line 2"]


@pytest.mark.threat("failure-path")
def test_a_reader_that_stands_still_stops_no_one_and_learns_what_it_missed(
    pipe: tuple[int, int],
) -> None:
    reader, writer = pipe
    out = LogWriter(writer, told, most=1000)

    def many() -> None:
        for number in range(20_000):
            out.write(f"line {number}\n")

    thread = threading.Thread(target=many, daemon=True)
    thread.start()
    thread.join(SECONDS)
    assert not thread.is_alive(), "it waits for the reader"

    came: list[str] = []

    def read() -> None:
        came.extend(lines_until(reader, "the last"))

    reading = threading.Thread(target=read, daemon=True)
    reading.start()
    out.drain(SECONDS)
    out.write("and more\n")
    out.write("the last\n")
    reading.join(SECONDS)
    assert came[-2:] == ["and more", "the last"]
    # Each line is the next one, or the number of those in between is told.
    due = missed = 0
    for line in came[:-2]:
        number = int(line.split()[-1])
        if line.startswith("left out"):
            due, missed = due + number, missed + number
        else:
            assert number == due
            due += 1
    assert due == 20_000
    assert missed > 0


def test_lines_of_several_threads_are_whole(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    out = LogWriter(writer, told)
    came: list[str] = []
    reading = threading.Thread(target=lambda: came.extend(lines_until(reader, "the last")))
    reading.start()
    line = "x" * 300
    threads = [
        threading.Thread(target=lambda: [out.write(f"{line}\n") for _ in range(500)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    out.write("the last\n")
    reading.join(SECONDS)
    assert came == [line] * 2000 + ["the last"]


def test_a_child_writes_its_own_lines_and_not_its_parents_again(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    out = LogWriter(writer, told)
    out.write("of the parent\n")
    out.drain(SECONDS)

    def write() -> None:
        out.write("of the child\n")
        out.drain(SECONDS)

    child = get_context("fork").Process(target=write)
    child.start()
    child.join(SECONDS)
    assert child.exitcode == 0
    out.write("the last\n")
    assert lines_until(reader, "the last") == ["of the parent", "of the child", "the last"]


def test_where_nothing_can_be_written_no_one_fails_and_it_is_said(
    pipe: tuple[int, int], capfd: pytest.CaptureFixture[str]
) -> None:
    nowhere = os.open("/dev/full", os.O_WRONLY)
    out = LogWriter(nowhere, told)
    out.write("one\n")
    out.drain(SECONDS)
    assert "1 log lines could not be written: OSError" in capfd.readouterr().err
    os.close(nowhere)


def test_a_pipe_that_another_program_made_non_blocking_loses_nothing(
    pipe: tuple[int, int],
) -> None:
    reader, writer = pipe
    os.set_blocking(writer, False)
    out = LogWriter(writer, told)
    for number in range(5000):
        out.write(f"{number} {'x' * 100}\n")
    out.write("the last\n")
    assert len(lines_until(reader, "the last")) == 5001
