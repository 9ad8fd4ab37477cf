"""Synthetic members, for tests of what the payer knows."""

from __future__ import annotations

from datetime import date
from typing import Any

from service.payer_data.matching import Told
from service.payer_data.records import Member

PAYER = "http://example.org/payers|example-health-plan"
DAY = date(2026, 12, 1)
BORN = date(1951, 4, 12)


def member(number: str = "M1", **more: Any) -> Member:
    """Ann Testcase, a member of Medicare Advantage since 2022, unless told otherwise."""
    given: dict[str, Any] = {
        "payer": PAYER,
        "number": number,
        "person": number,
        "program": "medicare_advantage",
        "birth_date": BORN,
        "family": "Testcase",
        "given": "Ann",
        "plan": "plan-0001",
        "starts": date(2022, 1, 1),
        **more,
    }
    return Member(**given)


def told(*coverage_numbers: str, **more: Any) -> Told:
    """What a call tells of Ann Testcase."""
    given: dict[str, Any] = {
        "coverage_numbers": frozenset(coverage_numbers),
        "birth_date": BORN,
        "family": "Testcase",
        "given": "Ann",
        **more,
    }
    return Told(**given)
