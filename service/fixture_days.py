"""Days in fixtures: "{today+30}" stands for a day so many days from now, so that none ages."""

from __future__ import annotations

import re
from datetime import date, timedelta

_DAY = re.compile(r"\{today(?:([+-])(\d{1,5}))?\}")


def with_days(text: str, today: date) -> str:
    """The text with every "{today}", "{today+30}" and "{today-2}" as an ISO day."""

    def day(match: re.Match[str]) -> str:
        days = int(match[2] or 0)
        return (today + timedelta(-days if match[1] == "-" else days)).isoformat()

    return _DAY.sub(day, text)
