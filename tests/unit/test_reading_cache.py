"""A large library starts faster the second time, and never with what its files do not say."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.decision.policy import PolicyVersion
from service.errors import LibraryError
from service.policies import reading_cache
from service.policies.library import load_library
from service.policies.reading_cache import ReadingCache
from service.yaml_files import read_yaml
from tests.conftest import ROOT

EXAMPLES = ROOT / "examples" / "policies"


@pytest.fixture(autouse=True)
def even_few_files_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_cache, "FEW_FILES", 0)


@pytest.fixture(autouse=True)
def nobody_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    """All is parsed in this process, where it is counted."""
    monkeypatch.setattr(reading_cache, "helpers_at_hand", lambda: 0)


@pytest.fixture
def library(tmp_path: Path) -> Path:
    shutil.copytree(EXAMPLES, tmp_path / "policies")
    return tmp_path / "policies"


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that the parser has read, in sequence."""
    seen: list[str] = []

    def read(text: str) -> object:
        seen.append(text)
        return read_yaml(text)

    monkeypatch.setattr("service.policies.files.read_yaml", read)
    return seen


def load(library: Path, folder: Path) -> list[PolicyVersion]:
    """The versions, read as a start of the service does."""
    payers, cache = library / "payers.yaml", ReadingCache(folder, library)
    return list(load_library(library, payers, cache=cache).policies)


def said(version: PolicyVersion) -> object:
    """What can be compared of a version: rule lists are made anew."""
    return (version.id, version.determinations, version.services, version.facts.keys())


def test_the_second_start_parses_nothing_and_says_the_same(
    library: Path, tmp_path: Path, parsed: list[str]
) -> None:
    first = load(library, tmp_path / "cache")
    assert len(parsed) >= len(first)
    parsed.clear()
    second = load(library, tmp_path / "cache")
    assert parsed == []
    assert [said(v) for v in second] == [said(v) for v in first]


def test_an_edited_file_is_read_anew_and_no_other(
    library: Path, tmp_path: Path, parsed: list[str]
) -> None:
    load(library, tmp_path / "cache")
    edited = library / "screening-test" / "2026-01-01.yaml"
    edited.write_text(edited.read_text("utf-8").replace("title: ", "title: New ", 1), "utf-8")
    parsed.clear()
    versions = load(library, tmp_path / "cache")
    assert parsed == [edited.read_text("utf-8")]
    (title,) = (v.title for v in versions if v.id == "screening-test")
    assert title.startswith("New ")


def test_a_wrong_file_stops_every_start(library: Path, tmp_path: Path) -> None:
    wrong = library / "screening-test" / "2026-01-01.yaml"
    text = wrong.read_text("utf-8")
    wrong.write_text(text.replace('published: "2026-01-01"', "published: 2026-01-01"), "utf-8")
    for _ in range(2):
        with pytest.raises(LibraryError, match="published"):
            load(library, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*")), "of a wrong library nothing is kept"


def test_what_was_kept_by_another_version_is_read_anew(
    library: Path, tmp_path: Path, parsed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    load(library, tmp_path / "cache")
    parsed.clear()
    monkeypatch.setattr(reading_cache, "__version__", "another")
    load(library, tmp_path / "cache")
    assert parsed


def changed(cache: Path, change: Callable[[dict[str, Any]], None]) -> None:
    kept = json.loads(cache.read_text("utf-8"))
    change(kept)
    cache.write_text(json.dumps(kept), "utf-8")


@pytest.mark.parametrize(
    "damage",
    [
        lambda cache: cache.write_bytes(cache.read_bytes()[:-20]),
        lambda cache: cache.write_bytes(b""),
        lambda cache: cache.write_bytes(cache.read_bytes().replace(b"not-covered", b"covered")),
        lambda cache: cache.chmod(0o622),
        lambda cache: cache.parent.chmod(0o777),
        lambda cache: changed(cache, lambda kept: kept.update(check="0")),
    ],
    ids=["cut off", "empty", "changed", "others write it", "others write the folder", "check"],
)
def test_a_cache_that_cannot_be_trusted_is_not_used(
    library: Path, tmp_path: Path, parsed: list[str], damage: Callable[[Path], object]
) -> None:
    first = load(library, tmp_path / "cache")
    (cache,) = (tmp_path / "cache").iterdir()
    damage(cache)
    parsed.clear()
    assert [said(v) for v in load(library, tmp_path / "cache")] == [said(v) for v in first]
    assert parsed


def test_the_cache_is_this_users_alone(library: Path, tmp_path: Path) -> None:
    load(library, tmp_path / "cache")
    (cache,) = (tmp_path / "cache").iterdir()
    assert (cache.stat().st_mode & 0o777, cache.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_files_that_are_gone_leave_nothing_behind(library: Path, tmp_path: Path) -> None:
    load(library, tmp_path / "cache")
    (cache,) = (tmp_path / "cache").iterdir()
    assert "Brain" in cache.read_text("utf-8")
    shutil.rmtree(library / "brain-imaging")
    payers = library / "payers.yaml"
    lines = [li for li in payers.read_text("utf-8").splitlines() if "brain-imaging" not in li]
    payers.write_text("\n".join(lines), "utf-8")
    load(library, tmp_path / "cache")
    assert "Brain" not in cache.read_text("utf-8")


def test_without_a_folder_that_can_be_written_all_is_read(library: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    assert load(library, tmp_path / "file" / "cache")


def test_a_small_library_leaves_no_cache(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading_cache, "FEW_FILES", 100)
    load(library, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
