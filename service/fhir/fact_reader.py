"""The facts of an order, read from FHIR: each with its place in the request, or why it is unknown.

One function a fact of the table, one a family of those that a policy declares. Each is read when it
is first asked for, and once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import date, datetime, tzinfo
from decimal import Decimal, InvalidOperation
from itertools import islice, product
from typing import Any

from cards.coverage_information.reader import (
    WrittenCoverageInformation,
    read_coverage_information,
)
from service.decision.conditions import shifted
from service.decision.coverage import Coverage, CoverageFinding
from service.decision.evaluate import day_fact, last_day_fact
from service.decision.facts import (
    APPROVED,
    LAST_DAY,
    NOT_TOLD,
    NOTHING,
    ORDER_DAY,
    UNREAD,
    Between,
    Fact,
    FactKind,
    FactSource,
    FactSpec,
    Family,
    Value,
    Why,
)
from service.decision.order import Code, Order, ServiceDay
from service.decision.policy import Program
from service.decision.programs import NO_COVERAGE
from service.decision.units import convert
from service.fhir.coverages import coverage_class
from service.fhir.dates import day_range, period_range
from service.fhir.document import Resource
from service.fhir.elements import codings, extensions, mappings, reference_of, text
from service.fhir.encounters import EncounterClasses, encounters_of, urgency_of
from service.fhir.past_care import Coded, PastCare, past_care
from service.fhir.prior_decisions import DecisionReader, ToldDecision
from service.fhir.questionnaire_responses import (
    Answers,
    answers_of,
    form_canonical,
    named_by,
    orders_of,
)
from service.fhir.resources import Resources
from service.fhir.systems import US_NPI, canonical_code

FormOf = Callable[[str], str | None]
"""The id of the form that a canonical names, if it is one of ours."""


@dataclass(slots=True)
class FhirFacts:
    """The decision's `Facts` of one order under one coverage.

    `patient` is "Patient/id", `day` the days that count for the order. `searched` are the
    types and codes that the EHR was searched for to the full; `unreachable` the types and
    references ("Condition/1") that it did not give. `form_of` tells our forms.
    """

    order: Order
    resource: Resource
    finding: CoverageFinding
    resources: Resources
    patient: str
    day: ServiceDay
    today: date
    form_of: FormOf
    encounter_id: str | None = None
    classes: EncounterClasses = field(default_factory=EncounterClasses)
    searched: Set[tuple[str, str]] = frozenset()
    unreachable: Set[str] = frozenset()
    _known: dict[str, Fact] = field(default_factory=dict)
    _places: dict[str, str] = field(default_factory=dict)
    _decisions: Sequence[ToldDecision] | None = None
    _own_codes: frozenset[Code] | None = None

    def get(self, spec: FactSpec) -> Fact:
        """The fact with its value or the reason for which it is unknown; never an exception."""
        fact = self._known.get(spec.name)
        if fact is None:
            source = spec.source
            if source is not None:
                fact = _FAMILIES[source.family](self, spec, source)
            else:
                fact = READERS[spec.name](self)
            self._known[spec.name] = fact
        return fact

    def place(self, element: str) -> str:
        """The path of an element of the order in the request."""
        return f"{self.order.place}.{element}"

    def place_in(self, resource: Resource, element: str) -> str:
        """The path of an element of another resource."""
        place = self._places.get(resource.reference)
        if place is None:
            place = self._places[resource.reference] = resource.place
        return f"{place}.{element}"

    def target(self, reference: object) -> Resource | None:
        """The target of a Reference of the order; None if it is not at hand."""
        written = reference_of(reference)
        return self.resources.get(written) if written else None

    def unread(self, reference: object) -> Fact:
        """The fact that a reference leads to, where that is not at hand."""
        written = reference_of(reference)
        local = self.resources.local(written) if written else ""
        kind = local.partition("/")[0]
        if local in self.unreachable:
            return Fact(why=Why.NOT_REACHABLE, because=f"the {kind} could not be read")
        return Fact(why=Why.NOT_TOLD, because="what it refers to did not come along")

    @property
    def own_codes(self) -> frozenset[Code]:
        """The order's readable codes."""
        if self._own_codes is None:
            found = (c.code for c in self.order.codings)
            self._own_codes = frozenset(code for code in found if code is not None)
        return self._own_codes

    @property
    def coverage(self) -> Coverage | None:
        return self.finding.usable

    @property
    def decision_reader(self) -> DecisionReader:
        """The reader of the payer's decisions on this order."""
        return DecisionReader(
            self.order, self.resource, self.resources, self.patient, self.day, self.coverage
        )

    def decisions(self) -> Sequence[ToldDecision]:
        """The newest decisions before the service; several contradict each other."""
        if self._decisions is None:
            self._decisions = self.decision_reader.decisions()
        return self._decisions

    def statements(self) -> Iterator[WrittenCoverageInformation]:
        """The order's coverage information, without that on another coverage, or on none.

        What names no coverage may be any payer's word: no approval is taken from it.
        """
        chosen = self.finding.coverage
        for info in read_coverage_information(self.resource.data):
            on = self.resources.local(info.coverage) if info.coverage else None
            if chosen is None or on == chosen.reference:
                yield info


# --- codes


def _codes_at(facts: FhirFacts, *elements: str) -> Fact:
    """The codes of CodeableConcepts in elements of the order."""
    data, found = facts.resource.data, _Codes()
    for element in elements:
        found.add_concepts(data.get(element), facts.place(element))
    return found.fact()


@dataclass(slots=True)
class _Codes:
    """Codes as they are gathered, and what of them could not be read."""

    codes: set[Code] = field(default_factory=set)
    places: list[str] = field(default_factory=list)
    lacking: Fact | None = None
    told: bool = False

    def add_concepts(self, written: object, place: str) -> None:
        listed = isinstance(written, list)
        for i, concept in enumerate(written if isinstance(written, list) else [written]):
            if isinstance(concept, Mapping):
                self._add(concept, f"{place}[{i}]" if listed else place)

    def add(self, code: Code, place: str) -> None:
        self.told = True
        self.codes.add(code)
        self.places.append(place)

    def lack(self, fact: Fact) -> None:
        self.told = True
        self.lacking = self.lacking or fact

    def _add(self, concept: Mapping[str, Any], place: str) -> None:
        read = [c for coding in mappings(concept.get("coding")) if (c := _code(coding))]
        for code in read:
            self.add(code, place)
        if not read:
            because = "it is told without a code that can be read"
            self.lack(Fact(why=Why.NOT_READABLE, places=(place,), because=because))

    def fact(self, absent: Fact = NOT_TOLD) -> Fact:
        if not self.told:
            return absent
        places = tuple(dict.fromkeys(self.places))
        if self.lacking is None:
            return Fact(frozenset(self.codes), places)
        value = frozenset(self.codes) if self.codes else None
        lacking = self.lacking
        return Fact(value, places or lacking.places, lacking.why, lacking.because)


def _order_codes(facts: FhirFacts) -> Fact:
    found = _Codes()
    for coding in facts.order.codings:
        if coding.code is not None:
            found.add(coding.code, coding.place)
        else:
            found.lack(Fact(why=Why.NOT_READABLE, places=(coding.place,)))
    return found.fact()


def _reason(facts: FhirFacts) -> Fact:
    data, found = facts.resource.data, _Codes()
    found.add_concepts(data.get("reasonCode"), facts.place("reasonCode"))
    for i, reference in enumerate(mappings(data.get("reasonReference"))):
        target = facts.target(reference)
        if target is None:
            if not str(reference.get("reference", "")).startswith("Condition/"):
                continue  # a report or an observation is no diagnosis
            found.lack(facts.unread(reference))
        elif target.type == "Condition":
            place = facts.place(f"reasonReference[{i}]")
            found.add_concepts(target.data.get("code"), f"{place} → {target.place}.code")
    return found.fact()


def _modifiers(facts: FhirFacts) -> Fact:
    data, found = facts.resource.data, _Codes()
    found.add_concepts(data.get("orderDetail"), facts.place("orderDetail"))
    two = frozenset(c for c in found.codes if len(c.value) == _MODIFIER)
    return Fact(two, tuple(found.places) if two else ())


_MODIFIER = 2


def _performer(facts: FhirFacts) -> Fact:
    data, found = facts.resource.data, _Codes()
    found.add_concepts(data.get("performerType"), facts.place("performerType"))
    performers = data.get("performer")
    listed = performers if isinstance(performers, list) else [performers]
    for i, reference in enumerate(listed):
        if not isinstance(reference, Mapping):
            continue
        target, place = facts.target(reference), facts.place(f"performer[{i}]")
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
            found.lack(facts.unread(reference))
    return found.fact()


def _place_of_service(facts: FhirFacts) -> Fact:
    data, found = facts.resource.data, _Codes()
    found.add_concepts(data.get("locationCode"), facts.place("locationCode"))
    for i, reference in enumerate(mappings(data.get("locationReference"))):
        target = facts.target(reference)
        if target is None:
            found.lack(facts.unread(reference))
        else:
            place = facts.place(f"locationReference[{i}]")
            found.add_concepts(target.data.get("type") or None, f"{place}.type")
    return found.fact()


# --- single values of the order


def _word(facts: FhirFacts, element: str, absent: Fact = NOT_TOLD) -> Fact:
    written = facts.resource.data.get(element)
    if isinstance(written, str) and written.strip():
        return Fact(written.strip().lower(), (facts.place(element),))
    return absent


def _priority(facts: FhirFacts) -> Fact:
    # FHIR R4, ServiceRequest.priority: if missing, normal priority.
    return _word(facts, "priority", Fact("routine", (facts.place("priority (absent)"),)))


def _quantity(facts: FhirFacts) -> Fact:
    data = facts.resource.data
    dispense = data.get("dispenseRequest")
    for element, quantity in (
        ("quantityQuantity", data.get("quantityQuantity")),
        (
            "dispenseRequest.quantity",
            dispense.get("quantity") if isinstance(dispense, Mapping) else None,
        ),
    ):
        if isinstance(quantity, Mapping):
            return _measured(quantity, "1", facts.place(element))
    return NOT_TOLD


def _frequency(facts: FhirFacts) -> Fact:
    timing = facts.resource.data.get("occurrenceTiming")
    repeat = timing.get("repeat") if isinstance(timing, Mapping) else None
    if not isinstance(repeat, Mapping):
        return NOT_TOLD
    place = (facts.place("occurrenceTiming.repeat"),)
    times = _decimal(repeat.get("frequency", 1))
    period, unit = _decimal(repeat.get("period")), text(repeat.get("periodUnit"))
    rate = None
    if times is not None and period and unit is not None:
        rate = convert(times / period, f"/{unit}", "/d")
    if rate is None:
        return Fact(why=Why.NOT_READABLE, places=place, because="no frequency, period and unit")
    return Fact(rate, place)


def _day_of_service(facts: FhirFacts) -> Fact:
    """Of a service that goes on for a time, its first day; any other day as it is told."""
    day = facts.day
    if day.source.startswith(_GOES_ON):
        return Fact(day.earliest, (facts.place(day.source),))
    return day_fact(day, facts.order.place)


_GOES_ON = ("occurrencePeriod", "occurrenceTiming", "dispenseRequest", "dosageInstruction")
"""Elements whose first and last day are the service's, and not the bounds of one day."""


def _replaces(facts: FhirFacts) -> Fact:
    for element in ("replaces", "priorPrescription", "priorRequest"):
        if facts.resource.data.get(element):
            return Fact(True, (facts.place(element),))
    return Fact(False, (facts.place("replaces (absent)"),))


_STUDY = "http://hl7.org/fhir/StructureDefinition/workflow-researchStudy"
_IN_A_STUDY = frozenset({"candidate", "eligible", "follow-up", "on-study", "on-study-intervention",
                         "on-study-observation", "pending-on-study", "potential-candidate",
                         "screening"})  # fmt: skip
"""ResearchSubject.status of who is in a study, or about to be."""


def _study(facts: FhirFacts) -> Fact:
    """A study that the order belongs to, or in which the call shows the patient."""
    if extensions(facts.resource.data, _STUDY):
        return Fact(True, (facts.place("extension"),))
    for subject in facts.resources.of_type("ResearchSubject"):
        who = reference_of(subject.data.get("individual"))
        if who is None or facts.resources.local(who) != facts.patient:
            continue
        if subject.data.get("status") in _IN_A_STUDY:
            return Fact(True, (subject.place,))
    return NOT_TOLD


# --- patient, coverage, encounter


def _patient(facts: FhirFacts) -> Resource | None:
    found = facts.resources.get(facts.patient)
    return found if found is not None and found.type == "Patient" else None


def _no_patient(facts: FhirFacts) -> Fact:
    return facts.unread({"reference": facts.patient})


def _birth(facts: FhirFacts) -> Fact:
    patient = _patient(facts)
    if patient is None:
        return _no_patient(facts)
    written = patient.data.get("birthDate")
    return _day_told(written, facts.place_in(patient, "birthDate"), None) if written else NOT_TOLD


def _gender(facts: FhirFacts) -> Fact:
    patient = _patient(facts)
    if patient is None:
        return _no_patient(facts)
    written = text(patient.data.get("gender"))
    return Fact(written, (facts.place_in(patient, "gender"),)) if written else NOT_TOLD


def _deceased(facts: FhirFacts) -> Fact:
    patient = _patient(facts)
    if patient is None:
        return _no_patient(facts)
    boolean = patient.data.get("deceasedBoolean")
    died = boolean is True or bool(patient.data.get("deceasedDateTime"))
    return Fact(died, (facts.place_in(patient, "deceased[x]"),))


def _program(facts: FhirFacts) -> Fact:
    found = facts.coverage.program if facts.coverage else NO_COVERAGE
    if found.program is Program.UNKNOWN:
        why = Why.CONTRADICTORY if found.contradictory else Why.NOT_TOLD
        return Fact(why=why, because=found.evidence)
    return Fact(found.program.value, (found.source,))


def _of_coverage(facts: FhirFacts) -> Fact:
    return Fact(why=Why.NOT_TOLD, because="no single coverage is at hand")


def _coverage_type(facts: FhirFacts) -> Fact:
    coverage = facts.coverage
    if coverage is None:
        return _of_coverage(facts)
    if not coverage.type_codes:
        return NOT_TOLD
    return Fact(frozenset(coverage.type_codes), (f"{coverage.place}.type",))


def _beside(facts: FhirFacts) -> Fact:
    """The types of the coverages at hand that are in force beside the one of the decision."""
    chosen, found = facts.coverage, _Codes()
    if chosen is None:
        return _of_coverage(facts)

    def read() -> Fact:
        for other, first, last in _active_coverages(facts):
            in_force = first <= facts.day.latest and facts.day.earliest <= last
            if in_force and other.reference != chosen.reference:
                found.add_concepts(other.data.get("type"), facts.place_in(other, "type"))
        return found.fact()

    # Orders of one day under one coverage share it.
    return facts.resources.once(("beside", chosen.reference, facts.day), read)


def _active_coverages(facts: FhirFacts) -> Sequence[tuple[Resource, date, date]]:
    """The patient's active coverages at hand, with the days of their periods."""
    resources, patient = facts.resources, facts.patient

    def read() -> Iterator[tuple[Resource, date, date]]:
        for coverage in resources.of_type("Coverage"):
            data = coverage.data
            who = reference_of(data.get("beneficiary"))
            active = data.get("status") == "active"
            if active and who is not None and resources.local(who) == patient:
                first, last = period_range(data.get("period"), resources.zone)
                yield coverage, first or date.min, last or date.max

    return resources.once(("active coverages", patient), lambda: list(read()))


def _coverage_class(facts: FhirFacts, kind: str) -> Fact:
    coverage = facts.coverage
    at_hand = facts.resources.get(coverage.reference) if coverage else None
    return coverage_class(at_hand, kind) if at_hand is not None else _of_coverage(facts)


def _in_force(facts: FhirFacts) -> Fact:
    coverage = facts.finding.coverage
    if coverage is None:
        return _of_coverage(facts)
    place = (f"{coverage.place}.period",)
    if coverage.status not in (None, "active"):
        return Fact(False, (f"{coverage.place}.status",))
    days = (facts.day.earliest, facts.day.latest)
    holds = {(coverage.starts or date.min) <= day <= (coverage.ends or date.max) for day in days}
    if len(holds) > 1:
        return Fact(why=Why.NOT_READABLE, places=place, because="the day lies between two days")
    return Fact(holds.pop(), place)


def _outlasts(facts: FhirFacts) -> Fact:
    coverage, told = facts.coverage, facts.order.service_day
    if coverage is None:
        return _of_coverage(facts)
    place = (f"{coverage.place}.period",)
    if coverage.ends is None:
        return Fact(True, place)
    if told is not None and told.open_end:
        return Fact(why=Why.NOT_TOLD, places=place, because="the order's end is open")
    return Fact(facts.day.latest <= coverage.ends, place)


_PRIORITIES = {
    "EM": "emergency", "UR": "urgent", "S": "stat", "A": "asap", "R": "routine", "EL": "elective",
}  # fmt: skip
"""Codes of v3 ActPriority; others stay as they are written, in small letters."""


def _encounters(facts: FhirFacts) -> Iterator[Resource]:
    for reference in encounters_of(facts.resource, facts.encounter_id):
        found = facts.resources.get(reference)
        if found is not None and found.type == "Encounter":
            yield found


def _encounter_class(facts: FhirFacts) -> Fact:
    for encounter in _encounters(facts):
        meant = facts.classes.of(encounter)
        if meant is not None:
            return Fact(meant.value, (f"{encounter.place}.class",))
    return _encounter(facts, "class", {})


def _urgency(facts: FhirFacts) -> Fact:
    """Urgency of the care; routine where an encounter came along that tells nothing else."""
    told = urgency_of(facts.resource, facts.resources, facts.encounter_id, facts.classes)
    if told is not None:
        return Fact(told.urgency.value, (told.place,))
    places = tuple(e.place for e in _encounters(facts))
    return Fact("routine", places) if places else NOT_TOLD


def _encounter(facts: FhirFacts, element: str, words: Mapping[str, str]) -> Fact:
    for encounter in _encounters(facts):
        written = encounter.data.get(element)
        codes = [written] if isinstance(written, str) else _written_codes(written)
        for code in codes:
            return Fact(
                words.get(code.upper(), code.lower()), (facts.place_in(encounter, element),)
            )
    for reference in encounters_of(facts.resource, facts.encounter_id):
        if facts.resources.get(reference) is None:
            return facts.unread({"reference": reference})
    return NOT_TOLD


def _written_codes(written: object) -> list[str]:
    found = [written] if isinstance(written, Mapping) and "code" in written else codings(written)
    return [c for coding in found if (c := text(coding.get("code")))]


# --- what was before


def _earlier_answer(facts: FhirFacts) -> Fact:
    reference = facts.finding.coverage.reference if facts.finding.coverage else None
    for carried in facts.order.coverage_information:
        if carried.coverage == reference and carried.covered:
            return Fact(carried.covered, (facts.place("extension"),))
    return Fact(NOTHING)


def _decision(facts: FhirFacts) -> Fact:
    """The payer's decision before the service, as far as the call tells it."""
    for info in facts.statements():
        if _is_satisfied(info):
            return Fact(APPROVED, (facts.place("extension"),))
    found = facts.decisions()
    if len(found) > 1:
        places = tuple(d.place for d in found)
        return Fact(why=Why.CONTRADICTORY, places=places, because="decisions differ")
    for decision in found:
        return Fact(decision.said, (decision.place,))
    if _names_an_unread_decision(facts):
        return Fact(UNREAD, (facts.place("insurance"),))
    return Fact(NOTHING)


def _decision_number(facts: FhirFacts) -> Fact:
    for decision in facts.decisions()[:1]:
        if decision.number:
            return Fact(decision.number, (decision.place,))
    return Fact(NOTHING)


def _decision_day(facts: FhirFacts) -> Fact:
    for decision in facts.decisions()[:1]:
        if decision.made:
            return _day_told(decision.made, f"{decision.place}.created", facts.resources.zone)
    return Fact(NOTHING)


def _approval(facts: FhirFacts) -> Fact:
    for info in facts.statements():
        for part in info.parts:
            if part.url == "satisfied-pa-id" and part.text:
                return Fact(part.text, (facts.place("extension"),))
    decision = _decision(facts)
    if decision.value == UNREAD:
        return _unread_decision(facts)
    if not decision.known:
        return decision
    return _decision_number(facts) if decision.value == APPROVED else Fact(NOTHING)


def _is_approved(facts: FhirFacts) -> Fact:
    decision = _decision(facts)
    if decision.value == UNREAD:
        return _unread_decision(facts)
    if not decision.known:
        return decision
    return Fact(
        decision.value == APPROVED or _approval(facts).value is not NOTHING, decision.places
    )


def _is_satisfied(info: WrittenCoverageInformation) -> bool:
    return any(
        (part.url == "pa-needed" and part.value == "satisfied")
        or (part.url == "satisfied-pa-id" and part.text)
        for part in info.parts
    )


def _names_an_unread_decision(facts: FhirFacts) -> bool:
    return None in facts.decision_reader.named()


def _unread_decision(facts: FhirFacts) -> Fact:
    for reference in mappings(facts.resource.data.get("insurance")):
        written = reference_of(reference) or ""
        if "ClaimResponse/" in written and facts.target(reference) is None:
            return facts.unread(reference)
    return Fact(NOTHING)


# --- facts that a policy declares


def _observation(facts: FhirFacts, spec: FactSpec, source: FactSource) -> Fact:
    """The newest value of the time that counts; two that differ at one time contradict.

    Orders of one day share it.
    """
    own = facts.own_codes if source.codes is None else None
    key = ("observation", id(spec), facts.day, own)
    found = facts.resources.once(key, lambda: _newest_value(facts, spec, source))
    return found or _none_found(facts, source, NOT_TOLD, "Observation")


def _newest_value(facts: FhirFacts, spec: FactSpec, source: FactSource) -> Fact | None:
    newest: tuple[tuple[date, datetime], Fact] | None = None
    for observed, part in _past_care(facts, "Observation", source):
        days = observed.days
        if observed.status not in ("final", "amended", "corrected"):
            continue
        if days is None or not _counts(days, source, facts) or days[1] > facts.day.latest:
            continue
        when = days[1], observed.instant
        value = part.data.get("valueQuantity")
        told = _measured(value, spec.unit or "1", f"{part.place}.valueQuantity")
        if newest is None or when > newest[0]:
            newest = when, told
        elif when == newest[0] and told.value != newest[1].value:
            places = (*newest[1].places, *told.places)
            newest = when, Fact(None, places, Why.CONTRADICTORY, "values of one time differ")
    return newest[1] if newest is not None else None


def _procedure(facts: FhirFacts, spec: FactSpec, source: FactSource) -> Fact:
    done = (
        care
        for care, _ in _past_care(facts, "Procedure", source)
        if care.status in ("completed", "in-progress")
    )
    found = _latest(facts, done, source)
    return found or _none_found(facts, source, _none_of("Procedure"), "Procedure")


_ORDERS = ("ServiceRequest", "DeviceRequest")


def _earlier_order(facts: FhirFacts, spec: FactSpec, source: FactSource) -> Fact:
    orders = (
        care
        for kind in _ORDERS
        for care, _ in _past_care(facts, kind, source)
        if care.status in ("active", "completed")
        and care.resource.reference != facts.order.reference
    )
    found = _latest(facts, orders, source)
    return found or _none_found(facts, source, _none_of("ServiceRequest"), *_ORDERS)


def _none_of(kind: str) -> Fact:
    return Fact(NOTHING, (f"{kind}: none found",))


def _latest(facts: FhirFacts, found: Iterable[PastCare], source: FactSource) -> Fact | None:
    """The last day before the service, of those that count; None where there is none of them.

    A day told as a month or a year, or not at all, leaves between which days the last one lies.
    """
    low, high, place, undated = date.min, date.min, "", ""
    for care in found:
        if care.days is None:
            undated = undated or care.resource.place
        elif _counts(care.days, source, facts):
            low = max(low, care.days[0])
            if care.days[1] > high:
                high, place = care.days[1], care.resource.place
    if undated and not place:
        return Fact(why=Why.NOT_READABLE, places=(undated,), because="it has no day")
    if not place:
        return None
    if undated:
        narrowed = Between(low, max(high, facts.day.latest))
        return Fact(narrowed, (place, undated), Why.NOT_READABLE, "one of them has no day")
    if low < high:
        because = "it is told as a month or a year"
        return Fact(Between(low, high), (place,), Why.NOT_READABLE, because)
    return Fact(high, (place,))


def _counts(days: tuple[date, date], source: FactSource, facts: FhirFacts) -> bool:
    """Whether days are before the service or on its day, and not longer ago than what counts."""
    return days[0] <= facts.day.latest and not _is_too_old(days, source, facts)


def _is_too_old(days: tuple[date, date], source: FactSource, facts: FhirFacts) -> bool:
    bounded = source.months or source.days
    first = shifted(facts.day.earliest, -source.months, -source.days) if bounded else date.min
    return days[1] < first


def _past_care(facts: FhirFacts, kind: str, source: FactSource) -> Sequence[Coded]:
    """The patient's resources of a type with a code of the fact, or of the order itself."""
    found = past_care(facts.resources, facts.patient, kind)
    if source.codes is None:
        return found.of_codes(facts.own_codes)
    return found.held_by(source.codes, facts.day.earliest)


def _answer(facts: FhirFacts, spec: FactSpec, source: FactSource) -> Fact:
    newest: tuple[str, Fact] | None = None
    named = {facts.resources.local(r) for r in named_by(facts.resource.data)}
    for response in facts.resources.of_type("QuestionnaireResponse"):
        data = response.data
        canonical = form_canonical(data)
        if canonical is None or facts.form_of(canonical) != source.questionnaire:
            continue
        subject = reference_of(data.get("subject"))
        if subject is None or facts.resources.local(subject) != facts.patient:
            continue
        if data.get("status") not in ("completed", "amended"):
            continue
        of_order = facts.order.reference in _orders_of(response, facts)
        if not of_order and response.reference not in named:
            continue
        authored = day_range(data.get("authored"), facts.resources.zone)
        if authored is not None and _is_too_old(authored, source, facts):
            continue
        values = _answers_of(response, facts).get(source.link_id or "", [])
        written = text(data.get("authored")) or ""
        if newest is None or written >= newest[0]:
            place = f"{response.place}.item[linkId={source.link_id}]"
            newest = written, answered(spec, values, place, facts.resources.zone)
    if newest is not None:
        return newest[1]
    unread = "QuestionnaireResponse" in facts.unreachable
    return Fact(why=Why.NOT_REACHABLE if unread else Why.NOT_TOLD, because="the form is not back")


def _orders_of(response: Resource, facts: FhirFacts) -> frozenset[str]:
    resources = facts.resources
    key = ("orders", response.reference)
    return resources.once(key, lambda: orders_of(response.data, resources))


def _answers_of(response: Resource, facts: FhirFacts) -> Answers:
    return facts.resources.once(("answers", response.reference), lambda: answers_of(response.data))


def answered(spec: FactSpec, values: list[Any], place: str, zone: tzinfo) -> Fact:
    """The fact that an item's answers tell; `place` is the item's in the request, `zone` the
    service's time zone.
    """
    if not values:
        return Fact(why=Why.NOT_TOLD, places=(place,), because="the form leaves it open")
    value = _answer_value(spec, values, zone)
    if value is None:
        return Fact(why=Why.NOT_READABLE, places=(place,))
    return Fact(value, (place,))


def _answer_value(spec: FactSpec, values: list[Any], zone: tzinfo) -> Value | None:
    first = values[0]
    if spec.kind is FactKind.CODES:
        codes = [c for v in values if isinstance(v, Mapping) and (c := _code(v))]
        return frozenset(codes) if len(codes) == len(values) else None
    if spec.kind is FactKind.FLAG:
        return first if isinstance(first, bool) else None
    if spec.kind is FactKind.CHOICE:
        return text(first.get("code")) if isinstance(first, Mapping) else text(first)
    if spec.kind is FactKind.DAY:
        days = day_range(first, zone)
        return days[0] if days and days[0] == days[1] else None
    if isinstance(first, Mapping):
        return _measured(first, spec.unit or "1", "").value
    return _decimal(first)


MOST_CODES = 5
"""Codes that a fact is searched by; of a larger value set nothing is searched."""


def searched_by(source: FactSource, facts: FhirFacts) -> tuple[str, ...]:
    """The codes that the EHR is searched by for a fact, none where it is not searched for.

    They are without their systems: a bar has a meaning in a search.
    """
    if source.codes is None:
        own = (c.code.value for c in facts.order.codings if c.code is not None)
    elif next(source.codes.spans_on(facts.day.earliest), None) is not None:
        return ()
    else:
        own = (code.value for code in source.codes.codes_on(facts.day.earliest))
    codes = tuple(dict.fromkeys(islice(own, MOST_CODES + 1)))
    return codes if len(codes) <= MOST_CODES else ()


def _none_found(facts: FhirFacts, source: FactSource, absent: Fact, *kinds: str) -> Fact:
    """The fact where no resource is at hand: none found, not reachable, or not told.

    None is found only where the EHR was searched for every type, by every code.
    """
    codes = searched_by(source, facts)
    if codes and facts.searched >= set(product(kinds, codes)):
        return absent
    unread = next((kind for kind in kinds if kind in facts.unreachable), None)
    if unread is not None:
        return Fact(why=Why.NOT_REACHABLE, because=f"{unread} could not be read")
    return NOT_TOLD


# --- FHIR's data types


def _measured(quantity: object, unit: str, place: str) -> Fact:
    """The number of a Quantity in a unit."""
    value = _decimal(quantity.get("value")) if isinstance(quantity, Mapping) else None
    if not isinstance(quantity, Mapping) or value is None:
        return Fact(why=Why.NOT_READABLE, places=(place,), because="it has no number")
    if quantity.get("comparator"):
        return Fact(why=Why.NOT_READABLE, places=(place,), because="it is less or more than told")
    written = text(quantity.get("code")) or text(quantity.get("unit"))
    if written is None or unit == "1":
        return Fact(value, (place,))
    converted = convert(value, written, unit)
    if converted is None:
        return Fact(why=Why.NOT_READABLE, places=(place,), because=f"its unit is not {unit}")
    return Fact(converted, (place,))


def _day_told(written: object, place: str, zone: tzinfo | None) -> Fact:
    days = day_range(written, zone)
    if days is None:
        return Fact(why=Why.NOT_READABLE, places=(place,), because="it is no date")
    if days[0] == days[1]:
        return Fact(days[0], (place,))
    return Fact(Between(*days), (place,), Why.NOT_READABLE, "it is told as a month or a year")


def _decimal(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _code(coding: Mapping[str, Any]) -> Code | None:
    return canonical_code(text(coding.get("system")), text(coding.get("code")))


READERS: Mapping[str, Callable[[FhirFacts], Fact]] = {
    "order.codes": _order_codes,
    "order.modifiers": _modifiers,
    "order.category": lambda f: _codes_at(f, "category"),
    "order.priority": _priority,
    "order.intent": lambda f: _word(f, "intent"),
    "order.quantity": _quantity,
    "order.frequency": _frequency,
    "order.body_site": lambda f: _codes_at(f, "bodySite"),
    "order.reason": _reason,
    "order.performer": _performer,
    "order.place": _place_of_service,
    ORDER_DAY: _day_of_service,
    LAST_DAY: lambda f: last_day_fact(f.day, f.order.place),
    "order.replaces": _replaces,
    "order.study": _study,
    "patient.age": _birth,
    "patient.gender": _gender,
    "patient.deceased": _deceased,
    "coverage.program": _program,
    "coverage.type": _coverage_type,
    "coverage.beside": _beside,
    "coverage.plan": lambda f: _coverage_class(f, "plan"),
    "coverage.group": lambda f: _coverage_class(f, "group"),
    "coverage.in_force": _in_force,
    "coverage.outlasts_order": _outlasts,
    "encounter.class": _encounter_class,
    "care.urgency": _urgency,
    **{f"member.{name}": lambda _: NOT_TOLD for name in ("deceased", "hospice", "qmb")},
    "encounter.status": lambda f: _encounter(f, "status", {}),
    "encounter.priority": lambda f: _encounter(f, "priority", _PRIORITIES),
    "earlier.answer": _earlier_answer,
    "earlier.approval": _approval,
    "earlier.approved": _is_approved,
    "earlier.decision": _decision,
    "earlier.decision_number": _decision_number,
    "earlier.decision_day": _decision_day,
}
"""How each fact of the decision's table is read."""

_FAMILIES: Mapping[Family, Callable[[FhirFacts, FactSpec, FactSource], Fact]] = {
    Family.OBSERVATION: _observation,
    Family.PROCEDURE: _procedure,
    Family.ORDER: _earlier_order,
    Family.ANSWER: _answer,
}
