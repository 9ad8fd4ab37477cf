"""Documents are held against the tests: those they name exist, and no risk goes without one."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
DOCUMENT = (ROOT / "SECURITY.md").read_text("utf-8")
FORMS = (ROOT / "docs" / "forms.md").read_text("utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", DOCUMENT + FORMS)))
ROWS = [
    line
    for line in DOCUMENT.splitlines()
    if line.startswith("| ") and not line.startswith(("| risk |", "| attempt |"))
]


def functions_of(file: Path) -> set[str]:
    tree = ast.parse(file.read_text("utf-8"))
    return {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_test_that_is_named_exists(file: str, name: str) -> None:
    assert name in functions_of(ROOT / file)


RULES = [line for line in FORMS.splitlines() if line.startswith(("| SDC", "| DTR", "| CRD"))]


@pytest.mark.parametrize("row", RULES, ids=lambda row: row.split("|")[1].strip()[:50])
def test_every_rule_of_the_forms_has_a_test(row: str) -> None:
    assert re.search(r"`tests/[\w/]+\.py::test_\w+`", row)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip()[:50])
def test_every_risk_has_an_answer_and_a_test(row: str) -> None:
    _, risk, answer, tried, _ = row.split("|")
    assert risk.strip()
    assert answer.strip()
    assert re.search(r"`tests/[\w/]+\.py::test_\w+`", tried)


def test_the_six_risks_of_cds_hooks_are_all_there() -> None:
    assert re.findall(r"^\| (\d)\. ", DOCUMENT, flags=re.MULTILINE) == list("123456")


def test_every_file_that_is_linked_is_there() -> None:
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", DOCUMENT)
    assert targets
    assert [t for t in targets if not (ROOT / t).exists()] == []
