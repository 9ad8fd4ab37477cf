"""Order, reduced to the decision's facts.

All values are frozen: they travel one way through a call. Days are `datetime.date` as written by
their source, without a time zone. `Order.name` is untrusted.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import NamedTuple


class Code(NamedTuple):
    """A code in canonical form: canonical system URI, upper-case code without padding."""

    system: str
    value: str


class OrderCoding(NamedTuple):
    """One coding of an order's code, with its place.

    `code` is None if system or code is absent. `written` is system|code as received. `modifiers`
    are those written with the code, in order; `code` is without them.
    """

    code: Code | None
    place: str
    written: str
    modifiers: tuple[str, ...] = ()

    @property
    def expression(self) -> Code | None:
        """The code with its modifiers as CPT writes them: "76390:26,59"."""
        if self.code is None or not self.modifiers:
            return self.code
        return Code(self.code.system, f"{self.code.value}:{','.join(self.modifiers)}")


NOT_YET_ORDERED = frozenset({"proposal", "plan"})
"""RequestIntent of what nobody has authorized yet."""

NO_DAY_TOLD = "today"
"""Source of a day of service that the order does not state."""


class ServiceDay(NamedTuple):
    """The day of service, or its range for an imprecise order.

    `source` is the element ("occurrenceDateTime"), or NO_DAY_TOLD. A period with one side is open
    at the other (FHIR R4, Period): both days are then the stated one, and `open_start` or
    `open_end` is set.
    """

    earliest: date
    latest: date
    source: str
    open_start: bool = False
    open_end: bool = False

    @property
    def single(self) -> date | None:
        """The day of service, if it is a single day."""
        is_open = self.open_start or self.open_end
        return None if is_open or self.earliest != self.latest else self.earliest

    def as_of(self, today: date) -> ServiceDay:
        """The effective days on `today`: of an open period, the day nearest to today.

        A service signed today under a continuing order is given from today on.
        """
        if self.open_start and self.open_end:
            nearest = today
        elif self.open_end:
            nearest = max(self.earliest, today)
        elif self.open_start:
            nearest = min(self.latest, today)
        else:
            return self
        return self._replace(earliest=nearest, latest=nearest)

    def __str__(self) -> str:
        """ "2026-12-01", "2026-12-01/2026-12-05", or "2026-12-01/.." with an open end."""
        if self.single:
            return self.single.isoformat()
        first = ".." if self.open_start else self.earliest.isoformat()
        last = ".." if self.open_end else self.latest.isoformat()
        return f"{first}/{last}"


@dataclass(frozen=True, slots=True)
class ExistingCoverageInformation:
    """An existing coverage-information extension of the order."""

    coverage: str | None
    covered: str | None
    assertion_id: str | None


class Standing(NamedTuple):
    """The elements of an order that say whether it is to be carried out."""

    status: str | None
    do_not_perform: bool


@dataclass(frozen=True, slots=True)
class Order:
    """One order or appointment, reduced to the decision's facts.

    `reference` is "Type/id" as in the request; `place`, its path in the request
    ("context.draftOrders.entry[0].resource"); `name`, its name as ordered, untrusted.
    `service_day` is None without a date. References are as written.
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

    @property
    def is_planned(self) -> bool:
        """Whether it is not yet an order: FHIR's intents of what is only proposed or planned."""
        return self.intent in NOT_YET_ORDERED
