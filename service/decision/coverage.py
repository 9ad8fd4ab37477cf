"""Coverage selection for an order: by the order's reference, beneficiary, status and period.

Never "the first one": if several fit, none is selected and the outcome is SEVERAL. All values are
frozen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import NamedTuple

from service.decision.order import Code, Order, ServiceDay
from service.decision.policy import Program
from service.decision.programs import NOTHING_TOLD, Pays, ProgramFinding


class PolicyLink(NamedTuple):
    """A policy that a payer applies, and the payer's own page of it where there is one.

    `programs` are those that the payer says it speaks of by this policy, ids of the table; None
    where it says nothing of it: then the policy is for Medicare Advantage.
    """

    policy_id: str
    url: str | None = None
    programs: frozenset[str] | None = None

    @property
    def applied_to(self) -> frozenset[str]:
        """The programs that the policy is for."""
        unsaid = frozenset({Program.MEDICARE_ADVANTAGE.value})
        return unsaid if self.programs is None else self.programs


@dataclass(frozen=True, slots=True)
class Contact:
    """The contact for an answer: name and FHIR ContactPoint."""

    name: str
    system: str
    value: str


@dataclass(frozen=True, slots=True)
class Payer:
    """A payer that this service answers for, from the payers file.

    `system` and `identifier` are the identifier that is sent; it is recognized by the others too.
    `member_systems` are identifier systems whose values are member numbers of this payer.
    `line_of_business` is the id of a program of the table. `requests` says where it takes requests
    for a decision before the service, and by which telephone number it speaks of them.
    """

    system: str
    identifier: str
    name: str
    line_of_business: str
    policies: tuple[PolicyLink, ...]
    contact: Contact | None = None
    other_identifiers: tuple[tuple[str, str], ...] = ()
    member_systems: frozenset[str] = frozenset()
    requests: tuple[str, str | None] | None = None

    @property
    def identifiers(self) -> tuple[tuple[str, str], ...]:
        """(system, value) of every identifier that tells this payer."""
        return ((self.system, self.identifier), *self.other_identifiers)

    @property
    def speaks_of(self) -> frozenset[str]:
        """The programs that any of its policies is for."""
        return frozenset(p for link in self.policies for p in link.applied_to)

    @property
    def names(self) -> frozenset[str]:
        """The programs that its entry names: only what it says itself can contradict a type."""
        return frozenset(p for link in self.policies for p in link.programs or ())

    def applies(self, policy_id: str, program_id: str) -> bool:
        """Whether it says that the policy is for the program."""
        for link in self.policies:
            if link.policy_id == policy_id and program_id in link.applied_to:
                return True
        return False

    @property
    def key(self) -> str:
        """ "system|value", as the payer's own records name it."""
        return f"{self.system}|{self.identifier}"


@dataclass(frozen=True, slots=True)
class Coverage:
    """One Coverage resource, reduced to the decision's facts.

    `reference` is "Coverage/id". `payer` is set when an identifier told in the coverage is one of
    ours; `payer_told` when any identifier was told; `payer_identifiers` are those,
    "system|value", as they were sent: untrusted. `starts`/`ends` bound the coverage's period,
    inclusive, None where open. `type_codes` are Coverage.type's codings, canonical. `payer_unread`
    is "Organization/id" where the payer is told by a reference to what is not at hand. `program` is
    what type and payer tell together. `order` is its place among the patient's coverages, 1 for the
    one that pays first.
    """

    reference: str
    place: str
    payer: Payer | None
    payer_told: bool
    type_codes: tuple[Code, ...] = ()
    payer_identifiers: tuple[str, ...] = ()
    status: str | None = None
    starts: date | None = None
    ends: date | None = None
    beneficiary: str | None = None
    payer_unread: str | None = None
    program: ProgramFinding = NOTHING_TOLD
    order: int | None = None

    @property
    def can_be_pointed_at(self) -> bool:
        """Whether its reference is valid in the EHR's chart.

        A place in the call, or a urn of one Bundle, is not.
        """
        return self.reference.startswith("Coverage/")


class CoverageOutcome(StrEnum):
    """Outcome of the coverage selection."""

    FOUND = "found"
    NONE = "none"
    """No coverage in the call or at the EHR."""
    NOT_AT_HAND = "not_at_hand"
    """The coverage named by the order is absent; no other one is used instead."""
    SEVERAL = "several"
    """More than one coverage fits; none is selected."""
    NOT_ACTIVE = "not_active"
    """No coverage of the patient is active on the day of service."""
    OTHER_PATIENT = "other_patient"
    """All coverages are of another beneficiary."""
    UNREACHABLE = "unreachable"
    """Coverages were absent and could not be fetched for a technical reason."""


@dataclass(frozen=True, slots=True)
class CoverageFinding:
    """The selected coverage of an order, if any, with the reason.

    `coverage` is set for FOUND, for NOT_ACTIVE when just one inactive coverage came, and for
    NOT_AT_HAND and UNREACHABLE when there is one to point at. `usable` coverages only are a basis
    for a policy decision. `candidates` are those among which the payer's own records may tell which
    counts.
    """

    outcome: CoverageOutcome
    because: str
    coverage: Coverage | None = None
    candidates: tuple[Coverage, ...] = ()

    @property
    def usable(self) -> Coverage | None:
        return self.coverage if self.outcome is CoverageOutcome.FOUND else None


def choose_coverage(
    coverages: Sequence[Coverage],
    order: Order,
    patient: str,
    day: ServiceDay,
    *,
    others_count: bool = True,
) -> CoverageFinding:
    """The coverage of `order` on `day`.

    `patient` is the context's patient as "Patient/id". A coverage that names no beneficiary, status
    or period is not ruled out by that; one that contradicts is. Of several active ones the first
    medical one is asked, where the call tells which that is. `others_count` says whether a coverage
    of a payer that is not handled here makes several, beside one that is. A coverage within another
    order is not this one's.
    """
    coverages = [c for c in coverages if "#" not in c.reference or c.reference in order.insurance]
    named = [c for c in coverages if c.reference in order.insurance]
    if order.insurance and not named:
        return CoverageFinding(
            CoverageOutcome.NOT_AT_HAND,
            "the order names a coverage that is not at hand",
            named_by(order),
        )
    candidates = named or list(coverages)
    if not candidates:
        return CoverageFinding(CoverageOutcome.NONE, "no coverage came with the call")
    own = [c for c in candidates if c.beneficiary in (None, patient)]
    if not own:
        return CoverageFinding(
            CoverageOutcome.OTHER_PATIENT, "every coverage names another beneficiary"
        )
    standing = [c for c in own if c.status in (None, "active")]
    active = [c for c in standing if _spans(c, day)]
    if not active:
        # The rest of a period that is open at one side: a coverage that starts next month counts
        # for an order that goes on, unless there is one that counts today.
        active = [c for c in standing if _meets(c, day)]
    if not active:
        return CoverageFinding(
            CoverageOutcome.NOT_ACTIVE,
            f"none of {len(own)} is active on {day.earliest}",
            own[0] if len(own) == 1 else None,
            tuple(own),
        )
    fitting = len(active)
    active = _first_payer(active)
    if len(active) > 1 and not others_count:
        active = _without_other_payers(active)
    if len(active) > 1:
        return CoverageFinding(
            CoverageOutcome.SEVERAL,
            f"{len(active)} active coverages fit the order",
            candidates=tuple(active),
        )
    chosen = active[0]
    how = "named by the order" if named else "the only active one of this patient"
    if fitting > 1:
        how = f"the one to ask first, of {fitting} active ones"
    because = f"{chosen.reference}: {how}"
    return CoverageFinding(CoverageOutcome.FOUND, because, chosen, (chosen,))


def _without_other_payers(coverages: list[Coverage]) -> list[Coverage]:
    """Those of our payers and those of which the payer is not told; all where none is ours."""
    left = [c for c in coverages if c.payer is not None or not c.payer_told]
    return left if any(c.payer is not None for c in left) else coverages


def named_by(order: Order) -> Coverage | None:
    """The one coverage that an order names, of which nothing else is known; None for several."""
    if len(order.insurance) != 1:
        return None
    (reference,) = order.insurance
    return Coverage(reference, f"{order.place}.insurance", payer=None, payer_told=False)


def _first_payer(active: Sequence[Coverage]) -> list[Coverage]:
    """Those that may pay first: medical ones, by their order where every one tells it.

    A coverage of drugs never pays for a service, whatever its order.
    """
    asked = [c for c in active if c.program.pays is not Pays.DRUGS] or list(active)
    if len(asked) > 1 and all(c.order is not None for c in asked):
        first = min(c.order or 0 for c in asked)
        asked = [c for c in asked if c.order == first]
    medical = [c for c in asked if c.program.pays is Pays.MEDICAL]
    return medical or asked


def _spans(coverage: Coverage, day: ServiceDay) -> bool:
    starts_in_time = coverage.starts is None or coverage.starts <= day.latest
    ends_late_enough = coverage.ends is None or coverage.ends >= day.earliest
    return starts_in_time and ends_late_enough


def _meets(coverage: Coverage, day: ServiceDay) -> bool:
    """Whether coverage and days overlap; an open side is unbounded."""
    starts_in_time = day.open_end or coverage.starts is None or coverage.starts <= day.latest
    ends_late_enough = day.open_start or coverage.ends is None or coverage.ends >= day.earliest
    return starts_in_time and ends_late_enough
