"""Each program and each situation that a Medicare compliance officer asks about is a case.

A row is a line of one of the two tables, with the program of its column; its cases are named by
their sentences, so that a case that is taken out or reworded is missed here.
"""

from collections.abc import Mapping

import pytest

from service.decision.determination import Caveat, UndeterminedReason
from service.decision.policy import Program
from service.policies.cases import Case, load_cases
from service.policies.library import load_notices
from service.policies.program_table import load_programs
from tests.policies import LIBRARY

MA, OM = Program.MEDICARE_ADVANTAGE, Program.ORIGINAL_MEDICARE
NOT_MEDICARE, NOT_TOLD = Program.NOT_MEDICARE, Program.UNKNOWN
OD, ABN = "organization-determination", "abn"

CASES: Mapping[str, Case] = {c.it: c for c in load_cases(LIBRARY / "mr-spectroscopy")}

NO_NOTICE: tuple[str, ...] = ()

PROGRAM_ROWS: Mapping[str, tuple[tuple[str, ...], Program | None, tuple[str, ...] | None]] = {
    "Medicare Advantage, by type": (
        (
            "MR spectroscopy is not covered for a Medicare Advantage member",
            "A medical savings account is a Medicare Advantage plan",
            "A special needs plan for people with Medicaid is a Medicare Advantage plan",
            "So is one for people with a chronic condition",
            "So is an integrated one",
        ),
        MA,
        (OD,),
    ),
    "Medicare Advantage, by the payer's line of business": (
        ("A type that only says Medicare leaves the program to the payer's line of business",),
        MA,
        None,
    ),
    "Original Medicare, and the payer's entry speaks of it": (
        ("Under Original Medicare the answer is conditional and an ABN is suggested",),
        OM,
        (ABN,),
    ),
    "Original Medicare, and the payer's entry does not": (
        (
            "Where the payer's entry does not speak of Original Medicare, its policy does not "
            "decide for it",
        ),
        OM,
        NO_NOTICE,
    ),
    "not Medicare": (
        (
            "Under commercial insurance this policy does not decide and no Medicare notice is "
            "given",
            "Nor under Medicaid",
            "Nor where the patient pays",
            "Nor under another government program",
            "Nor under a Medicare plan for drugs only",
            "Nor under Medicare's pharmacy benefit manager",
            "Nor where a clinical study pays",
            "Nor for a PACE organization, which its payer's entry names",
            "Nor for a Medicare cost plan, which its payer's entry names",
        ),
        NOT_MEDICARE,
        NO_NOTICE,
    ),
    "type and line of business contradict each other": (
        (
            "A type of Original Medicare at a Medicare Advantage payer is a contradiction to be "
            "verified",
            "So is a type of Medicare Advantage at a PACE organization",
            "And at a Medicare cost plan",
            "So is a type of commercial insurance there",
            "So are types of both programs at once",
        ),
        NOT_TOLD,
        NO_NOTICE,
    ),
    "Medicare, which kind is unknown": (
        (
            "Without a program it is not covered under this plan's policy and both notices are "
            "offered",
            "A type that only says Medicare and a silent payer tell no program",
        ),
        NOT_TOLD,
        (OD, ABN),
    ),
    "no coverage in the call": (
        ("Without a coverage the plan's policy is still told, for a program that is not told",),
        NOT_TOLD,
        (OD, ABN),
    ),
    "several active coverages, one to be asked first": (
        (
            "Of several coverages the one that pays first is asked",
            "A plan for drugs is not asked about a service, whatever its order",
            "The medical coverage is asked before one that supplements it",
            "A coverage of another payer does not make several",
        ),
        MA,
        (OD,),
    ),
    "several active coverages, Medicare and its supplement": (
        ("Medicare is asked before the policy that supplements it",),
        OM,
        (ABN,),
    ),
    "several active coverages that nothing puts in order": (
        ("Of several coverages that nothing puts in order none is picked",),
        NOT_TOLD,
        (OD, ABN),
    ),
    "ended, future or cancelled": (
        (
            "A coverage that has ended is to be verified, and no notice is given",
            "So is one that is still to begin",
            "So is one that is cancelled",
        ),
        NOT_TOLD,
        NO_NOTICE,
    ),
    "another patient's": (
        ("Another patient's coverage is to be verified, and no notice is given",),
        NOT_TOLD,
        NO_NOTICE,
    ),
}
"""By row: its cases, the program that they come to, and the notices that are given."""

SITUATION_ROWS: Mapping[tuple[str, Program], tuple[str, tuple[str, ...]]] = {
    ("past-day", OM): ("After the day of service no ABN is given", NO_NOTICE),
    ("past-day", MA): ("After the day of service the plan is not asked any more", NO_NOTICE),
    ("emergency", OM): ("In emergency care no ABN is given", NO_NOTICE),
    ("emergency", MA): ("In emergency care the plan is not asked first", NO_NOTICE),
    ("urgent", OM): ("In urgent care no ABN is given", NO_NOTICE),
    ("urgent", MA): (
        "In urgent care the plan may be asked for an expedited determination",
        (OD,),
    ),
    ("inpatient", OM): ("An inpatient gets no ABN", NO_NOTICE),
    ("inpatient", MA): ("For an inpatient the plan is asked", (OD,)),
    ("planned", OM): ("For what is only planned no ABN is given", NO_NOTICE),
    ("planned", MA): ("For what is only planned no request is made", NO_NOTICE),
    ("deceased", OM): ("For a patient who has died no ABN is given", NO_NOTICE),
    ("deceased", MA): ("For a patient who has died no request is made", NO_NOTICE),
    ("trial", OM): ("In a clinical study the ABN comes with a sentence more", (ABN,)),
    ("trial", MA): ("In a clinical study the request comes with a sentence more", (OD,)),
    ("hospice", OM): ("Under hospice the ABN comes with a sentence more", (ABN,)),
    ("hospice", MA): ("Under hospice the request comes with a sentence more", (OD,)),
    ("medicaid", OM): ("Beside Medicaid the ABN comes with a sentence more", (ABN,)),
    ("qmb", OM): (
        "For a qualified Medicare beneficiary the ABN comes with a sentence more",
        (ABN,),
    ),
    ("pending", MA): ("Where the plan is deciding it is not asked again", NO_NOTICE),
    ("denied", MA): (
        "Where the plan has decided against it, it is not asked again",
        NO_NOTICE,
    ),
    ("partly", MA): ("Where the plan has answered in part its answer is read first", NO_NOTICE),
}
"""By situation of a notice's file and program: its case, and the notices that are given."""


@pytest.mark.parametrize("row", PROGRAM_ROWS)
def test_each_row_on_programs_has_its_cases(row: str) -> None:
    sentences, program, notices = PROGRAM_ROWS[row]
    assert [s for s in sentences if s not in CASES] == []
    for sentence in sentences:
        expected = CASES[sentence].expect
        assert expected.program in (None, program), sentence
        if notices is not None:
            assert expected.notices == notices, sentence


@pytest.mark.parametrize(
    ("row", "caveat"),
    [
        ("Original Medicare, and the payer's entry does not", Caveat.OTHER_PROGRAM),
        ("not Medicare", Caveat.OTHER_PROGRAM),
        ("type and line of business contradict each other", Caveat.CONTRADICTORY),
        ("ended, future or cancelled", Caveat.NOT_ACTIVE),
        ("another patient's", Caveat.OTHER_PATIENT),
    ],
)
def test_where_the_policy_does_not_settle_it_the_case_says_why(row: str, caveat: Caveat) -> None:
    assert {CASES[sentence].expect.caveat for sentence in PROGRAM_ROWS[row][0]} == {caveat}


@pytest.mark.parametrize("row", SITUATION_ROWS, ids=[f"{s}, {p}" for s, p in SITUATION_ROWS])
def test_each_row_on_situations_has_its_case_for_each_program(row: tuple[str, Program]) -> None:
    situation, program = row
    sentence, notices = SITUATION_ROWS[row]
    assert sentence in CASES
    case = CASES[sentence]
    assert case.expect.situations == (situation,)
    assert case.expect.notices == notices
    usable = case.finding.usable
    assert usable is not None
    assert usable.program.program is program


def test_no_situation_of_a_notice_is_left_without_its_row() -> None:
    told = {
        (entry.id, program)
        for notice in load_notices(LIBRARY)
        for entry in notice.situations
        for program in notice.programs
    }
    assert told == set(SITUATION_ROWS)


@pytest.mark.parametrize(
    ("sentence", "caveat", "undetermined"),
    [
        (
            "An approval that the order tells is not contradicted",
            None,
            UndeterminedReason.APPROVAL_TOLD,
        ),
        ("Nor is it under Original Medicare", None, UndeterminedReason.APPROVAL_TOLD),
        (
            "A coverage that ends within the dates of the order is to be verified",
            Caveat.COVERAGE_ENDS,
            None,
        ),
        ("So is one of Original Medicare", Caveat.COVERAGE_ENDS, None),
    ],
)
def test_what_no_notice_decides_has_its_case_for_each_program(
    sentence: str, caveat: Caveat | None, undetermined: UndeterminedReason | None
) -> None:
    expected = CASES[sentence].expect
    assert (expected.caveat, expected.undetermined) == (caveat, undetermined)
    assert expected.notices == NO_NOTICE


def test_every_program_of_the_table_that_has_words_of_its_own_is_met_by_a_case() -> None:
    met = {
        usable.program.entry.id
        for case in CASES.values()
        if (usable := case.finding.usable) is not None and usable.program.entry is not None
    }
    wanted = {"medicare_advantage", "original_medicare", "not_told", "medicare_drugs", "pace"}
    assert wanted | {"medicare_cost", "medicaid", "commercial", "self_pay"} <= met
    assert met <= {entry.id for entry in load_programs()}
