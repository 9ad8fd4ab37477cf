"""Payer finding of one order on its day, from a member's records, by pure rules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from service.decision.coverage import Coverage
from service.decision.payer_finding import (
    AuthorizationOnFile,
    AuthorizationStatus,
    Contradiction,
    PayerFinding,
    PayerOutcome,
)
from service.decision.policy import Program
from service.decision.programs import ProgramEntry, ProgramTable
from service.payer_data.matching import Match, MatchOutcome
from service.payer_data.port import Records
from service.payer_data.records import Authorization, Member, holds_on

_OUTCOMES = {
    MatchOutcome.MATCHED: PayerOutcome.KNOWN,
    MatchOutcome.NO_NUMBER: PayerOutcome.NO_NUMBER,
    MatchOutcome.NOT_CHECKED: PayerOutcome.NOT_CHECKED,
    MatchOutcome.NO_MEMBER: PayerOutcome.NO_MEMBER,
    MatchOutcome.COVERAGE_NOT_FOUND: PayerOutcome.COVERAGE_NOT_FOUND,
    MatchOutcome.NO_ACTIVE_COVERAGE: PayerOutcome.NOT_ACTIVE,
}
_WEIGHT = {"approved": 0, "pending": 1, "denied": 2}
_SAYS = {
    PayerOutcome.NO_NUMBER: "the call tells no member number",
    PayerOutcome.NO_MEMBER: "no one member fits the numbers, birth date and name told",
    PayerOutcome.COVERAGE_NOT_FOUND: "the member is known, this one coverage is not",
    PayerOutcome.NOT_CHECKED: "no full birth date came, or more numbers than one person has",
}


@dataclass(frozen=True, slots=True)
class OrderAsked:
    """The facts of an order for comparison with records: codes as "system|value", and NPIs."""

    codes: tuple[str, ...]
    ordered_by: tuple[str, ...] = ()
    performed_by: tuple[str, ...] = ()


def bearing(
    match: Match,
    records: Records,
    order: OrderAsked,
    coverage: Coverage,
    day: date,
    now: datetime,
    programs: ProgramTable,
) -> PayerFinding:
    """The finding on an order.

    `coverage` is the call's, `now` the time of the call; `programs` has the members' programs.
    """
    outcome = _OUTCOMES[match.outcome]
    member = match.member
    if member is None:
        return PayerFinding(outcome, _because(outcome, None, records, now))
    program = _program(member, programs)
    contradictions = tuple(_contradictions(member, program, match.person, coverage, day, programs))
    if outcome is not PayerOutcome.KNOWN:
        return PayerFinding(
            outcome,
            _because(outcome, member, records, now),
            record=member.version,
            starts=member.starts,
            ends=member.ends,
            contradictions=contradictions,
        )
    own = {m.number for m in match.person}
    return PayerFinding(
        outcome,
        _because(outcome, member, records, now),
        record=member.version,
        program=program,
        starts=member.starts,
        ends=member.ends,
        primary=member.pays == "primary",
        authorization=_authorization(records, own, order, day),
        out_of_network=_out_of_network(records, member, order, day),
        exempt=_exempt(records, order, day),
        had_on=_had_on(records, own, order, day),
        history_known=records.history_known,
        situations=tuple(_situations(member, day)),
        contradictions=contradictions,
    )


def _because(outcome: PayerOutcome, member: Member | None, records: Records, now: datetime) -> str:
    said = _SAYS.get(outcome) or f"member record {member.version if member else ''}"
    if member is not None:
        days = f"{member.starts or 'open'} to {member.ends or 'open'}"
        said = f"{said}, {member.program}, {days}"
    if records.not_told:
        said = f"{said}; not told: {', '.join(records.not_told)}"
    if records.read_at is not None:
        age = max(round((now - records.read_at).total_seconds()), 0)
        said = f"{said}; read {age} s ago"
    return said


def _authorization(
    records: Records, own: set[str], order: OrderAsked, day: date
) -> AuthorizationOnFile | None:
    """The decision on file for the order; an approval precedes a pending or denied one.

    It must be for every code of the order: approval of a part does not approve the rest.
    """
    if not records.authorizations:
        return None
    fitting = [a for a in records.authorizations if a.member in own and a.status in _WEIGHT]
    spoken = [a for a in fitting if order.codes and all(a.speaks_of(c, day) for c in order.codes)]
    spoken = [a for a in spoken if a.status != "approved" or not _used_up(a, records, own)]
    if not spoken:
        return None
    best = min(spoken, key=lambda a: (_WEIGHT[a.status], -(a.decided or date.min).toordinal()))
    return AuthorizationOnFile(
        number=best.number,
        status=AuthorizationStatus(best.status),
        determination=best.kind == "organization-determination",
        ends=best.ends,
        decided=best.decided,
    )


def _used_up(authorization: Authorization, records: Records, own: set[str]) -> bool:
    if authorization.units is None:
        return False
    used = sum(
        s.member in own
        and s.code in authorization.codes
        and holds_on(authorization.starts or authorization.decided, authorization.ends, s.day)
        for s in records.services
    )
    return used >= authorization.units


def _out_of_network(records: Records, member: Member, order: OrderAsked, day: date) -> bool:
    """Whether all performers are outside the network; False if network or performers are
    unknown.
    """
    if not records.network_known or not order.performed_by:
        return False
    inside = {
        c.npi
        for c in records.contracts
        if c.plan in ("", member.plan) and holds_on(c.starts, c.ends, day)
    }
    return inside.isdisjoint(order.performed_by)


def _exempt(records: Records, order: OrderAsked, day: date) -> bool:
    if not records.exemptions:
        return False
    providers = {*order.ordered_by, *order.performed_by}
    cards = [
        e for e in records.exemptions if e.npi in providers and holds_on(e.starts, e.ends, day)
    ]
    return bool(order.codes) and all(any(c in e.codes for e in cards) for c in order.codes)


def _had_on(records: Records, own: set[str], order: OrderAsked, day: date) -> tuple[date, ...]:
    if not records.services:
        return ()
    of_order = [s for s in records.services if s.member in own and s.code in order.codes]
    return tuple(sorted(s.day for s in of_order if s.day <= day))


def _situations(member: Member, day: date) -> Iterator[str]:
    if member.deceased is not None and member.deceased < day:
        yield "deceased"
    if member.in_hospice_on(day):
        yield "hospice"
    if member.pays == "secondary":
        yield "other_payer_first"
    if member.dual == "qmb":
        yield "qmb"


def _contradictions(
    member: Member,
    ours: ProgramEntry | None,
    person: Sequence[Member],
    coverage: Coverage,
    day: date,
    programs: ProgramTable,
) -> Iterator[Contradiction]:
    in_force = member.in_force_on(day)
    told = coverage.program.entry if coverage.program.program is not Program.UNKNOWN else None
    if in_force and ours is not None:
        if coverage.program.contradictory:
            yield Contradiction("program", ours.name, member.starts)
        elif told is not None and told.id != ours.id:
            yield Contradiction("program", ours.name, member.starts, told.name)
    told_active = coverage.status in (None, "active") and holds_on(
        coverage.starts, coverage.ends, day
    )
    if in_force and not told_active:
        yield Contradiction("in_force", day=member.starts)
    if not in_force:
        if told_active:
            yield Contradiction("ended", day=member.ends)
        # Reported, but not used in its place.
        other = next((m for m in person if m is not member and m.in_force_on(day)), None)
        program = _program(other, programs) if other is not None else None
        if other is not None and program is not None:
            yield Contradiction("other_coverage", program.name, other.starts)


def _program(member: Member, programs: ProgramTable) -> ProgramEntry | None:
    """None where the record does not tell it: then what the call tells is looked at."""
    entry = programs.get(member.program)
    return None if entry is None or entry.words_for is Program.UNKNOWN else entry
