"""Many policy files are read by helper processes as well: the same result, sooner."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from service.errors import LibraryError
from service.policies import reading_ahead, reading_cache
from service.policies.library import load_library
from service.policies.reading_ahead import Found, ReadFile, ReadingAhead, helpers_at_hand
from service.policies.reading_cache import ReadingCache
from service.yaml_files import read_yaml
from tests.conftest import ROOT

EXAMPLES = ROOT / "examples" / "policies"
PATIENCE = 60.0

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="helpers are for Linux alone"),
    # Tests run beside the threads of their runner; the service forks helpers without any.
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
]


@pytest.fixture
def library(tmp_path: Path) -> Path:
    shutil.copytree(EXAMPLES, tmp_path / "policies")
    return tmp_path / "policies"


@pytest.fixture
def texts(tmp_path: Path) -> list[Path]:
    """Forty files, each with its number."""
    paths = [tmp_path / f"{n}.txt" for n in range(40)]
    for n, path in enumerate(paths):
        path.write_text(str(n), "utf-8")
    return paths


def as_written(content: bytes) -> Found:
    return content.decode(), b"%d" % (2 * int(content))


Ahead = Callable[[Sequence[Path], ReadFile, int], ReadingAhead]


@pytest.fixture
def ahead() -> Iterator[Ahead]:
    """Helpers that end with the test."""
    begun: list[ReadingAhead] = []

    def begin(paths: Sequence[Path], read: ReadFile, helpers: int) -> ReadingAhead:
        begun.append(ReadingAhead(paths, read, helpers))
        return begun[-1]

    yield begin
    for each in begun:
        each.end()


def everything(reading: ReadingAhead, number: int) -> dict[str, bytes]:
    """What the helpers find, as soon as it is so many."""
    found: dict[str, bytes] = {}
    until = time.monotonic() + PATIENCE
    while len(found) < number and time.monotonic() < until:
        found.update(reading.found())
    return found


@pytest.mark.parametrize("helpers", [1, 3, 50])
def test_helpers_share_the_files(ahead: Ahead, texts: list[Path], helpers: int) -> None:
    found = everything(ahead(texts, as_written, helpers), len(texts))
    assert found == {str(n): b"%d" % (2 * n) for n in range(40)}


def test_the_last_file_comes_first(ahead: Ahead, texts: list[Path]) -> None:
    reading = ahead(texts, as_written, 1)
    until, found = time.monotonic() + PATIENCE, list[Found]()
    while not found and time.monotonic() < until:
        found = list(reading.found())
    assert [int(number) for number, _ in found] == list(range(39, 39 - len(found), -1))


def test_what_is_not_handed_over_or_gone_is_left_out(ahead: Ahead, texts: list[Path]) -> None:
    texts[20].unlink()

    def odd_ones(content: bytes) -> Found | None:
        return as_written(content) if int(content) % 2 else None

    expected = {str(n) for n in range(40) if n % 2}
    assert everything(ahead(texts, odd_ones, 2), len(expected)).keys() == expected


def test_a_helper_that_dies_costs_its_help_alone(ahead: Ahead, texts: list[Path]) -> None:
    def deadly(content: bytes) -> Found:
        if int(content) == 17:
            os.kill(os.getpid(), signal.SIGKILL)
        return as_written(content)

    reading = ahead(texts, deadly, 1)
    (helper,) = multiprocessing.active_children()
    helper.join(PATIENCE)
    found = dict(reading.found())
    assert "39" in found and "17" not in found
    assert list(reading.found()) == []
    assert not multiprocessing.active_children()


def test_a_stopped_helper_is_not_waited_for(ahead: Ahead, texts: list[Path]) -> None:
    def stopped(content: bytes) -> Found:
        os.kill(os.getpid(), signal.SIGSTOP)
        return as_written(content)

    reading = ahead(texts, stopped, 2)
    assert list(reading.found()) == []
    reading.end()
    assert not multiprocessing.active_children()


def test_helpers_are_as_many_as_further_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    for processors, helpers in ((1, 0), (2, 1), (4, 3), (64, reading_ahead.MOST_HELPERS)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, n=processors: set(range(n)))
        assert helpers_at_hand() == helpers
    monkeypatch.setattr(threading, "active_count", lambda: 2)
    assert helpers_at_hand() == 0, "a fork beside another thread is not safe"
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert helpers_at_hand() == 0


class AllAtOnce(ReadingAhead):
    """Helpers that have read everything before anybody asks."""

    def __init__(self, paths: Sequence[Path], read: ReadFile, helpers: int) -> None:
        assert helpers == 1
        self.ready = [found for path in paths if (found := read(path.read_bytes()))]

    def found(self) -> Iterator[Found]:
        yield from self.ready

    def end(self) -> None:
        self.ready = []


@pytest.fixture
def one_helper(monkeypatch: pytest.MonkeyPatch) -> None:
    """A helper, also for a library of a few files."""
    monkeypatch.setattr(reading_cache, "FEW_FILES", 0)
    monkeypatch.setattr(reading_cache, "helpers_at_hand", lambda: 1)


@pytest.fixture
def all_at_once(monkeypatch: pytest.MonkeyPatch, one_helper: None) -> None:
    monkeypatch.setattr(reading_cache, "ReadingAhead", AllAtOnce)


def load(library: Path, cache: Path) -> list[object]:
    """What can be compared of the versions."""
    loaded = load_library(library, library / "payers.yaml", cache=ReadingCache(cache, library))
    return [(v.id, v.determinations, v.services, v.facts.keys()) for v in loaded.policies]


@pytest.fixture
def parsed_here(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that the loading process has read itself."""
    seen: list[str] = []

    def read(text: str) -> object:
        seen.append(text)
        return read_yaml(text)

    monkeypatch.setattr("service.policies.files.read_yaml", read)
    return seen


@pytest.mark.usefixtures("all_at_once")
def test_what_helpers_have_read_is_not_read_again(
    library: Path, tmp_path: Path, parsed_here: list[str]
) -> None:
    first = load(library, tmp_path / "cache")
    assert first
    assert parsed_here == []
    assert load(library, tmp_path / "cache") == first
    assert parsed_here == [], "what a helper has read is kept, too"


@pytest.mark.usefixtures("one_helper")
def test_helpers_change_nothing_of_what_is_read(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helped = load(library, tmp_path / "cache")
    monkeypatch.setattr(reading_cache, "helpers_at_hand", lambda: 0)
    assert load(library, tmp_path / "other") == helped
    kept = [
        msgspec.json.decode(next((tmp_path / folder).iterdir()).read_bytes())["files"]
        for folder in ("cache", "other")
    ]
    assert kept[0] == kept[1]
    assert not multiprocessing.active_children()


@pytest.mark.usefixtures("all_at_once")
@pytest.mark.parametrize(
    "edit",
    [
        lambda text: text.replace('published: "2026-01-01"', "published: 2026-01-01"),
        lambda text: text.replace("title:", "title: twice\ntitle:", 1),
        lambda text: text.replace("title:", "title: [", 1),
        lambda text: text.replace("title:", "unknown: here\ntitle:", 1),
        lambda text: text + "\0",
    ],
    ids=["no text", "duplicate key", "no YAML", "unknown field", "NUL"],
)
def test_a_wrong_file_is_told_as_without_helpers(
    library: Path, tmp_path: Path, edit: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = library / "screening-test" / "2026-01-01.yaml"
    wrong.write_text(edit(wrong.read_text("utf-8")), "utf-8")
    with pytest.raises(LibraryError) as helped:
        load(library, tmp_path / "cache")
    monkeypatch.setattr(reading_cache, "helpers_at_hand", lambda: 0)
    with pytest.raises(LibraryError) as alone:
        load(library, tmp_path / "cache")
    assert str(helped.value) == str(alone.value)
    assert str(wrong) in str(alone.value)


def test_nobody_helps_with_a_few_files(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any) -> ReadingAhead:
        raise AssertionError

    monkeypatch.setattr(reading_cache, "helpers_at_hand", lambda: 1)
    monkeypatch.setattr(reading_cache, "ReadingAhead", never)
    assert load(library, tmp_path / "cache")


_START = """
import multiprocessing, sys
from pathlib import Path
from service.policies import reading_cache
from service.policies.library import load_library

reading_cache.helpers_at_hand = lambda: 2
library = Path(sys.argv[1])
cache = reading_cache.ReadingCache(Path(sys.argv[2]), library)
loaded = load_library(library, library / "payers.yaml", cache=cache)
print(len(list(loaded.policies)), len(multiprocessing.active_children()))
"""


def test_a_process_without_threads_loads_a_large_library_and_leaves_no_helper(
    library: Path, tmp_path: Path
) -> None:
    template = (library / "screening-test" / "2026-01-01.yaml").read_text("utf-8")
    few = len(list(load_library(library, library / "payers.yaml").policies))
    for n in range(reading_cache.FEW_FILES + 20):
        made = template.replace("screening-test", f"p{n}").replace('"82270"', f'"{n:04}Z"')
        (library / f"p{n}").mkdir()
        (library / f"p{n}" / "2026-01-01.yaml").write_text(made, "utf-8")
    started = subprocess.run(
        [sys.executable, "-c", _START, str(library), str(tmp_path / "cache")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=PATIENCE * 3,
    )
    assert started.returncode == 0, started.stderr
    assert started.stdout.splitlines()[-1] == f"{few + reading_cache.FEW_FILES + 20} 0"
    assert "Traceback" not in started.stderr
