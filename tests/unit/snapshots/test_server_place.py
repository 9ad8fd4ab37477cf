"""Place of a running server: found while it runs, and written without a byte more of the disk."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from service.cli.snapshots.board import ReloadOutcome
from service.cli.snapshots.server_place import ServerPlace
from service.errors import ConfigurationError
from service.settings import Settings
from tests.conftest import in_folder

REFUSED = ReloadOutcome("refused", "a case fails", 7, "2026-11-29", "p", "a")


@pytest.fixture
def own(tmp_path: Path) -> Settings:
    return in_folder(tmp_path)


Serve = Callable[[Callable[[ServerPlace], None]], int]


@pytest.fixture
def serve(own: Settings) -> Iterator[Serve]:
    """Runs a server, in a process of its own, that takes the place; its process."""
    with ExitStack() as stack:

        def start(task: Callable[[ServerPlace], None]) -> int:
            ready, tell = os.pipe()
            process = os.fork()
            if not process:
                try:
                    place = ServerPlace(own)
                    place.take()
                    task(place)
                    os.write(tell, b"r")
                    time.sleep(60)
                finally:
                    os._exit(1)
            stack.callback(end, process)
            assert os.read(ready, 1) == b"r"
            return process

        yield start


def end(process: int) -> None:
    try:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    except (ProcessLookupError, ChildProcessError):
        return


def test_the_server_is_found_while_it_runs_and_not_after_it_was_killed(
    own: Settings, serve: Serve
) -> None:
    place = ServerPlace(own)
    with pytest.raises(ConfigurationError, match="no service runs"):
        place.process()
    process = serve(lambda _: None)
    assert place.process() == process
    assert place.told() is None
    end(process)
    with pytest.raises(ConfigurationError, match="no service runs"):
        place.process()
    with pytest.raises(ConfigurationError, match="no service runs"):
        place.told()


def test_another_server_does_not_take_the_place_of_one_that_runs(
    own: Settings, serve: Serve
) -> None:
    first = serve(lambda _: None)
    serve(lambda other: other.tell(REFUSED))
    assert ServerPlace(own).process() == first
    assert ServerPlace(own).told() is None


def test_a_server_that_starts_while_somebody_looks_for_one_is_found(
    own: Settings, serve: Serve
) -> None:
    """Whoever looks has the file locked for a moment; here for longer."""
    end(serve(lambda _: None))
    with ServerPlace(own).path.open("rb") as looked_at:
        fcntl.lockf(looked_at, fcntl.LOCK_SH)
        letting_go = threading.Timer(0.1, fcntl.lockf, (looked_at, fcntl.LOCK_UN))
        letting_go.start()
        process = serve(lambda _: None)
        letting_go.join()
    assert ServerPlace(own).process() == process


def test_an_outcome_is_written_in_place_for_its_owner_alone(own: Settings, serve: Serve) -> None:
    serve(lambda place: place.tell(REFUSED))
    place = ServerPlace(own)
    assert place.told() == REFUSED
    found = place.path.stat()
    assert found.st_mode & 0o077 == 0
    assert found.st_size == 16_384
    assert found.st_blocks * 512 >= found.st_size  # its blocks are there already


@pytest.mark.parametrize("letter", ["x", "→"])
def test_of_a_long_reason_there_is_the_beginning_or_where_to_look(
    own: Settings, serve: Serve, letter: str
) -> None:
    told = ReloadOutcome("refused", letter * 50_000, 7, "2026-11-29", "p", "a")
    serve(lambda place: place.tell(told))
    found = ServerPlace(own).told()
    assert found is not None
    assert found.why.endswith("(the log of the service has all of it)")
    assert (letter in found.why) == (letter == "x")
    assert ServerPlace(own).path.stat().st_size == 16_384


def test_where_nothing_can_be_written_the_server_runs_on(
    own: Settings, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    own.records_dir.parent.mkdir(exist_ok=True)
    own.records_dir.write_text("a file in the way of the folder")
    place = ServerPlace(own)
    place.take()
    place.tell(REFUSED)
    assert "covercard reload will not find this server" in caplog.text + capsys.readouterr().out
