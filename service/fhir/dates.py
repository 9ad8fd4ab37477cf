"""FHIR dates, including partial ones, as ranges of days."""

from __future__ import annotations

import calendar
import re
from datetime import date

_WHOLE = len("2026-01-31")
_DATE = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2})(?:T.*)?)?)?")


def day_range(written: object) -> tuple[date, date] | None:
    """First and last day of a FHIR date or dateTime; None for another value.

    A dateTime's day is the written one: its offset is the place of the service.
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
        return date(year, month, day), date(year, month, day)
    except (ValueError, calendar.IllegalMonthError):
        return None


def period_range(period: object) -> tuple[date | None, date | None]:
    """First and last day of a FHIR Period, None for an open or unreadable side."""
    if not isinstance(period, dict):
        return None, None
    start, end = day_range(period.get("start")), day_range(period.get("end"))
    return (start[0] if start else None), (end[1] if end else None)
