"""Payer records of a call: one look-up for each coverage, within its time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from service.decision.coverage import Coverage, CoverageFinding, CoverageOutcome
from service.decision.order import Order, ServiceDay
from service.decision.payer_finding import PayerFinding, PayerOutcome, with_payers_word
from service.decision.programs import ProgramTable
from service.errors import PayerDataUnavailable
from service.fhir.document import Resource
from service.fhir.member_identity import MemberIdentity, read_member_identity
from service.fhir.providers import read_providers
from service.fhir.resources import Resources
from service.fhir.systems import CPT, HCPCS
from service.payer_data.bearing import OrderAsked, bearing
from service.payer_data.matching import MatchOutcome, Told, match
from service.payer_data.numbers import plain_number
from service.payer_data.port import PayerData, Records, Wanted

log = structlog.get_logger(__name__)

_A_MOMENT = 0.05
_ASKED_ABOUT = frozenset(
    {CoverageOutcome.FOUND, CoverageOutcome.NOT_ACTIVE, CoverageOutcome.SEVERAL}
)


@dataclass(frozen=True, slots=True)
class PayerRecords:
    """A source of the payer's records, or None, with its time limits.

    `budget` is the time of a call for all fetching, `patience` the source's largest share, both in
    seconds; the source gets a minimum in any case. `asked` is called with the outcome and the
    seconds of each look-up; `programs` has the members' programs. `aside` makes the block of a
    look-up, in which another call may compute.
    """

    source: PayerData | None = None
    patience: float = 0.3
    budget: float = 2.0
    asked: Callable[[str, float], None] = lambda _outcome, _seconds: None
    programs: ProgramTable = field(default_factory=lambda: ProgramTable(()))
    aside: Callable[[], AbstractContextManager[None]] = nullcontext

    def of_call(
        self,
        patient: str,
        orders: Sequence[tuple[Resource, Order]],
        resources: Resources,
        now: datetime,
        started: float,
        performer: str | None = None,
    ) -> RecordsOfCall | None:
        """The look-ups of one call that has `started` (a `time.monotonic()` value).

        `orders` are read of their resources; `performer` is the reference of their performer, if
        the call names it.
        """
        if self.source is None:
            return None
        at = time.monotonic()
        deadline = min(at + self.patience, max(started + self.budget, at + _A_MOMENT))
        return RecordsOfCall(self, patient, orders, performer, resources, now, deadline)


@dataclass(frozen=True, slots=True)
class _Answer:
    """The result of a look-up, or the reason of its failure."""

    told: Told | None = None
    records: Records | None = None
    why: str = ""


class RecordsOfCall:
    """The payer's records of one call, with one look-up for each coverage."""

    def __init__(
        self,
        records: PayerRecords,
        patient: str,
        orders: Sequence[tuple[Resource, Order]],
        performer: str | None,
        resources: Resources,
        now: datetime,
        deadline: float,
    ) -> None:
        self._records = records
        self._patient = resources.get(patient)
        self._asked: dict[Resource, OrderAsked] = {}
        for resource, order in orders:
            by = read_providers(resource, resources, performer)
            asked_about = OrderAsked(tuple(_codes(order)), by.ordered_by, by.performed_by)
            self._asked[resource] = asked_about
        asked = self._asked.values()
        self._codes = frozenset(c for a in asked for c in a.codes)
        self._npis = frozenset(n for a in asked for n in (*a.ordered_by, *a.performed_by))
        self._resources = resources
        self._now = now
        self._deadline = deadline
        self._answers: dict[str, _Answer] = {}

    def of(
        self, order: Resource, finding: CoverageFinding, day: ServiceDay
    ) -> tuple[CoverageFinding, PayerFinding | None]:
        """The coverage finding corrected by the payer's records, and their finding on the order.

        `order` is one of those that the call was begun with.
        Of several fitting coverages, the one in force or paying first by the records is selected;
        if they name no single one either, the finding is unchanged.
        """
        if finding.outcome not in _ASKED_ABOUT:
            return finding, None
        if finding.coverage is not None:
            coverage = finding.coverage
            if coverage.payer is None:
                return finding, None
            payer = self._finding(order, coverage, day)
            return with_payers_word(finding, coverage, payer), payer
        found = [(c, self._finding(order, c, day)) for c in finding.candidates if c.payer]
        known = [(c, p) for c, p in found if p.outcome is PayerOutcome.KNOWN]
        for narrowed in (known, [(c, p) for c, p in known if p.primary]):
            # A coverage of another payer might pay first: these records cannot decide.
            if len(narrowed) == 1 and len(found) == len(finding.candidates):
                ((coverage, payer),) = narrowed
                return with_payers_word(finding, coverage, payer), payer
        return finding, None

    def _finding(self, order: Resource, coverage: Coverage, day: ServiceDay) -> PayerFinding:
        answer = self._answers.get(coverage.reference)
        if answer is None:
            answer = self._answers[coverage.reference] = self._ask(coverage)
        if answer.told is None:
            return PayerFinding(PayerOutcome.NOT_CHECKED, "the coverage did not come along")
        if answer.records is None:
            return PayerFinding(
                PayerOutcome.UNREACHABLE, f"records could not be reached: {answer.why}"
            )
        found = match(answer.told, answer.records.members, day.earliest)
        if found.outcome is MatchOutcome.NO_ACTIVE_COVERAGE and day.latest != day.earliest:
            found = match(answer.told, answer.records.members, day.latest)
        asked = self._asked[order]
        at = (
            day.latest
            if found.member and not found.member.in_force_on(day.earliest)
            else day.earliest
        )
        return bearing(
            found, answer.records, asked, coverage, at, self._now, self._records.programs
        )

    def _ask(self, coverage: Coverage) -> _Answer:
        at_hand, payer = self._resources.get(coverage.reference), coverage.payer
        source = self._records.source
        if at_hand is None or payer is None or source is None:
            return _Answer()
        identity = read_member_identity(self._patient, at_hand, payer.member_systems)
        told = _told(identity)
        if told.birth_date is None or not told.can_be_matched:
            return _Answer(told, Records())  # there is nothing to ask for
        written = frozenset((*identity.coverage_numbers, *identity.patient_numbers))
        wanted = Wanted(payer.key, told.numbers, told.birth_date, self._codes, self._npis, written)
        started = time.monotonic()
        try:
            with self._records.aside():
                answer = _Answer(told, source.look_up(wanted, self._deadline))
        except PayerDataUnavailable as trouble:
            log.warning("payer's records could not be reached", why=trouble.why)
            answer = _Answer(told, None, trouble.why)
        outcome = "unreachable" if answer.records is None else "answered"
        self._records.asked(outcome, time.monotonic() - started)
        return answer


def _told(identity: MemberIdentity) -> Told:
    return Told(
        coverage_numbers=_plain(identity.coverage_numbers),
        patient_numbers=_plain(identity.patient_numbers),
        birth_date=identity.birth_date,
        family=identity.family,
        given=identity.given,
        name=identity.text,
        plan=identity.plan,
    )


def _plain(numbers: Iterable[str]) -> frozenset[str]:
    return frozenset([plain for n in numbers if (plain := plain_number(n))])


def _codes(order: Order) -> Iterable[str]:
    """The billing codes, by which payers decide; all codes of an order without any."""
    found = [c.code for c in order.codings if c.code is not None]
    billing = [code for code in found if code.system in (CPT, HCPCS)]
    return dict.fromkeys(f"{code.system}|{code.value}" for code in billing or found)
