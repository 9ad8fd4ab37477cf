"""Strict YAML: what is refused, and what the message says to the person who wrote it."""

from pathlib import Path

import pytest

from service.errors import LibraryError
from service.policies import files


def refused(tmp_path: Path, text: str) -> str:
    """The message about a payers file with this text."""
    path = tmp_path / "payers.yaml"
    path.write_bytes(text.encode())
    with pytest.raises(LibraryError) as error:
        files.load(path, "payers")
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
        ("operator: 2023-13-45\n", "mend the value, or quote it"),
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
    assert files.parse(path).data == {"on": "yes"}


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes("operator: Müller\n".encode("latin-1"))
    with pytest.raises(LibraryError, match="save it as UTF-8"):
        files.parse(path)
