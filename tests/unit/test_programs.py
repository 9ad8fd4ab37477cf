from pathlib import Path

import pytest

from service.decision.order import Code
from service.decision.policy import Program
from service.decision.programs import SOURCE_OF_PAYMENT, Pays, ProgramFinding
from service.errors import LibraryError
from service.fhir.coverages import read_coverage
from service.fhir.document import Document, Resource
from service.fhir.resources import Resources
from service.policies.payers import Payers
from service.policies.program_table import load_programs

ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
TABLE = load_programs()


def find(
    *types: str, line_of_business: str = "not_told", **payer: tuple[str, ...]
) -> ProgramFinding:
    codes = [Code(SOURCE_OF_PAYMENT, t) for t in types]
    return TABLE.find(codes, line_of_business, payer.get("named", ()), "p")


@pytest.mark.parametrize(
    "code", ["11", "111", "1111", "1112", "112", "113", "119", "123", "141", "142"]
)
def test_medicare_advantage_is_told_by_its_types_of_payment(code: str) -> None:
    found = find(code)
    assert (found.program, found.source) == (Program.MEDICARE_ADVANTAGE, "Coverage.type")


@pytest.mark.parametrize("code", ["12", "121"])
def test_original_medicare_is_told_by_its_types_of_payment(code: str) -> None:
    assert find(code).program is Program.ORIGINAL_MEDICARE


@pytest.mark.parametrize("code", ["1", "13", "14", "19", "129"])
def test_an_ambiguous_type_of_payment_leaves_it_to_the_line_of_business(code: str) -> None:
    found = find(code, line_of_business="medicare_advantage")
    assert (found.program, found.source) == (Program.MEDICARE_ADVANTAGE, "line of business")
    assert find(code).program is Program.UNKNOWN


@pytest.mark.parametrize(
    ("code", "entry"),
    [
        ("122", "medicare_drugs"),
        ("191", "medicare_drugs"),
        ("291", "drugs"),
        ("2", "medicaid"),
        ("21", "medicaid"),
        ("32", "other_government"),
        ("3123", "medicare_supplement"),
        ("512", "commercial"),
        ("523", "medicare_supplement"),
        ("81", "self_pay"),
        ("823", "clinical_study"),
        ("84", "no_payer"),
    ],
)
def test_what_is_not_medicare_is_told_by_its_types_of_payment(code: str, entry: str) -> None:
    found = find(code)
    assert found.program is Program.NOT_MEDICARE
    assert found.entry is not None
    assert found.entry.id == entry


@pytest.mark.parametrize("code", ["7", "71", "99", "9999"])
def test_a_type_that_tells_nothing_contradicts_nothing(code: str) -> None:
    assert find(code).program is Program.UNKNOWN
    found = find(code, line_of_business="commercial")
    assert (found.program, found.contradictory) == (Program.NOT_MEDICARE, False)


@pytest.mark.parametrize("line_of_business", ["pace", "medicare_cost", "commercial", "medicaid"])
def test_a_type_of_medicare_advantage_contradicts_a_payer_of_another_program(
    line_of_business: str,
) -> None:
    assert find("111", line_of_business=line_of_business).contradictory
    named = ("medicare_advantage",)
    assert not find("111", line_of_business=line_of_business, named=named).contradictory


def test_a_drug_plan_pays_for_drugs_and_medicaid_for_what_is_left() -> None:
    assert [find(code).pays for code in ("122", "21", "111")] == [*reversed(Pays)]


@pytest.mark.parametrize("code", ["MCPOL", "PUBLICPOL", "EHCPOL"])
def test_act_codes_cannot_tell_the_programs_apart(code: str) -> None:
    assert TABLE.find([Code(ACT_CODE, code)]).program is Program.UNKNOWN


@pytest.mark.parametrize("code", ["121", "512"])
def test_a_type_of_another_program_than_the_payer_has_contradicts_it(code: str) -> None:
    found = find(code, line_of_business="medicare_advantage")
    assert found.contradictory
    assert found.program is Program.UNKNOWN


def test_a_payer_that_names_both_programs_is_believed_the_type() -> None:
    both = ("medicare_advantage", "original_medicare")
    found = find("121", line_of_business="medicare_advantage", named=both)
    assert (found.program, found.contradictory) == (Program.ORIGINAL_MEDICARE, False)


def test_types_of_both_programs_contradict_each_other_and_tell_nothing() -> None:
    found = find("111", "121", line_of_business="medicare_advantage")
    assert found.contradictory
    assert found.program is Program.UNKNOWN


def test_a_program_without_a_type_is_told_by_its_payers_entry() -> None:
    found = find(line_of_business="pace")
    assert found.program is Program.NOT_MEDICARE
    assert found.entry is not None
    assert found.entry.name == "PACE"


def test_without_a_type_and_a_line_of_business_nothing_is_told() -> None:
    assert find().program is Program.UNKNOWN


def test_a_type_that_stands_for_two_programs_is_an_error_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "programs.yaml"
    file.write_text(
        "programs:\n"
        '  - {id: one, name: One, words_for: not_told, types: ["1"]}\n'
        '  - {id: two, name: Two, words_for: not_told, types: ["1"]}\n',
        "utf-8",
    )
    with pytest.raises(LibraryError) as error:
        load_programs(file)
    (found,) = error.value.findings
    assert (found.line, found.field) == (3, "programs[1].types[0]")


BY_CONDITION = """
programs:
  - id: medicare_advantage
    name: Medicare Advantage
    words_for: medicare_advantage
    types: ["111"]
  - id: pace
    name: PACE
    words_for: not_medicare
    when: {any: [{fact: coverage.plan, in: [PACE-1, PACE-2]}, {fact: coverage.group, is: ELDERS}]}
  - id: staff
    name: Staff plan
    words_for: not_medicare
    when: {all: [{fact: coverage.group, is: STAFF}, {fact: coverage.type, in: ["sopt|5*"]}]}
"""


def by_condition(folder: Path, types: str, **classes: str) -> ProgramFinding:
    """The program that a coverage with these classes is found to be of."""
    file = folder / "programs.yaml"
    file.write_text(BY_CONDITION, "utf-8")
    told: dict[str, object] = {
        "resourceType": "Coverage",
        "id": "c",
        "type": {"coding": [{"system": SOURCE_OF_PAYMENT, "code": types}]},
        "class": [{"type": {"coding": [{"code": k}]}, "value": v} for k, v in classes.items()],
    }
    payers = Payers("Plan", [], load_programs(file))
    resource = Resource(told, Document(b"{}", told), ("prefetch", "coverage"))
    return read_coverage(resource, Resources(), payers).program


def test_a_condition_over_the_coverage_tells_the_program_before_its_type(tmp_path: Path) -> None:
    found = by_condition(tmp_path, "111", plan="PACE-1")
    assert (found.entry and found.entry.id, found.source) == ("pace", "Coverage")
    assert found.evidence == "the plan is among PACE-1 or PACE-2: PACE"
    staff = by_condition(tmp_path, "512", group="STAFF")
    assert (staff.entry and staff.entry.id) == "staff"


def test_what_does_not_certainly_hold_leaves_it_to_the_type(tmp_path: Path) -> None:
    for classes in ({}, {"plan": "GOLD"}, {"group": "STAFF"}):
        found = by_condition(tmp_path, "111", **classes)
        assert (found.program, found.source) == (Program.MEDICARE_ADVANTAGE, "Coverage.type")


def test_two_programs_by_their_conditions_contradict_each_other(tmp_path: Path) -> None:
    found = by_condition(tmp_path, "512", plan="PACE-1", group="STAFF")
    assert (found.program, found.contradictory) == (Program.UNKNOWN, True)


@pytest.mark.parametrize(
    ("when", "field", "says"),
    [
        ("{fact: patient.age, below: 65}", "when.fact", "is not told by a coverage alone"),
        ("{fact: coverage.plna, is: X}", "when.fact", "there is no fact coverage.plna"),
        ("{not: {fact: coverage.plan, below: 3}}", "when.not.below", "cannot be asked of"),
    ],
)
def test_a_condition_that_would_never_hold_is_named(
    tmp_path: Path, when: str, field: str, says: str
) -> None:
    file = tmp_path / "programs.yaml"
    start = BY_CONDITION.index("when: {any")
    end = BY_CONDITION.index("\n", start)
    file.write_text(BY_CONDITION[:start] + f"when: {when}" + BY_CONDITION[end:], "utf-8")
    with pytest.raises(LibraryError) as error:
        load_programs(file)
    (found,) = error.value.findings
    assert (found.field, found.line) == (f"programs[1].{field}", 10)
    assert says in found.problem
