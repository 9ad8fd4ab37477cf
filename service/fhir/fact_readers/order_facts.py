"""Facts that the order itself tells, with what it refers to."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from service.decision.evaluate import day_fact, last_day_fact
from service.decision.facts import LAST_DAY, NOT_TOLD, ORDER_DAY, QUANTITY, Fact, Why
from service.decision.units import convert
from service.fhir.elements import extensions, mappings, reference_of, text
from service.fhir.fact_readers.at_hand import OrderAtHand
from service.fhir.fact_readers.data_types import CodesTold, decimal, measured
from service.fhir.systems import US_NPI, canonical_code


def _codes_at(at: OrderAtHand, *elements: str) -> Fact:
    """The codes of CodeableConcepts in elements of the order."""
    data, found = at.resource.data, CodesTold()
    for element in elements:
        found.add_concepts(data.get(element), at.place(element))
    return found.fact()


def _order_codes(at: OrderAtHand) -> Fact:
    found = CodesTold()
    for coding in at.order.codings:
        if coding.code is not None:
            found.add(coding.code, coding.place)
        else:
            found.lack(Fact(why=Why.NOT_READABLE, places=(coding.place,)))
    return found.fact()


def _reason(at: OrderAtHand) -> Fact:
    data = at.resource.data
    if "reasonCode" not in data and "reasonReference" not in data:
        return NOT_TOLD
    found = CodesTold()
    found.add_concepts(data.get("reasonCode"), at.place("reasonCode"))
    for i, reference in enumerate(mappings(data.get("reasonReference"))):
        target = at.target(reference)
        if target is None:
            if not str(reference.get("reference", "")).startswith("Condition/"):
                continue  # a report or an observation is no diagnosis
            found.lack(at.unread(reference))
        elif target.type == "Condition":
            place = at.place(f"reasonReference[{i}]")
            found.add_concepts(target.data.get("code"), f"{place} → {target.place}.code")
    return found.fact()


def _modifiers(at: OrderAtHand) -> Fact:
    data, found = at.resource.data, CodesTold()
    found.add_concepts(data.get("orderDetail"), at.place("orderDetail"))
    two = frozenset(c for c in found.codes if len(c.value) == _MODIFIER)
    return Fact(two, tuple(found.places) if two else ())


_MODIFIER = 2


def _performer(at: OrderAtHand) -> Fact:
    data, found = at.resource.data, CodesTold()
    found.add_concepts(data.get("performerType"), at.place("performerType"))
    performers = data.get("performer")
    listed = performers if isinstance(performers, list) else [performers]
    for i, reference in enumerate(listed):
        if not isinstance(reference, dict):
            continue
        target, place = at.target(reference), at.place(f"performer[{i}]")
        identifiers = [reference.get("identifier")]
        if target is not None:
            own = target.data.get("identifier")
            identifiers.extend(own if isinstance(own, list) else ())
            found.add_concepts(target.data.get("specialty") or None, f"{place}.specialty")
        for identifier in mappings(identifiers):
            code = canonical_code(text(identifier.get("system")), text(identifier.get("value")))
            if code is not None and code.system == US_NPI:
                found.add(code, place)
        if target is None and not found.codes:
            found.lack(at.unread(reference))
    return found.fact()


def _place_of_service(at: OrderAtHand) -> Fact:
    data, found = at.resource.data, CodesTold()
    found.add_concepts(data.get("locationCode"), at.place("locationCode"))
    for i, reference in enumerate(mappings(data.get("locationReference"))):
        target = at.target(reference)
        if target is None:
            found.lack(at.unread(reference))
        else:
            place = at.place(f"locationReference[{i}]")
            found.add_concepts(target.data.get("type") or None, f"{place}.type")
    return found.fact()


def _word(at: OrderAtHand, element: str, absent: Fact = NOT_TOLD) -> Fact:
    written = at.resource.data.get(element)
    if isinstance(written, str) and written.strip():
        return Fact(written.strip().lower(), (at.place(element),))
    return absent


def _priority(at: OrderAtHand) -> Fact:
    # FHIR R4, ServiceRequest.priority: if missing, normal priority.
    return _word(at, "priority", Fact("routine", (at.place("priority (absent)"),)))


def _quantity(at: OrderAtHand) -> Fact:
    data = at.resource.data
    dispense = data.get("dispenseRequest")
    for element, quantity in (
        ("quantityQuantity", data.get("quantityQuantity")),
        (
            "dispenseRequest.quantity",
            dispense.get("quantity") if isinstance(dispense, dict) else None,
        ),
    ):
        if isinstance(quantity, dict):
            return measured(quantity, "1", at.place(element))
    return NOT_TOLD


def _frequency(at: OrderAtHand) -> Fact:
    timing = at.resource.data.get("occurrenceTiming")
    repeat = timing.get("repeat") if isinstance(timing, dict) else None
    if not isinstance(repeat, dict):
        return NOT_TOLD
    place = (at.place("occurrenceTiming.repeat"),)
    times = decimal(repeat.get("frequency", 1))
    period, unit = decimal(repeat.get("period")), text(repeat.get("periodUnit"))
    rate = None
    if times is not None and period and unit is not None:
        rate = convert(times / period, f"/{unit}", "/d")
    if rate is None:
        return Fact(why=Why.NOT_READABLE, places=place, because="no frequency, period and unit")
    return Fact(rate, place)


def _day_of_service(at: OrderAtHand) -> Fact:
    """Of a service that goes on for a time, its first day; any other day as it is told."""
    day = at.day
    if day.source.startswith(_GOES_ON):
        return Fact(day.earliest, (at.place(day.source),))
    return day_fact(day, at.order.place)


_GOES_ON = ("occurrencePeriod", "occurrenceTiming", "dispenseRequest", "dosageInstruction")
"""Elements whose first and last day are the service's, and not the bounds of one day."""


def _replaces(at: OrderAtHand) -> Fact:
    for element in ("replaces", "priorPrescription", "priorRequest"):
        if at.resource.data.get(element):
            return Fact(True, (at.place(element),))
    return Fact(False, (at.place("replaces (absent)"),))


_STUDY = "http://hl7.org/fhir/StructureDefinition/workflow-researchStudy"
_IN_A_STUDY = frozenset({"candidate", "eligible", "follow-up", "on-study", "on-study-intervention",
                         "on-study-observation", "pending-on-study", "potential-candidate",
                         "screening"})  # fmt: skip
"""ResearchSubject.status of who is in a study, or about to be."""


def _study(at: OrderAtHand) -> Fact:
    """A study that the order belongs to, or in which the call shows the patient."""
    if "extension" in at.resource.data and extensions(at.resource.data, _STUDY):
        return Fact(True, (at.place("extension"),))
    for subject in at.resources.of_type("ResearchSubject"):
        who = reference_of(subject.data.get("individual"))
        if who is None or at.resources.local(who) != at.patient:
            continue
        if subject.data.get("status") in _IN_A_STUDY:
            return Fact(True, (subject.place,))
    return NOT_TOLD


READERS: Mapping[str, Callable[[OrderAtHand], Fact]] = {
    "order.codes": _order_codes,
    "order.modifiers": _modifiers,
    "order.category": lambda at: _codes_at(at, "category"),
    "order.priority": _priority,
    "order.intent": lambda at: _word(at, "intent"),
    QUANTITY: _quantity,
    "order.frequency": _frequency,
    "order.body_site": lambda at: _codes_at(at, "bodySite"),
    "order.reason": _reason,
    "order.performer": _performer,
    "order.place": _place_of_service,
    ORDER_DAY: _day_of_service,
    LAST_DAY: lambda at: last_day_fact(at.day, at.order.place),
    "order.replaces": _replaces,
    "order.study": _study,
}
