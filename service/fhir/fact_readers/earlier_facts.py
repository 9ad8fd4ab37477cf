"""Facts of what was before: the order's own statements, and the payer's decisions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from cards.coverage_information.reader import WrittenCoverageInformation
from service.decision.facts import (
    APPROVAL,
    APPROVED,
    DECISION,
    DECISION_DAY,
    DECISION_NUMBER,
    IS_APPROVED,
    NOTHING,
    UNREAD,
    Fact,
    Why,
)
from service.fhir.elements import mappings, reference_of
from service.fhir.fact_readers.at_hand import OrderAtHand
from service.fhir.fact_readers.data_types import day_told
from service.fhir.prior_decisions import DecisionReader, ToldDecision


def _earlier_answer(at: OrderAtHand) -> Fact:
    reference = at.finding.coverage.reference if at.finding.coverage else None
    for carried in at.order.coverage_information:
        if carried.coverage == reference and carried.covered:
            return Fact(carried.covered, (at.place("extension"),))
    return _NONE


def _decision(at: OrderAtHand) -> Fact:
    """The payer's decision before the service, as far as the call tells it."""
    return at.once(DECISION, _told_decision)


def _told_decision(at: OrderAtHand) -> Fact:
    if any(map(_is_satisfied, at.statements)):
        return Fact(APPROVED, (at.place("extension"),))
    found = _decisions(at)
    if len(found) > 1:
        places = tuple(d.place for d in found)
        return Fact(why=Why.CONTRADICTORY, places=places, because="decisions differ")
    for decision in found:
        return Fact(decision.said, (decision.place,))
    if None in _reader(at).named():
        return Fact(UNREAD, (at.place("insurance"),))
    return _NONE


_NONE = Fact(NOTHING)


def _decisions(at: OrderAtHand) -> Sequence[ToldDecision]:
    """The newest decisions before the service; several contradict each other."""
    return at.once("decisions", lambda order: _reader(order).decisions())


def _reader(at: OrderAtHand) -> DecisionReader:
    return at.once("decision reader", _new_reader)


def _new_reader(at: OrderAtHand) -> DecisionReader:
    return DecisionReader(at.order, at.resource, at.resources, at.patient, at.day, at.coverage)


def _decision_number(at: OrderAtHand) -> Fact:
    for decision in _decisions(at)[:1]:
        if decision.number:
            return Fact(decision.number, (decision.place,))
    return _NONE


def _decision_day(at: OrderAtHand) -> Fact:
    for decision in _decisions(at)[:1]:
        if decision.made:
            return day_told(decision.made, f"{decision.place}.created", at.resources.zone)
    return _NONE


def _approval(at: OrderAtHand) -> Fact:
    for info in at.statements:
        for part in info.parts:
            if part.url == "satisfied-pa-id" and part.text:
                return Fact(part.text, (at.place("extension"),))
    decision = _decision(at)
    if decision.value == UNREAD:
        return _unread_decision(at)
    if not decision.known:
        return decision
    return _decision_number(at) if decision.value == APPROVED else _NONE


def _is_approved(at: OrderAtHand) -> Fact:
    decision = _decision(at)
    if decision.value == UNREAD:
        return _unread_decision(at)
    if not decision.known:
        return decision
    approved = decision.value == APPROVED or _approval(at).value is not NOTHING
    return Fact(approved, decision.places)


def _is_satisfied(info: WrittenCoverageInformation) -> bool:
    return any(
        (part.url == "pa-needed" and part.value == "satisfied")
        or (part.url == "satisfied-pa-id" and part.text)
        for part in info.parts
    )


def _unread_decision(at: OrderAtHand) -> Fact:
    for reference in mappings(at.resource.data.get("insurance")):
        written = reference_of(reference) or ""
        if "ClaimResponse/" in written and at.target(reference) is None:
            return at.unread(reference)
    return _NONE


READERS: Mapping[str, Callable[[OrderAtHand], Fact]] = {
    "earlier.answer": _earlier_answer,
    APPROVAL: _approval,
    IS_APPROVED: _is_approved,
    DECISION: _decision,
    DECISION_NUMBER: _decision_number,
    DECISION_DAY: _decision_day,
}
