from datetime import date

import pytest

from service.fhir.dates import day_range, period_range


@pytest.mark.parametrize(
    ("written", "days"),
    [
        ("2026-12-01", (date(2026, 12, 1), date(2026, 12, 1))),
        ("2026-12-01T23:30:00-08:00", (date(2026, 12, 1), date(2026, 12, 1))),
        ("2024-02", (date(2024, 2, 1), date(2024, 2, 29))),
        ("2023", (date(2023, 1, 1), date(2023, 12, 31))),
    ],
)
def test_a_date_is_the_days_that_it_can_mean(written: str, days: tuple[date, date]) -> None:
    assert day_range(written) == days


@pytest.mark.parametrize(
    "written", ["2026-13-01", "2026-02-30", "soon", "", None, 20261201, "0000"]
)
def test_what_is_no_date_means_no_day(written: object) -> None:
    assert day_range(written) is None


def test_a_period_open_at_one_end_is_open_there() -> None:
    assert period_range({"start": "2026-01"}) == (date(2026, 1, 1), None)
    assert period_range({"end": "2026-01"}) == (None, date(2026, 1, 31))
