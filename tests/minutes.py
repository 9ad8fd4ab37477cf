"""Minutes of the clock: by them a service counts calls, bytes, failed tokens and sign-ins.

None can be kept from ending in the middle of a test. So a test begins anew (`within_a_minute`),
reckons with each that began (`this_minute`), or hands in a clock that stands (`one_minute`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TypeVar

import pytest

Subject = TypeVar("Subject")
Seen = TypeVar("Seen")

_ENOUGH_SECONDS = 15


def this_minute() -> int:
    """The number of the present minute."""
    return int(time.time() // 60)


def within_a_minute(
    look: Callable[[Subject], Seen | None], subjects: Iterable[Subject], apart: float = 0.0
) -> Seen:
    """What is seen of the first of the subjects of which all was seen within one minute.

    Where one look is too slow for the rest of a minute, the next one has a minute from its
    beginning. None is no sight: the next subject is looked at, so many seconds later.
    """
    enough = _ENOUGH_SECONDS
    for subject in subjects:
        if (left := 60 - time.time() % 60) < enough:
            time.sleep(left + 0.1)
        minute = this_minute()
        seen = look(subject)
        if this_minute() != minute:
            enough = 59
        elif seen is not None:
            return seen
        time.sleep(apart)
    pytest.skip("the machine is too slow: nothing was seen within one minute as a whole")
