"""FHIR dates, including partial ones, as ranges of days in a time zone."""

from __future__ import annotations

import calendar
import re
from datetime import date, datetime, tzinfo

_WHOLE = len("2026-01-31")
_DATE = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2})(?:T.*)?)?)?")


def day_range(written: object, zone: tzinfo | None) -> tuple[date, date] | None:
    """First and last day of a FHIR date or dateTime; None for another value.

    A dateTime with an offset is an instant: its day is that of `zone`, the service's time zone, in
    which policies begin and end. Without an offset, or with None for the zone, it is the written
    day.
    """
    if not isinstance(written, str):
        return None
    if len(written) == _WHOLE and written[4] == written[7] == "-":
        try:
            whole = date.fromisoformat(written)  # what is told mostly, in a tenth of the time
        except ValueError:
            return None
        return whole, whole
    match = _DATE.fullmatch(written.strip())
    if match is None:
        return None
    year, month, day = (int(part) if part else None for part in match.groups())
    try:
        if year is None or month is None:
            return (date(year or 0, 1, 1), date(year or 0, 12, 31))
        if day is None:
            return date(year, month, 1), date(year, month, calendar.monthrange(year, month)[1])
        told = _day_of_instant(written, zone) or date(year, month, day)
        return told, told
    except (ValueError, calendar.IllegalMonthError):
        return None


def _day_of_instant(written: str, zone: tzinfo | None) -> date | None:
    """The day of an instant in a zone; None for a time without an offset, or one that is none."""
    try:
        instant = datetime.fromisoformat(written.strip())
        return instant.astimezone(zone).date() if zone and instant.tzinfo else None
    except (ValueError, OverflowError):
        return None


def period_range(period: object, zone: tzinfo | None) -> tuple[date | None, date | None]:
    """First and last day of a FHIR Period, None for an open or unreadable side; `zone` as above."""
    if not isinstance(period, dict):
        return None, None
    start, end = day_range(period.get("start"), zone), day_range(period.get("end"), zone)
    return (start[0] if start else None), (end[1] if end else None)
