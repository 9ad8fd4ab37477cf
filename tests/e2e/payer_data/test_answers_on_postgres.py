"""The same answers where the payer's records are in PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.contract.payer_records import Plan, plan
from tests.contract.test_payer_records import (  # noqa: F401
    MEMBERS,
    test_a_coverage_in_force_by_the_records_counts_although_the_chart_says_it_is_cancelled,
    test_a_coverage_that_has_ended_by_the_records_is_not_active_whatever_the_chart_says,
    test_a_determination_that_was_asked_for_is_not_asked_for_again,
    test_a_gold_card_needs_no_authorization_and_covers_nothing,
    test_a_known_member_with_an_unknown_coverage_is_told_so,
    test_a_limit_of_once_in_a_period_is_used_up_by_the_payers_history,
    test_a_member_is_answered_by_the_policy_and_the_trace_names_the_record,
    test_a_member_who_is_forgotten_leaves_the_decision_readable,
    test_a_number_of_nobody_and_one_of_somebody_else_get_the_very_same_answer,
    test_a_policys_word_on_authorization_is_corrected_by_the_records,
    test_a_program_that_the_chart_contradicts_is_the_records_and_the_card_says_so,
    test_an_approval_on_file_satisfies_and_no_card_says_that_it_is_not_covered,
    test_an_authorization_whose_units_are_used_up_satisfies_nothing,
    test_each_order_of_a_call_gets_the_reason,
    test_of_several_coverages_the_one_that_the_records_know_to_pay_first_counts,
    test_outside_the_network_authorization_is_needed_and_the_reason_says_why,
    test_whoever_fits_no_member_is_not_covered_for_that_reason,
)


@pytest.fixture
def payer(url: str, tmp_path: Path) -> Iterator[Plan]:
    """A payer that knows Ann and Bo, with its records on the server."""
    # Of a question that waits for a new connection on a busy machine nothing else is tested here.
    with plan(url, tmp_path, payer_data_timeout_ms=10_000, fetch_budget_ms=10_000) as payer:
        payer.put("members", MEMBERS)
        yield payer


@pytest.fixture
def examples(url: str, tmp_path: Path) -> Iterator[Plan]:
    """The same payer, with the example policies."""
    folder = ROOT / "examples" / "policies"
    with plan(
        url,
        tmp_path,
        payer_data_timeout_ms=10_000,
        fetch_budget_ms=10_000,
        added_policies_dir=folder,
        payers_file=folder / "payers.yaml",
    ) as payer:
        payer.put("members", MEMBERS)
        yield payer
