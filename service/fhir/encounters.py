"""The kind and the urgency of care: read from encounters and from the order, however coded.

`EncounterClasses` is the one table of class codes; `urgency_of` the one answer to whether care can
wait. Decisions take it from here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any, NamedTuple

from service.decision.order import Code
from service.fhir.document import Resource
from service.fhir.elements import text
from service.fhir.resources import Resources
from service.fhir.systems import CPT, canonical_code, code_of


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

    def meaning(self, written: object) -> CareClass | None:
        """The meaning of a class, None for an unknown one: a Coding, or an element with codings."""
        for coding in _codings(written):
            system, code = text(coding.get("system")), text(coding.get("code"))
            own = self.own.get(canonical_code(system, code) or _NO_CODE) if self.own else None
            meant = own or _known(system, code)
            if meant is not None:
                return meant
            if _EMERGENCY_WORDS.match(text(coding.get("display")) or ""):
                return CareClass.EMERGENCY
        return None


_NO_CODE = Code("", "")


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


def encounters_of(order: Resource, encounter_id: str | None) -> Sequence[str]:
    """References of the encounters that an order belongs to: the context's, and its own.

    Some hooks' contexts have none (order-dispatch); elsewhere it is optional.
    """
    of_context = f"Encounter/{encounter_id.removeprefix('Encounter/')}" if encounter_id else None
    own = order.data.get("encounter")
    reference = own.get("reference") if isinstance(own, dict) else None
    if not isinstance(reference, str) or reference == of_context:
        return (of_context,) if of_context else ()
    return (of_context, reference) if of_context else (reference,)


class ReadEncounter(NamedTuple):
    """An encounter at hand: the meaning of its class, and what it tells of the urgency of care."""

    resource: Resource
    meant: CareClass | None
    urgencies: Sequence[ToldUrgency]


def read_encounters(
    references: Sequence[str], resources: Resources, classes: EncounterClasses
) -> Sequence[ReadEncounter]:
    """The encounters at hand among references, each read once a call."""
    found: list[ReadEncounter] = []
    for reference in references:
        encounter = resources.get(reference)
        if encounter is not None and encounter.type == "Encounter":
            key = ("encounter", encounter.reference)
            found.append(resources.once(key, partial(_read, encounter, classes)))
    return found


def _read(encounter: Resource, classes: EncounterClasses) -> ReadEncounter:
    data, place = encounter.data, encounter.place
    meant = classes.meaning(data.get("class"))
    found: list[ToldUrgency] = []
    if meant is CareClass.EMERGENCY:
        found.append(ToldUrgency(Urgency.EMERGENCY, f"{place}.class"))
    if not _EMERGENCY_TYPES.isdisjoint(map(code_of, _codings(data.get("type")))):
        found.append(ToldUrgency(Urgency.EMERGENCY, f"{place}.type"))
    for coding in _codings(data.get("priority")):
        told = _ENCOUNTER_PRIORITIES.get((text(coding.get("code")) or "").upper())
        if told is not None:
            found.append(ToldUrgency(told, f"{place}.priority"))
    return ReadEncounter(encounter, meant, found)


def urgency_of(order: Resource, encounters: Sequence[ReadEncounter]) -> ToldUrgency | None:
    """Whether the care is an emergency or urgent: by class, type and priority of its encounters at
    hand, or by the priority of the order. None where nothing tells so.
    """
    found = [told for encounter in encounters for told in encounter.urgencies]
    for told in found:
        if told.urgency is Urgency.EMERGENCY:
            return told
    if found:
        return found[0]
    priority = order.data.get("priority")
    urgency = _ORDER_PRIORITIES.get(priority.strip().lower()) if isinstance(priority, str) else None
    return ToldUrgency(urgency, f"{order.place}.priority") if urgency is not None else None


def _codings(written: object) -> Sequence[Mapping[str, Any]]:
    """Every Coding in a Coding, a CodeableConcept or a list of either."""
    if isinstance(written, list):
        return [coding for item in written if isinstance(item, dict) for coding in _codings(item)]
    if not isinstance(written, dict):
        return ()
    inner = written.get("coding")
    return _codings(inner) if isinstance(inner, list) else (written,)
