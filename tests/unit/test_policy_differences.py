"""What changed between two versions of a policy."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from service.decision.policy import PolicyVersion
from service.policies.differences import PolicyChange, differences
from service.policies.library import load_policies
from tests.libraries import POLICY, two_versions


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> tuple[PolicyVersion, PolicyVersion]:
    folder: Path = tmp_path_factory.mktemp("policies")
    older, newer = load_policies(two_versions(folder)).versions(POLICY)
    return older, newer


def test_a_version_does_not_differ_from_itself(versions: tuple[PolicyVersion, ...]) -> None:
    assert differences(versions[0], versions[0]) == ()


def test_a_code_more_another_reason_a_source_and_a_review_are_all_changes(
    versions: tuple[PolicyVersion, ...],
) -> None:
    changes = differences(*versions)
    assert PolicyChange("services", "X0002", None, "Longer example scan (Example scan)") in changes
    assert (
        PolicyChange("reason", "medicare_advantage", "Evidence is lacking.", "Too little evidence.")
        in changes
    )
    assert (
        PolicyChange(
            "citations",
            "plan-1",
            "Example policy 1",
            "Example policy 1, https://plan.example.org/1",
        )
        in changes
    )
    assert PolicyChange("review", "next", "2025-01", "2099-01") in changes


def test_another_reason_for_the_patient_is_a_change(versions: tuple[PolicyVersion, ...]) -> None:
    older = versions[0]
    program, policy_determination = next(iter(older.determinations.items()))
    worded = replace(policy_determination, for_patient="Medicare may not pay.")
    newer = replace(older, determinations={**older.determinations, program: worded})
    assert differences(older, newer) == (
        PolicyChange("for-patient", program, None, "Medicare may not pay."),
    )


def test_what_is_gone_is_told_as_gone(versions: tuple[PolicyVersion, ...]) -> None:
    older, newer = versions
    assert PolicyChange(
        "services", "X0002", "Longer example scan (Example scan)", None
    ) in differences(newer, older)


def test_changes_come_in_the_order_of_the_page(versions: tuple[PolicyVersion, ...]) -> None:
    sections = [c.section for c in differences(*versions)]
    order = ["services", "authorities", "reason", "citations", "review"]
    assert list(dict.fromkeys(sections)) == order


def test_dates_in_force_are_no_difference_for_the_history_tells_them(
    versions: tuple[PolicyVersion, ...],
) -> None:
    older = versions[0]
    assert differences(older, replace(older, ends=date(2030, 1, 1))) == ()
