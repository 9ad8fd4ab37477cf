"""Digests of a library's files: the same on each machine, another with each change of a file."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from service.errors import LibraryError
from service.policies.library_files import (
    LibraryPlaces,
    digest_of,
    digest_on_disk,
    read_files,
)
from tests.conftest import ROOT
from tests.policies import PAYERS, SOUND

EXAMPLES = ROOT / "examples" / "policies"


def places(folder: Path, library: Path = SOUND) -> LibraryPlaces:
    """A copy of a library under a folder, with its payers beside its policies."""
    copied = folder / "library"
    shutil.copytree(library, copied)
    return LibraryPlaces(copied, copied / "payers.yaml")


def test_two_copies_of_a_library_have_one_digest_wherever_they_are(tmp_path: Path) -> None:
    here = places(tmp_path / "here")
    there = places(tmp_path / "there" / "further" / "down")
    assert digest_on_disk(here) == digest_on_disk(there)
    assert len(digest_on_disk(here)) == 32


def test_the_digest_is_the_same_from_files_and_from_their_content(tmp_path: Path) -> None:
    there = places(tmp_path, EXAMPLES)
    files = read_files(there)
    assert digest_of(files) == digest_on_disk(there)
    assert digest_of(dict(reversed(files.items()))) == digest_of(files)


def test_the_digest_of_the_example_policies_covers_each_kind_of_file(tmp_path: Path) -> None:
    names = set(read_files(LibraryPlaces(EXAMPLES, EXAMPLES / "payers.yaml", SOUND)))
    assert {
        "payers.yaml",
        "programs.yaml",
        "policies/home-oxygen/2026-01-01.yaml",
        "policies/home-oxygen/cases.yaml",
        "policies/home-oxygen/questionnaires/oxygen-need.json",
        "policies/home-oxygen/questionnaires/libraries/OxygenNeed.json",
        "policies/_value_sets/non-covered-codes/2026-01-01.csv",
        "added/example-scan/2024-01-01.yaml",
        "added/manifest.yaml",
    } <= names
    assert not any(str(ROOT) in name or name.startswith("/") for name in names)


def append(path: Path) -> None:
    with path.open("a") as file:
        file.write("# another line\n")


@pytest.mark.parametrize(
    "change",
    [
        lambda library: append(library / "example-scan" / "2024-01-01.yaml"),
        lambda library: append(library / "example-scan" / "cases.yaml"),
        lambda library: append(library / "_notices" / "paper-form" / "2024-01-01.yaml"),
        lambda library: append(library / "manifest.yaml"),
        lambda library: append(library / "payers.yaml"),
        lambda library: (library / "example-scan").rename(library / "other-scan"),
        lambda library: (library / "example-scan" / "cases.yaml").unlink(),
        lambda library: (
            (library / "_value_sets" / "new").mkdir(parents=True)
            or (library / "_value_sets" / "new" / "2024-01-01.csv").write_text("system,code\n")
        ),
    ],
)
def test_each_change_of_a_file_that_is_read_gives_another_digest(
    tmp_path: Path, change: Callable[[Path], object]
) -> None:
    there = places(tmp_path)
    before = digest_on_disk(there)
    change(there.directory)
    assert digest_on_disk(there) != before


def test_line_endings_hidden_files_and_files_that_nobody_reads_do_not_count(
    tmp_path: Path,
) -> None:
    there = places(tmp_path)
    before = digest_on_disk(there)
    policy = there.directory / "example-scan" / "2024-01-01.yaml"
    policy.write_bytes(policy.read_bytes().replace(b"\n", b"\r\n"))
    (there.directory / ".git").mkdir()
    (there.directory / ".git" / "config.yaml").write_text("a: b\n")
    (there.directory / "example-scan" / ".2024-01-01.yaml.swp").write_text("half a line")
    (there.directory / "example-scan" / "notes.txt").write_text("to be discussed")
    (there.directory / "README.yaml").write_text("beside the folders nothing is read")
    assert digest_on_disk(there) == before


def test_a_link_that_leads_back_up_ends(tmp_path: Path) -> None:
    there = places(tmp_path)
    (there.directory / "example-scan" / "up").symlink_to(there.directory)
    assert digest_on_disk(there)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    gone = LibraryPlaces(SOUND, tmp_path / "payers.yaml")
    with pytest.raises(LibraryError, match=r"payers.yaml: error: .*cannot be read"):
        digest_on_disk(gone)
    nowhere = LibraryPlaces(tmp_path / "nowhere", PAYERS)
    with pytest.raises(LibraryError, match=r"nowhere: error: .*cannot be read"):
        digest_on_disk(nowhere)
