"""Value sets on file: YAML, CSV and FHIR, each dated by its name."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from service.decision.order import Code
from service.errors import Finding
from service.fhir.systems import CPT, HCPCS, ICD_10_CM
from service.policies.folder import read_folder
from service.policies.lint.left_open import nothing_is_left_to_fill_in
from service.policies.questionnaire_files import read_questionnaires
from service.policies.value_set_files import VALUE_SETS, NamedSet, read_value_sets

DAY = date(2026, 6, 15)


def read(folder: Path, name: str, text: str, id: str = "some") -> tuple[NamedSet | None, list[str]]:
    """The value set, and what was found wrong as "line: problem"."""
    (folder / VALUE_SETS / id).mkdir(parents=True, exist_ok=True)
    (folder / VALUE_SETS / id / name).write_text(text, "utf-8")
    found: list[Finding] = []
    sets = read_value_sets(folder, found)
    return sets.get(id), [f"{f.line}: {f.problem}" for f in found]


def test_yaml_has_codes_prefixes_ranges_and_days(tmp_path: Path) -> None:
    text = """
id: some
title: Some diagnoses
codes: ["icd10|M5450", "icd10|C00-C97", {code: "icd10|J44*", last: "2026-03-31"}]
"""
    named, found = read(tmp_path, "2026-01-01.yaml", text)
    assert (found, named and named.codes.title) == ([], "Some diagnoses")
    assert named is not None
    holds = named.codes.holds
    assert holds(Code(ICD_10_CM, "M54.50"), DAY)
    assert holds(Code(ICD_10_CM, "C50.9"), DAY)
    assert holds(Code(ICD_10_CM, "J44.9"), date(2026, 3, 31))
    assert not holds(Code(ICD_10_CM, "J44.9"), DAY)
    assert not holds(Code(ICD_10_CM, "M54.50"), date(2025, 12, 31))


def test_csv_has_a_code_a_line_with_its_days_and_name(tmp_path: Path) -> None:
    text = "system,code,first,last,name\nhcpcs,X0001,2026-02-01,2026-06-30,Thing\nhcpcs,X0002,,,\n"
    named, found = read(tmp_path, "2026-01-01.csv", text)
    assert found == []
    assert named is not None
    assert named.names == {Code(HCPCS, "X0001"): "Thing"}
    assert not named.codes.holds(Code(HCPCS, "X0001"), date(2026, 7, 1))
    assert named.codes.holds(Code(HCPCS, "X0002"), date(2026, 7, 1))


def test_a_fhir_value_set_is_read_by_its_expansion(tmp_path: Path) -> None:
    contains = [
        {"system": ICD_10_CM, "abstract": True, "contains": [{"system": ICD_10_CM, "code": "J449"}]}
    ]
    value_set = {"resourceType": "ValueSet", "title": "T", "expansion": {"contains": contains}}
    named, found = read(tmp_path, "2026-01-01.json", json.dumps(value_set))
    assert found == []
    assert named is not None
    assert named.codes.holds(Code(ICD_10_CM, "J44.9"), DAY)


def test_the_next_file_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    read(tmp_path, "2026-01-01.csv", "system,code\nhcpcs,X0001\n")
    named, _ = read(tmp_path, "2026-07-01.csv", "system,code\nhcpcs,X0002\n")
    assert named is not None
    held = {
        day: [c for c in ("X0001", "X0002") if named.codes.holds(Code(HCPCS, c), day)]
        for day in (date(2026, 6, 30), date(2026, 7, 1))
    }
    assert list(held.values()) == [["X0001"], ["X0002"]]


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("2026-01-01.csv", "system,code\n", "None: the value set is empty"),
        ("2026-01-01.csv", "code\nX0001\n", "1: the first line does not name the columns system"),
        ("2026-01-01.csv", "system,code\nhcpx,X0001\n", "2: the code system 'hcpx' is not known"),
        ("2026-01-01.csv", "system,code,first\nhcpcs,X0001,soon\n", "2: there is no day 'soon'"),
        ("2026-01-01.csv", "system,code\nhcpcs,X1,2026,\n", "2: the line has more than 2 cells"),
        ("2026-01-01.csv", "system,code,until\nhcpcs,X0001,\n", "1: there is no column 'until'"),
        ("2026-01-01.csv", 'system,code\nhcpcs,"X0001\n', "2: unexpected end of data"),
        ("soon.csv", "system,code\nhcpcs,X0001\n", "None: soon is no day"),
        ("2026-01-01.json", "{", "1: is not JSON"),
        ("2026-01-01.json", '{"resourceType": "ValueSet"}', "None: has no expansion.contains"),
        (
            "2026-01-01.csv",
            "system,code,last\nhcpcs,X0001,2025-12-31\n",
            "None: the value set is empty: no code belongs",
        ),
        (
            "2026-01-01.json",
            '{"resourceType": "ValueSet", "expansion": {"total": 2, "contains": '
            '[{"system": "http://snomed.info/sct", "code": "1"}]}}',
            "None: its expansion has 1 codes of 2: it is a part",
        ),
        (
            "2026-01-01.yaml",
            'id: some\ntitle: T\ncodes: ["icd10|C97-C00"]\n',
            "3: the range C97-C00 ends before it begins",
        ),
        ("2026-01-01.yaml", 'id: other\ntitle: T\ncodes: ["icd10|C00"]\n', "1: other lies in"),
    ],
)
def test_what_does_not_fit_is_named_with_its_line(
    tmp_path: Path, name: str, text: str, problem: str
) -> None:
    named, found = read(tmp_path, name, text)
    assert named is None
    assert [f[: len(problem)] for f in found] == [problem]


def test_a_csv_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    place = tmp_path / VALUE_SETS / "some"
    place.mkdir(parents=True)
    (place / "2026-01-01.csv").write_bytes(b"system,code,name\nhcpcs,X0001,Caf\xe9\n")
    found: list[Finding] = []
    assert read_value_sets(tmp_path, found) == {}
    assert [f.problem for f in found] == ["is not UTF-8"]


def test_a_code_is_the_one_that_orders_have_in_whichever_spelling(tmp_path: Path) -> None:
    """As an order's own code is read: CPT under HCPCS is CPT, in any spelling of the system."""
    text = "system,code\nhcpcs,82270\nHTTP://www.ama-assn.org/go/cpt/,72148\nicd10,m5450\n"
    named, found = read(tmp_path, "2026-01-01.csv", text)
    assert (found, named is None) == ([], False)
    assert named is not None
    held = [e.what for e in named.lines]
    assert held == [Code(CPT, "82270"), Code(CPT, "72148"), Code(ICD_10_CM, "M54.50")]


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("2026-01-01.yaml", 'id: some\ntitle: T\ncodes: ["icd10|XXXXX"]\n', 3),
        ("2026-01-01.yaml", 'id: some\ntitle: FILL IN\ncodes: ["icd10|C00"]\n', 2),
        ("2026-01-01.csv", "system,code\nicd10,C00\nicd10,XXXXX\n", 3),
        (
            "2026-01-01.json",
            '{"resourceType": "ValueSet", "title": "T", "expansion": {"contains": [\n'
            '{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "XXXXX"}]}}',
            2,
        ),
    ],
)
def test_what_is_still_to_be_filled_in_is_found_in_every_kind(
    tmp_path: Path, name: str, text: str, line: int
) -> None:
    read(tmp_path, name, text)
    (found,) = nothing_is_left_to_fill_in(read_folder(tmp_path, checks=False))
    assert (found.file.name, found.line) == (name, line)
    assert "still to be filled in" in found.problem


def test_a_mark_in_a_comment_is_no_value(tmp_path: Path) -> None:
    read(tmp_path, "2026-01-01.yaml", 'id: some\ntitle: T\ncodes: ["icd10|C00"]  # XXXXX\n')
    assert not list(nothing_is_left_to_fill_in(read_folder(tmp_path, checks=False)))


QUESTIONNAIRE = {
    "resourceType": "Questionnaire",
    "id": "form",
    "version": "1.0.0",
    "title": "Form",
    "status": "active",
    "date": "2026-01-01",
    "item": [{"linkId": "a", "text": "A?", "type": "boolean"}],
}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"id": "other"}, "other lies in form.json"),
        ({"version": ""}, "is missing"),
        ({"url": "http://x"}, "is written here"),
        ({"item": [{"linkId": "a", "text": "A", "type": "group"}]}, "is a group without items"),
        ({"item": [{"linkId": "a", "text": "A", "type": "yesno"}]}, "yesno is no type of item"),
        (
            {"item": [{"linkId": "a", "text": "A", "type": "date"}] * 2},
            "a stands twice (que-2)",
        ),
        ({"resourceType": "Patient"}, "is no Questionnaire"),
    ],
)
def test_a_questionnaire_that_breaks_the_base_profile_is_refused(
    tmp_path: Path, change: dict[str, object], problem: str
) -> None:
    folder = tmp_path / "questionnaires"
    folder.mkdir()
    (folder / "form.json").write_text(json.dumps({**QUESTIONNAIRE, **change}), "utf-8")
    found: list[Finding] = []
    assert read_questionnaires(tmp_path, found) == {}
    assert [f.problem[: len(problem)] for f in found] == [problem]


def test_a_sound_questionnaire_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "questionnaires"
    folder.mkdir()
    (folder / "form.json").write_text(json.dumps(QUESTIONNAIRE), "utf-8")
    found: list[Finding] = []
    (form,) = read_questionnaires(tmp_path, found).values()
    assert (found, list(form.link_ids())) == ([], ["a"])
