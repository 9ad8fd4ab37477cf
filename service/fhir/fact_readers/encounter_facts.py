"""Facts that the encounters of the order tell, and how urgent the care is."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from service.decision.facts import NOT_TOLD, Fact
from service.fhir.elements import codings, text
from service.fhir.encounters import encounters_of, urgency_of
from service.fhir.fact_readers.at_hand import OrderAtHand

ENCOUNTER_PRIORITIES = {
    "EM": "emergency", "UR": "urgent", "S": "stat", "A": "asap", "R": "routine", "EL": "elective",
}  # fmt: skip
"""Codes of v3 ActPriority; others stay as they are written, in small letters."""


def _encounter_class(at: OrderAtHand) -> Fact:
    for encounter in at.encounters:
        if encounter.meant is not None:
            return Fact(encounter.meant.value, (f"{encounter.resource.place}.class",))
    return _encounter(at, "class", {})


def _urgency(at: OrderAtHand) -> Fact:
    """Urgency of the care; routine where an encounter came along that tells nothing else."""
    told = urgency_of(at.resource, at.encounters)
    if told is not None:
        return Fact(told.urgency.value, (told.place,))
    places = tuple([encounter.resource.place for encounter in at.encounters])
    return Fact("routine", places) if places else NOT_TOLD


def _encounter(at: OrderAtHand, element: str, words: Mapping[str, str]) -> Fact:
    for encounter, _, _ in at.encounters:
        written = encounter.data.get(element)
        codes = [written] if isinstance(written, str) else _written_codes(written)
        for code in codes:
            word = words.get(code.upper(), code.lower())
            return Fact(word, (f"{encounter.place}.{element}",))
    for reference in encounters_of(at.resource, at.encounter_id):
        if at.resources.get(reference) is None:
            return at.unread({"reference": reference})
    return NOT_TOLD


def _written_codes(written: object) -> list[str]:
    found = [written] if isinstance(written, dict) and "code" in written else codings(written)
    return [c for coding in found if (c := text(coding.get("code")))]


READERS: Mapping[str, Callable[[OrderAtHand], Fact]] = {
    "encounter.class": _encounter_class,
    "encounter.status": lambda at: _encounter(at, "status", {}),
    "encounter.priority": lambda at: _encounter(at, "priority", ENCOUNTER_PRIORITIES),
    "care.urgency": _urgency,
}
