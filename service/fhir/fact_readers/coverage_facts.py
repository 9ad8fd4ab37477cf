"""Facts that the coverage of the decision tells, and the patient's others beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date

from service.decision.facts import NOT_TOLD, Fact, Why
from service.decision.policy import Program
from service.decision.programs import NO_COVERAGE
from service.fhir.coverages import coverage_class
from service.fhir.dates import period_range
from service.fhir.document import Resource
from service.fhir.elements import reference_of
from service.fhir.fact_readers.at_hand import OrderAtHand
from service.fhir.fact_readers.data_types import CodesTold


def _program(at: OrderAtHand) -> Fact:
    found = at.coverage.program if at.coverage else NO_COVERAGE
    if found.program is Program.UNKNOWN:
        why = Why.CONTRADICTORY if found.contradictory else Why.NOT_TOLD
        return Fact(why=why, because=found.evidence)
    return Fact(found.program.value, (found.source,))


_NO_COVERAGE = Fact(why=Why.NOT_TOLD, because="no single coverage is at hand")


def _coverage_type(at: OrderAtHand) -> Fact:
    coverage = at.coverage
    if coverage is None:
        return _NO_COVERAGE
    if not coverage.type_codes:
        return NOT_TOLD
    return Fact(frozenset(coverage.type_codes), (f"{coverage.place}.type",))


def _beside(at: OrderAtHand) -> Fact:
    """The types of the coverages at hand that are in force beside the one of the decision."""
    chosen, found = at.coverage, CodesTold()
    if chosen is None:
        return _NO_COVERAGE

    def read() -> Fact:
        for other, first, last in _active_coverages(at):
            in_force = first <= at.day.latest and at.day.earliest <= last
            if in_force and other.reference != chosen.reference:
                found.add_concepts(other.data.get("type"), f"{other.place}.type")
        return found.fact()

    # Orders of one day under one coverage share it.
    return at.resources.once(("beside", chosen.reference, at.day), read)


def _active_coverages(at: OrderAtHand) -> Sequence[tuple[Resource, date, date]]:
    """The patient's active coverages at hand, with the days of their periods."""
    resources, patient = at.resources, at.patient

    def read() -> Iterator[tuple[Resource, date, date]]:
        for coverage in resources.of_type("Coverage"):
            data = coverage.data
            who = reference_of(data.get("beneficiary"))
            active = data.get("status") == "active"
            if active and who is not None and resources.local(who) == patient:
                first, last = period_range(data.get("period"), resources.zone)
                yield coverage, first or date.min, last or date.max

    return resources.once(("active coverages", patient), lambda: list(read()))


def _coverage_class(at: OrderAtHand, kind: str) -> Fact:
    coverage = at.coverage
    at_hand = at.resources.get(coverage.reference) if coverage else None
    return coverage_class(at_hand, kind) if at_hand is not None else _NO_COVERAGE


def _in_force(at: OrderAtHand) -> Fact:
    coverage = at.finding.coverage
    if coverage is None:
        return _NO_COVERAGE
    place = (f"{coverage.place}.period",)
    if coverage.status not in (None, "active"):
        return Fact(False, (f"{coverage.place}.status",))
    days = (at.day.earliest, at.day.latest)
    holds = {(coverage.starts or date.min) <= day <= (coverage.ends or date.max) for day in days}
    if len(holds) > 1:
        return Fact(why=Why.NOT_READABLE, places=place, because="the day lies between two days")
    return Fact(holds.pop(), place)


def _outlasts(at: OrderAtHand) -> Fact:
    coverage, told = at.coverage, at.order.service_day
    if coverage is None:
        return _NO_COVERAGE
    place = (f"{coverage.place}.period",)
    if coverage.ends is None:
        return Fact(True, place)
    if told is not None and told.open_end:
        return Fact(why=Why.NOT_TOLD, places=place, because="the order's end is open")
    return Fact(at.day.latest <= coverage.ends, place)


READERS: Mapping[str, Callable[[OrderAtHand], Fact]] = {
    "coverage.program": _program,
    "coverage.type": _coverage_type,
    "coverage.beside": _beside,
    "coverage.plan": lambda at: _coverage_class(at, "plan"),
    "coverage.group": lambda at: _coverage_class(at, "group"),
    "coverage.in_force": _in_force,
    "coverage.outlasts_order": _outlasts,
}
