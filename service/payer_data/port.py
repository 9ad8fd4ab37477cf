"""Port of payer data: one look-up for each coverage of a call, with all relevant records.

A look-up is one round trip. A source returns the records of numbers with a birth date, `matching`
decides: to a source an unknown number and another person's number are the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Protocol

from service.circuit_breaker import CircuitBreaker
from service.errors import PayerDataUnavailable
from service.payer_data.record_rows import member_key
from service.payer_data.records import (
    Authorization,
    Exemption,
    Member,
    NetworkContract,
    ServiceRendered,
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A look-up: payer, numbers with the birth date, codes and providers.

    `numbers` are in the form that `numbers.plain_number` gives, `written` the same as they came;
    `codes` are "system|value"; `providers` are NPIs. It is a patient's: never for a log.
    """

    payer: str
    numbers: frozenset[str] = field(repr=False)
    birth_date: date = field(repr=False)
    codes: frozenset[str] = frozenset()
    providers: frozenset[str] = frozenset()
    written: frozenset[str] = field(default=frozenset(), repr=False)

    @property
    def member_keys(self) -> list[str]:
        """The keys of the embedded source's members: each number with the birth date."""
        return [member_key(number, self.birth_date) for number in sorted(self.numbers)]


@dataclass(frozen=True, slots=True)
class Records:
    """The records of a look-up, of any day.

    `members` are all that carry one of the numbers and have the birth date; authorizations and
    services are those of these members, contracts and exemptions those of the providers.
    `network_known` and `history_known` are whether the source has any contracts and services of
    this payer: without, a missing one says nothing. `read_at` is when the source was read, where
    that may be a while ago. `not_told` are the kinds of records that it does not tell.
    """

    members: tuple[Member, ...] = ()
    authorizations: tuple[Authorization, ...] = ()
    contracts: tuple[NetworkContract, ...] = ()
    services: tuple[ServiceRendered, ...] = ()
    exemptions: tuple[Exemption, ...] = ()
    network_known: bool = False
    history_known: bool = False
    read_at: datetime | None = None
    not_told: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[object]:
        yield from (*self.members, *self.authorizations, *self.contracts)
        yield from (*self.services, *self.exemptions)


@dataclass(frozen=True, slots=True)
class SourceHealth:
    """Health of a source, for readiness and metrics, without patient data.

    `kind` is "embedded" or "fhir"; `up` False while its circuit is open or its tables are missing;
    `asked`, `failed` and `refused` count questions since the start of this process, the last those
    that an open circuit turned away. `not_told` are the kinds of records that it never tells.
    """

    kind: str
    up: bool
    asked: int = 0
    failed: int = 0
    refused: int = 0
    not_told: tuple[str, ...] = ()


CIRCUIT_OPEN = "circuit open"


def source_circuit(monotonic: Callable[[], float] = time.monotonic) -> CircuitBreaker:
    """The circuit breaker of a source: open for 5 seconds after three failures in a row."""
    return CircuitBreaker(
        (PayerDataUnavailable,),
        lambda: PayerDataUnavailable(CIRCUIT_OPEN),
        failures=3,
        seconds=5.0,
        monotonic=monotonic,
    )


class PayerData(Protocol):
    """Protocol of a source. Safe for several threads."""

    def look_up(self, wanted: Wanted, deadline: float) -> Records:
        """The records; `deadline` is a `time.monotonic()` value.

        Raises PayerDataUnavailable, never later than the deadline by more than a scheduler's turn.
        """
        ...

    def health(self) -> SourceHealth: ...

    def close(self) -> None: ...
