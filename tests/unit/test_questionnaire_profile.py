"""Lint of a policy's questionnaire: the base profile, each problem with line and repair."""

from __future__ import annotations

import json
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from service.errors import Finding, LibraryError
from service.policies.library import load_library
from service.policies.lint import lint_library
from service.policies.questionnaire_files import read_questionnaires
from tests.conftest import ROOT

FORM = "conservative-care"
HERE = f"lumbar-mri/questionnaires/{FORM}.json"
BASE: dict[str, Any] = {
    "resourceType": "Questionnaire",
    "id": FORM,
    "version": "1.0.0",
    "title": "Form",
    "status": "active",
    "date": "2026-01-01",
    "item": [{"linkId": "weeks-of-care", "text": "Weeks?", "type": "integer"}],
}
QUESTION = {"linkId": "more", "text": "More?", "type": "string"}


def with_item(**item: object) -> dict[str, Any]:
    """The form with one more item, of these elements."""
    return {**BASE, "item": [*BASE["item"], {**QUESTION, **item}]}


def linted(tmp_path: Path, form: dict[str, Any]) -> list[Finding]:
    """What lint finds in the form, where it stands in the example of a policy."""
    library = tmp_path / "policies"
    shutil.copytree(ROOT / "examples" / "policies", library)
    (library / HERE).write_text(json.dumps(form, indent=1), "utf-8")
    found = lint_library(library, None, date(2026, 6, 1))
    return [f for f in found if f.file == library / HERE]


WRONG = [
    ({**BASE, "status": "live"}, "status", "live is no such code"),
    ({**BASE, "purposes": "x"}, "purposes", "is no element of a Questionnaire"),
    ({**BASE, "subjectType": ["Patnt"]}, "subjectType[0]", "Patnt is no type of resource"),
    ({**BASE, "subjectType": "Patient"}, "subjectType", "is no list"),
    ({**BASE, "name": "my form"}, "name", "is no name for programs (que-0)"),
    ({**BASE, "approvalDate": "soon"}, "approvalDate", "date value string does not match"),
    ({**BASE, "publisher": None}, "publisher", "is null"),
    ({**BASE, "contact": []}, "contact", "is empty (ele-1)"),
    ({**BASE, "experimental": "true"}, "experimental", "'true' is neither true nor false"),
    ({**BASE, "text": {"status": "generated"}}, "text.div", "is missing"),
    ({**BASE, "extension": [{"url": "http://x"}]}, "extension[0]", "needs exactly one (ext-1)"),
    (
        {**BASE, "contained": [{"resourceType": "ValueSet", "id": "v", "status": "active"}]},
        "contained[0]",
        "nothing refers to it (dom-3)",
    ),
    (with_item(type="display", code=[{"code": "x"}]), "item[1]", "(que-3)"),
    (
        with_item(answerOption=[{"valueString": "a"}], answerValueSet="http://v"),
        "item[1]",
        "(que-4)",
    ),
    (with_item(type="boolean", answerOption=[{"valueString": "a"}]), "item[1]", "(que-5)"),
    (with_item(type="display", required=True), "item[1]", "(que-6)"),
    (
        with_item(enableWhen=[{"question": "weeks-of-care", "operator": "exists",
                               "answerInteger": 1}]),
        "item[1].enableWhen[0]",
        "(que-7)",
    ),
    (with_item(type="display", initial=[{"valueString": "a"}]), "item[1]", "(que-8)"),
    (with_item(type="display", readOnly=True), "item[1]", "(que-9)"),
    (with_item(type="date", maxLength=3), "item[1]", "(que-10)"),
    (
        with_item(answerOption=[{"valueString": "a"}], initial=[{"valueString": "a"}]),
        "item[1]",
        "(que-11)",
    ),
    (
        with_item(enableWhen=[{"question": "weeks-of-care", "operator": "=", "answerInteger": n}
                              for n in (1, 2)]),
        "item[1]",
        "(que-12)",
    ),
    (with_item(initial=[{"valueString": "a"}, {"valueString": "b"}]), "item[1]", "(que-13)"),
    (
        with_item(enableWhen=[{"question": "gone", "operator": "=", "answerInteger": 1}]),
        "item[1].enableWhen[0].question",
        "no item has the linkId gone",
    ),
    (
        with_item(enableWhen=[{"question": "weeks-of-care", "operator": "~", "answerInteger": 1}]),
        "item[1].enableWhen[0].operator",
        "~ is no such code",
    ),
    (
        with_item(enableWhen=[{"question": "weeks-of-care", "operator": "="}]),
        "item[1].enableWhen[0]",
        "expect any of field value",
    ),
    (with_item(enableBehavior="some"), "item[1].enableBehavior", "some is no such code"),
    (with_item(answerOption=[{}]), "item[1].answerOption[0]", "is empty (ele-1)"),
    (with_item(maxLength="9"), "item[1].maxLength", "'9' is no number"),
]  # fmt: skip


@pytest.mark.parametrize(("form", "field", "problem"), WRONG, ids=[w[2] for w in WRONG])
def test_what_breaks_the_base_profile_is_named_with_its_place(
    tmp_path: Path, form: dict[str, Any], field: str, problem: str
) -> None:
    found = linted(tmp_path, form)
    first, _, last = problem.partition(" (")
    matching = [f for f in found if f.field == field and first in f.problem and last in f.problem]
    assert matching, [str(f) for f in found]
    assert matching[0].line, "the line is told"
    assert matching[0].repair


@pytest.mark.parametrize(
    "form",
    [
        BASE,
        with_item(type="group", item=[{"linkId": "inner", "text": "?", "type": "boolean"}]),
        with_item(type="choice", answerOption=[{"valueString": "a", "initialSelected": True}]),
        with_item(
            enableBehavior="any",
            enableWhen=[
                {"question": "weeks-of-care", "operator": "exists", "answerBoolean": True},
                {"question": "weeks-of-care", "operator": ">", "answerInteger": 2},
            ],
        ),
        with_item(repeats=True, initial=[{"valueString": "a"}, {"valueString": "b"}]),
        {
            **with_item(type="choice", answerValueSet="#v"),
            "name": "ConservativeCare",
            "subjectType": ["Patient"],
            "contained": [{"resourceType": "ValueSet", "id": "v", "status": "active"}],
            "extension": [{"url": "http://x", "valueBoolean": True}],
        },
    ],
)
def test_a_sound_form_passes(tmp_path: Path, form: dict[str, Any]) -> None:
    assert linted(tmp_path, form) == []


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ('{\n "id": "form",\n "id"\n}', 4, "is not JSON: expecting ':' delimiter"),
        (json.dumps({**BASE, "id": "form", "item": 3}), 1, "is no list"),
        (json.dumps({**BASE, "id": "form", "title": 3}), 1, "is no text"),
        (json.dumps({**BASE, "id": "form", "date": "May"}), 1, "May is no day"),
        (json.dumps({**BASE, "id": "form", "item": ["a"]}), 1, "is no item"),
    ],
)
def test_what_the_service_cannot_serve_stops_a_start(
    tmp_path: Path, text: str, line: int, problem: str
) -> None:
    (tmp_path / "questionnaires").mkdir()
    (tmp_path / "questionnaires" / "form.json").write_text(text, "utf-8")
    found: list[Finding] = []
    assert read_questionnaires(tmp_path, found) == {}
    assert [(f.line, f.problem) for f in found] == [(line, problem)]


def test_one_id_is_the_form_of_one_policy(tmp_path: Path) -> None:
    """Forms are found by their id: of two that share one, the wrong one could be filled in."""
    library = tmp_path / "policies"
    shutil.copytree(ROOT / "examples" / "policies", library)
    other = library / "home-oxygen" / "questionnaires" / f"{FORM}.json"
    shutil.copy(library / HERE, other)
    with pytest.raises(LibraryError, match=f"{FORM} is also a form of home-oxygen"):
        load_library(library, library / "payers.yaml")
    added = tmp_path / "added"
    other.unlink()
    shutil.copytree(library / "lumbar-mri", added / "other-mri")
    version = added / "other-mri" / "2026-01-01.yaml"
    version.write_text(version.read_text("utf-8").replace("id: lumbar-mri", "id: other-mri", 1))
    shutil.copytree(library / "_value_sets", added / "_value_sets")
    with pytest.raises(LibraryError, match=f"{FORM} is also a form of lumbar-mri"):
        load_library(library, library / "payers.yaml", added)
