"""Value sets and forms as people save them: what is wrong is told with its line, and none is a
traceback.
"""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path

import pytest

from service.errors import Finding, LibraryError
from service.policies.library import load_library
from service.policies.lint import lint_library
from tests.conftest import ROOT

EXAMPLES = ROOT / "examples" / "policies"
MINE = "_value_sets/mine/2026-01-01"
FORM = "lumbar-mri/questionnaires/conservative-care.json"
COLUMNS = "system,code,first,last\n"
A00 = "'icd10|A00'"
LATE = "2026-02-01"
HEAD = "id: mine\ntitle: M\ncodes:\n"
DEEP = "[" * 5000 + "]" * 5000
DEEPER_THAN_IS_READ = "[" * 250 + "]" * 250
"""Every Python reads it."""


@pytest.fixture
def library(tmp_path: Path) -> Path:
    shutil.copytree(EXAMPLES, tmp_path / "policies")
    return tmp_path / "policies"


def found(library: Path, name: str, content: str | bytes) -> list[Finding]:
    """The findings of lint on a file with this content."""
    path = library / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    findings = lint_library(library, library / "payers.yaml", date(2026, 6, 1))
    return [f for f in findings if f.file == path]


def expanded(contains: str) -> str:
    return f'{{"resourceType": "ValueSet", "expansion": {{"contains": {contains}}}}}'


@pytest.mark.parametrize(
    ("name", "content", "line", "says"),
    [
        (f"{MINE}.csv", "system;code\nicd10;A00\n", 1, "begin with: system,code"),
        (f"{MINE}.csv", "system,code\nicd9,A00\n", 2, "cpt, hcpcs, icd10, snomed"),
        (f"{MINE}.csv", "system,code\ncpt,609T\n", 2, "takes zeros in front away"),
        (f"{MINE}.csv", "system,code\nhcpcs,E431\n", 2, "takes zeros in front away"),
        (f"{MINE}.csv", b"system,code\nicd10,A0\x000\n", 2, "a character that cannot be seen"),
        (f"{MINE}.csv", "system,code\nicd10,C00*-C97*\n", 2, "neither a prefix nor a range"),
        (
            *(f"{MINE}.csv", f"{COLUMNS}icd10,A00,,\nicd10,A01,2026-05-01,2026-02-01\n"),
            *(3, "ends on 2026-02-01, before it begins"),
        ),
        (f"{MINE}.csv", "system,code\nicd10,A00\n".encode("utf-16"), None, "save it as UTF-8"),
        (
            *(f"{MINE}.yaml", f"{HEAD}  - code: icd10|A00\n"),
            *(None, ""),
        ),
        (
            *(f"{MINE}.yaml", f"{HEAD}  - {{code: {A00}, first: '{LATE}', last: '2026-01-01'}}"),
            *(4, "before it begins"),
        ),
        (f"{MINE}.json", expanded('[{"system": "icd10", "contains": 5}]'), None, "no list"),
        (f"{MINE}.json", expanded('[{"system": 5, "code": 7}]'), None, "expand it with systems"),
        (f"{MINE}.json", expanded('["x"]'), None, "what is no mapping"),
        (f"{MINE}.json", DEEP, None, "nested too deeply"),
        (FORM, DEEP, None, "nested too deeply"),
        (FORM, DEEPER_THAN_IS_READ, None, "nested too deeply"),
        (f"{MINE}.json", DEEPER_THAN_IS_READ, None, "nested too deeply"),
        (FORM, b"\xff", None, "save it as UTF-8"),
        ("home-oxygen/questionnaires/libraries/x.json", DEEP, None, "nested too deeply"),
        ("home-oxygen/questionnaires/libraries/x.json", b"\xff", None, "save it as UTF-8"),
        ("lumbar-mri/2026-01-01.yaml", f"a: {DEEP}", None, "nested too deeply"),
        ("_value_sets/loose.csv", "system,code\nicd10,A00\n", None, "a folder of its own"),
        ("_value_sets/red-flags/2026-07-01.xlsx", b"PK", None, "save it as .yaml, .csv, .json"),
    ],
)  # fmt: skip
def test_a_slip_is_told_with_its_line_and_a_repair(
    library: Path, name: str, content: str | bytes, line: int | None, says: str
) -> None:
    findings = found(library, name, content)
    if not says:
        assert findings == []
        return
    (finding,) = findings
    assert says in str(finding)
    assert finding.line == line
    assert finding.repair


def test_what_cannot_be_read_stops_the_start_with_the_same_words(library: Path) -> None:
    (finding,) = found(library, f"{MINE}.json", DEEP)
    with pytest.raises(LibraryError) as error:
        load_library(library, library / "payers.yaml")
    assert finding in error.value.findings


def test_a_name_that_is_no_text_is_no_name(library: Path) -> None:
    content = expanded('[{"system": "http://loinc.org", "code": "1-8", "display": 7}]')
    assert found(library, f"{MINE}.json", content) == []
    loaded = load_library(library, library / "payers.yaml")
    assert loaded.value_sets["mine"].names == {}


def test_modifiers_have_two_characters(library: Path) -> None:
    assert found(library, f"{MINE}.csv", "system,code\nhcpcs,GA\ncpt,26\n") == []


def test_what_only_lies_beside_value_sets_is_left_alone(library: Path) -> None:
    assert found(library, "_value_sets/README.md", "Where they are from.\n") == []
