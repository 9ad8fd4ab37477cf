"""Strict YAML: what is refused, and what the message says to the person who wrote it."""

from pathlib import Path

import pytest

from service.errors import LibraryError
from service.policies import files
from service.policies.cases import CasesFile
from service.policies.notices import Notice
from service.policies.payers import PayersFile
from service.policies.policy_file import PolicyFile
from tests.policies import SOUND


def refused(tmp_path: Path, text: str) -> str:
    """The message about a payers file with this text."""
    path = tmp_path / "payers.yaml"
    path.write_bytes(text.encode())
    with pytest.raises(LibraryError) as error:
        files.load(path, PayersFile)
    return str(error.value).replace(str(path), "payers.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "payers.yaml: error: (file): expected a mapping"),
        ("- a\n", "payers.yaml:1: error: (file): expected a mapping"),
        ("operator: [a\n", "payers.yaml:2: error: (file): is not YAML"),
        (
            "operator: a\noperator: b\n",
            'payers.yaml:2: error: (file): found duplicate key "operator"',
        ),
        ("operator: a\n---\npayers: []\n", "payers.yaml:2: error: (file): is not YAML"),
        ("operator: !!python/object:os.system a\n", "payers.yaml:1: error: (file): is not YAML"),
        ("operator: 2023-13-45\n", "fix the value, or quote it"),
        ("operator: 0123\npayers: []\n", "payers.yaml:1: error: operator: 0123 is not quoted"),
        ("operator: 0123\npayers: []\n", "payers.yaml:2: error: payers: the list is empty"),
        ("operator: true\n", 'quote it: "true"'),
        ("operator: '  '\n", "payers.yaml:1: error: operator: '  ' does not fit — write some text"),
        ("1: a\n", "payers.yaml:1: error: 1: unknown field"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_place_and_repair(
    tmp_path: Path, text: str, message: str
) -> None:
    assert message in refused(tmp_path, text)


def test_yes_and_on_are_words_in_yaml_1_2(tmp_path: Path) -> None:
    path = tmp_path / "words.yaml"
    path.write_text("on: yes\n", "utf-8")
    assert files.parse(path) == {"on": "yes"}


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes("operator: Müller\n".encode("latin-1"))
    with pytest.raises(LibraryError, match="save it as UTF-8"):
        files.parse(path)


def test_a_notice_is_read_under_the_names_that_its_fields_had_before(tmp_path: Path) -> None:
    edition = SOUND / "_notices" / "paper-form" / "2024-01-01.yaml"
    text = edition.read_text("utf-8")
    older = tmp_path / "2024-01-01.yaml"
    older.write_text(
        text.replace("programs:", "programmes:").replace("program_label:", "programme_label:"),
        "utf-8",
    )
    assert files.load(older, Notice).data == files.load(edition, Notice).data


def test_cases_are_read_under_the_names_that_their_fields_had_before(tmp_path: Path) -> None:
    cases = SOUND / "example-scan" / "cases.yaml"
    text = cases.read_text("utf-8")
    older = tmp_path / "cases.yaml"
    older.write_text(
        text.replace("undetermined:", "gap:").replace("program:", "programme:"), "utf-8"
    )
    assert "gap:" in older.read_text("utf-8")
    assert files.load(older, CasesFile).data == files.load(cases, CasesFile).data


def test_a_field_under_both_its_names_is_refused(tmp_path: Path) -> None:
    edition = (SOUND / "_notices" / "paper-form" / "2024-01-01.yaml").read_text("utf-8")
    both = tmp_path / "2024-01-01.yaml"
    both.write_text(edition + "programmes: [medicare_advantage]\n", "utf-8")
    with pytest.raises(LibraryError, match="programmes: unknown field"):
        files.load(both, Notice)


def wrong_in_a_policy(tmp_path: Path, was: str, now: str) -> str:
    """The message about the sound policy with one part of it replaced."""
    text = (SOUND / "example-scan" / "2024-01-01.yaml").read_text("utf-8")
    path = tmp_path / "2024-01-01.yaml"
    path.write_text(text.replace(was, now, 1), "utf-8")
    with pytest.raises(LibraryError) as error:
        files.load(path, PolicyFile)
    return str(error.value).replace(str(path), "policy.yaml")


@pytest.mark.parametrize(
    ("was", "now", "message"),
    [
        (
            'effective: {start: "2024-01-01"}',
            'effective: {start: "2024-01-01", end: }',
            'effective.end: expected text, found nothing — write a day as "YYYY-MM-DD"',
        ),
        ("[plan-1]", "plan-1", "expected a list, found str 'plan-1' — write a list"),
        ("[plan-1]", "[plan-1, plan-1]", "names something twice — leave one of the two"),
        ("level: ncd", "level: nc", "'nc' is not known here — use one of ncd, lcd, other_lcd"),
        ("id: plan-1", "id: Plan 1", "'Plan 1' does not fit — write an id in lower-case"),
        (
            "text: Evidence is lacking.",
            'text: "Not shown for {services}."',
            "nothing fills in {services} — leave it out: nothing is filled in here",
        ),
    ],
)
def test_a_policy_that_is_wrong_is_refused_with_field_and_repair(
    tmp_path: Path, was: str, now: str, message: str
) -> None:
    assert message in wrong_in_a_policy(tmp_path, was, now)
