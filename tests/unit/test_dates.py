from datetime import UTC, date, tzinfo
from zoneinfo import ZoneInfo

import pytest

from service.fhir.dates import day_range, period_range


@pytest.mark.parametrize(
    ("written", "days"),
    [
        ("2026-12-01", (date(2026, 12, 1), date(2026, 12, 1))),
        ("2026-12-01T23:30:00", (date(2026, 12, 1), date(2026, 12, 1))),
        ("2024-02", (date(2024, 2, 1), date(2024, 2, 29))),
        ("2023", (date(2023, 1, 1), date(2023, 12, 31))),
    ],
)
def test_a_date_is_the_days_that_it_can_mean(written: str, days: tuple[date, date]) -> None:
    assert day_range(written, UTC) == days


@pytest.mark.parametrize(
    "written", ["2026-13-01", "2026-02-30", "soon", "", None, 20261201, "0000"]
)
def test_what_is_no_date_means_no_day(written: object) -> None:
    assert day_range(written, UTC) is None


def test_a_period_open_at_one_end_is_open_there() -> None:
    assert period_range({"start": "2026-01"}, UTC) == (date(2026, 1, 1), None)
    assert period_range({"end": "2026-01"}, UTC) == (None, date(2026, 1, 31))


DENVER, KIRITIMATI = ZoneInfo("America/Denver"), ZoneInfo("Pacific/Kiritimati")


@pytest.mark.parametrize(
    ("written", "zone", "day"),
    [
        ("2026-12-01T23:30:00-08:00", UTC, date(2026, 12, 2)),
        ("2026-12-01T23:30:00-08:00", DENVER, date(2026, 12, 2)),
        ("2026-12-01T22:30:00-08:00", DENVER, date(2026, 12, 1)),
        ("2026-12-01T05:00:00Z", DENVER, date(2026, 11, 30)),
        ("2026-07-01T06:00:00.123456789Z", DENVER, date(2026, 7, 1)),
        ("2026-12-31T12:00:00Z", KIRITIMATI, date(2027, 1, 1)),
        (" 2026-12-01T00:00:00+14:00 ", KIRITIMATI, date(2026, 12, 1)),
        # No instant: the written day, whatever the zone.
        ("2026-12-01T23:30:00", KIRITIMATI, date(2026, 12, 1)),
        ("2026-12-01T99:99:99Z", KIRITIMATI, date(2026, 12, 1)),
        ("2026-12-01T23:30:00-08:00", None, date(2026, 12, 1)),
        ("9999-12-31T23:00:00-08:00", KIRITIMATI, date(9999, 12, 31)),
    ],
)
def test_the_day_of_an_instant_is_that_of_the_services_time_zone(
    written: str, zone: tzinfo | None, day: date
) -> None:
    assert day_range(written, zone) == (day, day)
    assert period_range({"start": written, "end": written}, zone) == (day, day)
