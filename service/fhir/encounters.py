"""The kind and the urgency of care: read from encounters and from the order, however coded.

`EncounterClasses` is the one table of class codes; `urgency_of` the one answer to whether care can
wait. Decisions take it from here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from service.decision.order import Code
from service.fhir.document import Resource
from service.fhir.resources import Resources
from service.fhir.systems import CPT, canonical_code


class CareClass(StrEnum):
    """Meaning of an encounter's class."""

    EMERGENCY = "emergency"
    INPATIENT = "inpatient"
    OBSERVATION = "observation"
    SHORT_STAY = "short-stay"
    AMBULATORY = "ambulatory"
    HOME = "home"
    VIRTUAL = "virtual"
    FIELD = "field"


class Urgency(StrEnum):
    """Urgency of care without an advance notice (CMS: none in emergency or urgent care)."""

    EMERGENCY = "emergency"
    URGENT = "urgent"


class ToldUrgency(NamedTuple):
    """An urgency, and the element that tells it."""

    urgency: Urgency
    place: str


_CLASSES: Mapping[str, CareClass] = {
    # v3 ActEncounterCode
    "EMER": CareClass.EMERGENCY,
    "IMP": CareClass.INPATIENT,
    "ACUTE": CareClass.INPATIENT,
    "NONAC": CareClass.INPATIENT,
    "PRENC": CareClass.AMBULATORY,
    "OBSENC": CareClass.OBSERVATION,
    "SS": CareClass.SHORT_STAY,
    "AMB": CareClass.AMBULATORY,
    "HH": CareClass.HOME,
    "VR": CareClass.VIRTUAL,
    "FLD": CareClass.FIELD,
    # v2 table 0004
    "E": CareClass.EMERGENCY,
    "I": CareClass.INPATIENT,
    "O": CareClass.AMBULATORY,
    "P": CareClass.AMBULATORY,
    "R": CareClass.AMBULATORY,
    "B": CareClass.INPATIENT,
    # FHIR DSTU2
    "EMERGENCY": CareClass.EMERGENCY,
    "INPATIENT": CareClass.INPATIENT,
    "OUTPATIENT": CareClass.AMBULATORY,
    "AMBULATORY": CareClass.AMBULATORY,
    "HOME": CareClass.HOME,
    "FIELD": CareClass.FIELD,
    "VIRTUAL": CareClass.VIRTUAL,
}
_V2_TABLE = re.compile(r"v2[-/]0004|2\.16\.840\.1\.113883\.(12\.4|18\.5)\b", re.IGNORECASE)
"""The systems of v2 table 0004: elsewhere its single letters mean something else."""

_EMERGENCY_WORDS = re.compile(r"(emergency|accident and emergency)\b", re.IGNORECASE)
"""How a display begins that names emergency care; "Non-emergency" does not."""

_EMERGENCY_TYPES = frozenset(
    {
        *(Code(CPT, str(code)) for code in range(99281, 99286)),
        Code("http://snomed.info/sct", "4525004"),
        Code("http://snomed.info/sct", "50849002"),
    }
)
"""Encounter.type of a visit to an emergency department: CPT's codes, and SNOMED CT's."""

_ENCOUNTER_PRIORITIES: Mapping[str, Urgency] = {
    # v3 ActPriority
    "EM": Urgency.EMERGENCY,
    "UR": Urgency.URGENT,
    "S": Urgency.URGENT,
    "A": Urgency.URGENT,
    # words met instead of codes
    "EMERGENCY": Urgency.EMERGENCY,
    "STAT": Urgency.URGENT,
    "URGENT": Urgency.URGENT,
    "ASAP": Urgency.URGENT,
}
_ORDER_PRIORITIES: Mapping[str, Urgency] = {
    "stat": Urgency.URGENT,
    "asap": Urgency.URGENT,
    "urgent": Urgency.URGENT,
}
"""FHIR R4, RequestPriority."""


@dataclass(frozen=True, slots=True)
class EncounterClasses:
    """Class codes and what they mean. `own` are codes of an EHR's own systems."""

    own: Mapping[Code, CareClass] = field(default_factory=dict)

    def of(self, encounter: Resource) -> CareClass | None:
        """The meaning of an encounter's class; None for an unknown class."""
        return self.meaning(encounter.data.get("class"))

    def meaning(self, written: object) -> CareClass | None:
        """The meaning of a class: a Coding, or an element with codings."""
        for coding in _codings(written):
            system, code = _text(coding.get("system")), _text(coding.get("code"))
            meant = self.own.get(canonical_code(system, code) or Code("", ""))
            meant = meant or _known(system, code)
            if meant is not None:
                return meant
            if _EMERGENCY_WORDS.match(_text(coding.get("display")) or ""):
                return CareClass.EMERGENCY
        return None


def own_classes(pairs: Iterable[str]) -> EncounterClasses:
    """The classes of EHRs' own systems, from "SYSTEM|CODE=emergency".

    Raises ValueError with what is expected.
    """
    own: dict[Code, CareClass] = {}
    for pair in pairs:
        written, _, meant = pair.rpartition("=")
        system, _, value = written.rpartition("|")
        code = canonical_code(system, value)
        if code is None or meant not in set(CareClass):
            words = ", ".join(CareClass)
            raise ValueError(f"expected SYSTEM|CODE=CLASS, with one of {words}")
        own[code] = CareClass(meant)
    return EncounterClasses(own)


def _known(system: str | None, code: str | None) -> CareClass | None:
    if code is None:
        return None
    if len(code) == 1 and system is not None and not _V2_TABLE.search(system):
        return None
    return _CLASSES.get(code.upper())


def encounters_of(order: Resource, encounter_id: str | None) -> Iterator[str]:
    """References of the encounters that an order belongs to: the context's, and its own.

    Some hooks' contexts have none (order-dispatch); elsewhere it is optional.
    """
    of_context = f"Encounter/{encounter_id.removeprefix('Encounter/')}" if encounter_id else None
    if of_context:
        yield of_context
    own = order.data.get("encounter")
    reference = own.get("reference") if isinstance(own, Mapping) else None
    if isinstance(reference, str) and reference != of_context:
        yield reference


def urgency_of(
    order: Resource,
    resources: Resources,
    encounter_id: str | None,
    classes: EncounterClasses,
) -> ToldUrgency | None:
    """Whether the care is an emergency or urgent: by class, type and priority of its encounters at
    hand, or by the priority of the order. None where nothing tells so.
    """
    found = list(_urgencies(order, resources, encounter_id, classes))
    emergencies = [told for told in found if told.urgency is Urgency.EMERGENCY]
    return next(iter(emergencies or found), None)


def _urgencies(
    order: Resource, resources: Resources, encounter_id: str | None, classes: EncounterClasses
) -> Iterator[ToldUrgency]:
    for reference in encounters_of(order, encounter_id):
        encounter = resources.get(reference)
        if encounter is None or encounter.type != "Encounter":
            continue
        data, place = encounter.data, encounter.place
        if classes.of(encounter) is CareClass.EMERGENCY:
            yield ToldUrgency(Urgency.EMERGENCY, f"{place}.class")
        if any(_code_of(c) in _EMERGENCY_TYPES for c in _codings(data.get("type"))):
            yield ToldUrgency(Urgency.EMERGENCY, f"{place}.type")
        for coding in _codings(data.get("priority")):
            told = _ENCOUNTER_PRIORITIES.get((_text(coding.get("code")) or "").upper())
            if told is not None:
                yield ToldUrgency(told, f"{place}.priority")
    priority = order.data.get("priority")
    told = _ORDER_PRIORITIES.get(priority.strip().lower()) if isinstance(priority, str) else None
    if told is not None:
        yield ToldUrgency(told, f"{order.place}.priority")


def _codings(written: object) -> Iterator[Mapping[str, Any]]:
    """Every Coding in a Coding, a CodeableConcept or a list of either."""
    for item in written if isinstance(written, list) else [written]:
        if isinstance(item, Mapping):
            inner = item.get("coding")
            if isinstance(inner, list):
                yield from _codings(inner)
            else:
                yield item


def _code_of(coding: Mapping[str, Any]) -> Code | None:
    return canonical_code(_text(coding.get("system")), _text(coding.get("code")))


def _text(value: object) -> str | None:
    return value.strip() if isinstance(value, str) and value.strip() else None
