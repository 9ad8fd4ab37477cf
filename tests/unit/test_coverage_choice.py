from dataclasses import replace
from datetime import date

import pytest

from service.decision.coverage import Coverage, CoverageOutcome, choose_coverage
from service.decision.order import Order, ServiceDay

DAY = ServiceDay(date(2026, 12, 1), date(2026, 12, 1), "occurrenceDateTime")
ORDER = Order("ServiceRequest/1", "context.draftOrders.entry[0].resource", ())
ACTIVE = Coverage(
    "Coverage/1",
    "prefetch.coverage",
    None,
    True,
    status="active",
    starts=date(2026, 1, 1),
    beneficiary="Patient/1",
)


def outcome(*coverages: Coverage, order: Order = ORDER) -> CoverageOutcome:
    return choose_coverage(coverages, order, "Patient/1", DAY).outcome


def test_the_only_active_coverage_of_the_patient_counts() -> None:
    finding = choose_coverage([ACTIVE], ORDER, "Patient/1", DAY)
    assert finding.usable is ACTIVE


def test_of_two_active_coverages_none_is_picked() -> None:
    assert outcome(ACTIVE, replace(ACTIVE, reference="Coverage/2")) is CoverageOutcome.SEVERAL


def test_the_coverage_that_the_order_names_is_the_one() -> None:
    other = replace(ACTIVE, reference="Coverage/2")
    order = replace(ORDER, insurance=("Coverage/2",))
    assert choose_coverage([ACTIVE, other], order, "Patient/1", DAY).usable is other


@pytest.mark.parametrize(
    "inactive",
    [
        replace(ACTIVE, status="cancelled"),
        replace(ACTIVE, ends=date(2026, 11, 30)),
        replace(ACTIVE, starts=date(2026, 12, 2)),
    ],
)
def test_a_coverage_not_active_on_the_day_of_service_is_pointed_at_but_not_used(
    inactive: Coverage,
) -> None:
    finding = choose_coverage([inactive], ORDER, "Patient/1", DAY)
    assert finding.outcome is CoverageOutcome.NOT_ACTIVE
    assert finding.coverage is inactive
    assert finding.usable is None


def test_a_coverage_is_active_on_its_last_day() -> None:
    assert outcome(replace(ACTIVE, ends=date(2026, 12, 1))) is CoverageOutcome.FOUND


def test_an_inactive_coverage_does_not_make_the_active_one_ambiguous() -> None:
    expired = replace(ACTIVE, reference="Coverage/0", ends=date(2025, 12, 31))
    assert outcome(expired, ACTIVE) is CoverageOutcome.FOUND


def test_a_coverage_of_another_beneficiary_is_not_used() -> None:
    assert outcome(replace(ACTIVE, beneficiary="Patient/11")) is CoverageOutcome.OTHER_PATIENT


def test_no_coverage_is_said_to_be_none() -> None:
    assert outcome() is CoverageOutcome.NONE


def test_a_coverage_that_leaves_status_period_and_beneficiary_out_is_not_ruled_out() -> None:
    bare = Coverage("Coverage/1", "prefetch.coverage", None, False)
    assert outcome(bare) is CoverageOutcome.FOUND


def test_no_other_coverage_takes_the_place_of_the_one_that_the_order_names() -> None:
    order = replace(ORDER, insurance=("Coverage/2",))
    finding = choose_coverage([ACTIVE], order, "Patient/1", DAY)
    assert finding.outcome is CoverageOutcome.NOT_AT_HAND
    assert finding.usable is None
    assert finding.coverage is not None
    assert finding.coverage.reference == "Coverage/2"
    assert finding.coverage.payer is None
