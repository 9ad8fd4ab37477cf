"""Payer finding: the payer's records on one order under one coverage, on the day of service.

It takes precedence over the call. All values are frozen and contain no copy of a record: `record`
is the version of the decisive one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum

from service.decision.coverage import Coverage, CoverageFinding, CoverageOutcome
from service.decision.programs import ProgramEntry


class PayerOutcome(StrEnum):
    """Outcome of the look-up in the payer's records."""

    KNOWN = "known"
    """The member and the coverage are known, and the coverage is in force that day."""
    NO_MEMBER = "no member"
    """No single member fits the call's data (CRD 2.2.1 resp-44)."""
    NO_NUMBER = "no member number"
    """The call has no member number to search for."""
    COVERAGE_NOT_FOUND = "coverage not found"
    """The member is known, its coverage is unknown or ambiguous (CRD 2.2.1 resp-45)."""
    NOT_ACTIVE = "not active"
    """The coverage is known and not in force that day (CRD 2.2.1 resp-45)."""
    NOT_CHECKED = "not checked"
    """The Patient is absent: a number alone identifies nobody."""
    UNREACHABLE = "unreachable"
    """The records could not be read in time; the answer rests on the call, and says so."""


class AuthorizationStatus(StrEnum):
    APPROVED = "approved"
    PENDING = "pending"
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class AuthorizationOnFile:
    """An advance decision on file: its number, and the end of its validity.

    `determination` is True for an organization determination, False for a prior authorization.
    """

    number: str
    status: AuthorizationStatus
    determination: bool
    ends: date | None = None
    decided: date | None = None


CONTRADICTION = "contradiction: "
"""The beginning of the kind of a contradiction, in traces and counts."""


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A contradiction between records and call. `what` is a key of the card's texts.

    `program` and `day` are the records': the program, and since when it or the coverage holds, or
    when it ended. `told` is the program that the call tells.
    """

    what: str
    program: str = ""
    day: date | None = None
    told: str = ""


@dataclass(frozen=True, slots=True)
class PayerFinding:
    """The finding of the records; fields beyond the outcome are set for KNOWN only.

    `because` is for the trace: versions, days and kinds of trouble, never a name or a number of a
    member. `situations` are keys of the texts ("hospice", "deceased", "other_payer_first", "qmb").
    `out_of_network` is True where the performer is known to be outside, `exempt` where who orders
    or performs has a gold card for the code. `had_on` are the days, in order, on which the member
    has had it; `history_known`, whether the payer keeps any history, so that no day means never.
    """

    outcome: PayerOutcome
    because: str
    record: str | None = None
    program: ProgramEntry | None = None
    starts: date | None = None
    ends: date | None = None
    primary: bool = False
    authorization: AuthorizationOnFile | None = None
    out_of_network: bool = False
    exempt: bool = False
    had_on: tuple[date, ...] = ()
    history_known: bool = False
    situations: tuple[str, ...] = ()
    contradictions: tuple[Contradiction, ...] = ()

    @property
    def kinds(self) -> tuple[str, ...]:
        """The outcome and each contradiction, of a fixed set, to be counted and looked up."""
        return (self.outcome.value, *(CONTRADICTION + c.what for c in self.contradictions))

    @property
    def approved(self) -> AuthorizationOnFile | None:
        found = self.authorization
        return found if found and found.status is AuthorizationStatus.APPROVED else None


def with_payers_word(
    finding: CoverageFinding, coverage: Coverage, payer: PayerFinding
) -> CoverageFinding:
    """The coverage finding, corrected by the payer's records.

    A coverage in force in the records counts although it has ended in the call, and vice versa.
    """
    if payer.outcome is PayerOutcome.KNOWN:
        known = coverage
        days = payer.starts or coverage.starts, payer.ends or coverage.ends
        if days != (coverage.starts, coverage.ends):
            known = replace(coverage, starts=days[0], ends=days[1])
        because = f"{coverage.reference}: in force by the payer's records"
        return CoverageFinding(CoverageOutcome.FOUND, because, known)
    if payer.outcome is PayerOutcome.NOT_ACTIVE:
        because = f"{coverage.reference}: not in force by the payer's records"
        return CoverageFinding(CoverageOutcome.NOT_ACTIVE, because, coverage)
    return finding
