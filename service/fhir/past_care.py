"""Past care of a patient at hand: observations, procedures and orders, with status, day and codes.

Read once a call, and looked up by each of its orders.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from typing import Any, NamedTuple

from service.decision.order import Code
from service.decision.value_sets import ValueSet
from service.fhir.dates import day_range
from service.fhir.document import Resource
from service.fhir.elements import codings, mappings
from service.fhir.resources import Resources
from service.fhir.systems import code_of

_DAYS: Mapping[str, Sequence[str]] = {
    "Observation": ("effectiveDateTime", "effectiveInstant", "effectivePeriod"),
    "Procedure": ("performedDateTime", "performedPeriod"),
    "ServiceRequest": ("occurrenceDateTime", "occurrencePeriod", "authoredOn"),
    "DeviceRequest": ("occurrenceDateTime", "occurrencePeriod", "authoredOn"),
}
"""By type, the elements that tell its day; the first that does."""


class CodedPart(NamedTuple):
    """A part with a code of its own: the resource, or a component of an observation."""

    codes: tuple[Code, ...]
    data: Mapping[str, Any]
    place: str


@dataclass(frozen=True, slots=True)
class PastCare:
    """One resource; `days` are the first and the last that its day can be (of a period, its last
    day), None where it tells none. `instant` is the time of an observation where it is told with
    its zone, else the beginning of time.
    """

    resource: Resource
    status: object
    days: tuple[date, date] | None
    instant: datetime


_NO_TIME = datetime.min.replace(tzinfo=UTC)


Coded = tuple[PastCare, CodedPart]


class PastCareIndex:
    """Past care of one type by its codes, in the sequence of the call."""

    def __init__(self, found: Iterable[tuple[PastCare, Sequence[CodedPart]]]) -> None:
        self._coded: list[Coded] = []
        self._by_code: dict[Code, list[int]] = {}
        self._held: dict[tuple[int, date], Sequence[Coded]] = {}
        for care, parts in found:
            for part in parts:
                for code in dict.fromkeys(part.codes):
                    self._by_code.setdefault(code, []).append(len(self._coded))
                self._coded.append((care, part))

    def of_codes(self, codes: Iterable[Code]) -> Sequence[Coded]:
        """Parts with one of these codes."""
        positions = {p for code in codes for p in self._by_code.get(code, ())}
        return [self._coded[p] for p in sorted(positions)]

    def held_by(self, codes: ValueSet, day: date) -> Sequence[Coded]:
        """Parts with a code of a value set on a day; looked for once a set and day."""
        key = (id(codes), day)
        found = self._held.get(key)
        if found is None:
            held = (code for code in self._by_code if codes.holds(code, day))
            found = self._held[key] = self.of_codes(held)
        return found


def past_care(resources: Resources, patient: str, kind: str) -> PastCareIndex:
    """The resources of a type whose subject is `patient` ("Patient/id"), read once a call."""
    return resources.once(
        ("past care", patient, kind), lambda: PastCareIndex(_read(resources, patient, kind))
    )


def _read(
    resources: Resources, patient: str, kind: str
) -> Iterator[tuple[PastCare, Sequence[CodedPart]]]:
    for resource in resources.of_type(kind):
        subject = resource.data.get("subject")
        written = subject.get("reference") if isinstance(subject, dict) else None
        if not isinstance(written, str) or resources.local(written.strip()) != patient:
            continue
        status, days = resource.data.get("status"), _days(resource, resources.zone)
        care = PastCare(resource, status, days, _instant(resource.data))
        yield care, tuple(_parts(resource))


def _parts(resource: Resource) -> Iterator[CodedPart]:
    data, place = resource.data, resource.place
    yield CodedPart(_codes(data.get("code") or data.get("codeCodeableConcept")), data, place)
    if resource.type == "Observation":
        for i, component in enumerate(mappings(data.get("component"))):
            codes = _codes(component.get("code"))
            yield CodedPart(codes, component, f"{place}.component[{i}]")


def _codes(concept: object) -> tuple[Code, ...]:
    found = (code_of(coding) for coding in codings(concept))
    return tuple(code for code in found if code is not None)


def _instant(data: Mapping[str, Any]) -> datetime:
    period = data.get("effectivePeriod")
    written = data.get("effectiveDateTime") or data.get("effectiveInstant")
    if written is None and isinstance(period, dict):
        written = period.get("end") or period.get("start")
    try:
        told = datetime.fromisoformat(written) if isinstance(written, str) else _NO_TIME
    except ValueError:
        return _NO_TIME
    return told if told.tzinfo else _NO_TIME


def _days(resource: Resource, zone: tzinfo) -> tuple[date, date] | None:
    for element in _DAYS[resource.type]:
        written = resource.data.get(element)
        if isinstance(written, dict):
            days = day_range(written.get("end"), zone) or day_range(written.get("start"), zone)
        else:
            days = day_range(written, zone)
        if days:
            return days
    return None
