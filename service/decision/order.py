"""An order, as far as a decision relies on it.

Every value here is frozen: it travels one way through a call and is never changed on the way.
Days are `datetime.date` as written by their source, with no time zone of their own. `Order.name`
came with a request and is untrusted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from typing import NamedTuple


class Code(NamedTuple):
    """A code in its canonical form: canonical system URI, upper-case code without padding."""

    system: str
    value: str


@dataclass(frozen=True, slots=True)
class OrderCoding:
    """One coding of an order's code, as read: where it stood and what it means.

    `code` is None when the system or the code is missing. `written` is system|code as it came.
    """

    code: Code | None
    place: str
    written: str


NO_DAY_TOLD = "today"
"""The source of a day of service that no element of the order told."""


@dataclass(frozen=True, slots=True)
class ServiceDay:
    """The day of service, or the days between which it lies when the order is imprecise.

    `source` names the element that told it ("occurrenceDateTime"), or NO_DAY_TOLD when none did.
    A period that tells one side only is open at the other (FHIR R4, Period): both days are then the
    one that is told, and `open_start` or `open_end` says that it goes on.
    """

    earliest: date
    latest: date
    source: str
    open_start: bool = False
    open_end: bool = False

    @property
    def single(self) -> date | None:
        """The day of service, where one day is told."""
        is_open = self.open_start or self.open_end
        return None if is_open or self.earliest != self.latest else self.earliest

    def as_of(self, today: date) -> ServiceDay:
        """The days that count on `today`: of an open period, its day that is nearest to today.

        What is signed today under an order that goes on is given from today on.
        """
        if self.open_start and self.open_end:
            nearest = today
        elif self.open_end:
            nearest = max(self.earliest, today)
        elif self.open_start:
            nearest = min(self.latest, today)
        else:
            return self
        return replace(self, earliest=nearest, latest=nearest)

    def __str__(self) -> str:
        """ "2026-12-01", "2026-12-01/2026-12-05", "2026-12-01/.." where the end is open."""
        if self.single:
            return self.single.isoformat()
        first = ".." if self.open_start else self.earliest.isoformat()
        last = ".." if self.open_end else self.latest.isoformat()
        return f"{first}/{last}"


@dataclass(frozen=True, slots=True)
class ExistingCoverageInformation:
    """A coverage-information extension that the order already carries."""

    coverage: str | None
    covered: str | None
    assertion_id: str | None


class Standing(NamedTuple):
    """Whether an order is to be carried out at all, in its own words."""

    status: str | None
    do_not_perform: bool


@dataclass(frozen=True, slots=True)
class Order:
    """One order or appointment, reduced to what a coverage decision relies on.

    `reference` is "Type/id" as in the request; `place` is its path in the request
    ("context.draftOrders.entry[0].resource"); `name` is what the orderer called it, untrusted.
    `service_day` is None when the order tells no date. References are kept as written.
    """

    reference: str
    place: str
    codings: tuple[OrderCoding, ...]
    name: str | None = None
    service_day: ServiceDay | None = None
    status: str | None = None
    intent: str | None = None
    do_not_perform: bool = False
    patient: str | None = None
    insurance: tuple[str, ...] = ()
    coverage_information: tuple[ExistingCoverageInformation, ...] = ()
