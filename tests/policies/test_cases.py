"""Every case of every policy on file, one test a sentence."""

from datetime import date
from functools import cache

import pytest

from service.policies.cases import CASES, Case, load_cases, run_case
from service.policies.library import load_notices, load_policies
from service.policies.lint import lint_library
from service.policies.notices import NoticeLibrary
from service.policies.policy_store import PolicyStore
from tests.conftest import ROOT
from tests.policies import LIBRARY


@cache
def policies() -> PolicyStore:
    return load_policies(LIBRARY)


@cache
def notices() -> NoticeLibrary:
    return load_notices(LIBRARY)


CASES_ON_FILE = [
    case for file in sorted(LIBRARY.glob(f"*/{CASES}")) for case in load_cases(file.parent)
]


@pytest.mark.parametrize("case", CASES_ON_FILE, ids=[f"{c.policy}: {c.it}" for c in CASES_ON_FILE])
def test_the_policy_answers_as_the_sentence_says(case: Case) -> None:
    assert run_case(case, policies(), notices()).differences == ()


def test_the_mr_spectroscopy_policy_has_at_least_thirty_cases() -> None:
    assert sum(c.policy == "mr-spectroscopy" for c in CASES_ON_FILE) >= 30


def test_a_case_that_expects_something_else_fails_and_says_what_came() -> None:
    (sound,) = [c for c in CASES_ON_FILE if c.it.startswith("MR spectroscopy is not covered")]
    (other,) = [c for c in CASES_ON_FILE if c.it.startswith("Under Original Medicare")]
    crossed = Case(sound.policy, "crossed", sound.on, sound.order, sound.finding, other.expect)
    result = run_case(crossed, policies(), notices())
    assert not result.passed
    assert result.differences == (
        "covered: expected conditional, got not-covered",
        "program: expected original_medicare, got medicare_advantage",
        "notices: expected abn, got organization-determination",
    )


EXAMPLES = ROOT / "examples" / "policies"
EXAMPLE_CASES = [c for f in sorted(EXAMPLES.glob(f"*/{CASES}")) for c in load_cases(f.parent)]


@cache
def example_policies() -> PolicyStore:
    return load_policies(EXAMPLES)


@pytest.mark.parametrize("case", EXAMPLE_CASES, ids=[f"{c.policy}: {c.it}" for c in EXAMPLE_CASES])
def test_the_example_policy_answers_as_the_sentence_says(case: Case) -> None:
    assert run_case(case, example_policies()).differences == ()


def test_lint_finds_nothing_wrong_with_the_example_policies() -> None:
    findings = lint_library(EXAMPLES, EXAMPLES / "payers.yaml", date(2026, 6, 1))
    assert [str(f) for f in findings if not f.warning] == []
    assert len({case.policy for case in EXAMPLE_CASES}) >= 4
