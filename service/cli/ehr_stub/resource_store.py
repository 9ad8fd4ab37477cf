"""Resources of the stub: read by id, and search by the parameters in use by CRD."""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from service.errors import ConfigurationError
from service.fixture_days import with_days

Resource = Mapping[str, Any]

CLINICAL_TYPES = (
    "Appointment",
    "CommunicationRequest",
    "Condition",
    "Coverage",
    "Device",
    "DeviceRequest",
    "Encounter",
    "Location",
    "Medication",
    "MedicationRequest",
    "NutritionOrder",
    "Observation",
    "Organization",
    "Patient",
    "Practitioner",
    "PractitionerRole",
    "Procedure",
    "Questionnaire",
    "QuestionnaireResponse",
    "ServiceRequest",
    "Task",
    "VisionPrescription",
)
_OF_THE_RESULT = frozenset(
    {
        "_contained",
        "_count",
        "_elements",
        "_format",
        "_include",
        "_include:iterate",
        "_pretty",
        "_revinclude",
        "_sort",
        "_summary",
        "_total",
    }
)
"""Parameters on the result: they find nothing more and nothing less (FHIR R4, search result)."""
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")


def _at(resource: Resource, *names: str) -> Iterator[str]:
    """The references in the elements with these names, lists included."""
    for name in names:
        value = resource.get(name)
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, Mapping) and isinstance(item.get("reference"), str):
                yield item["reference"]


def _actors(resource: Resource) -> Iterator[str]:
    for participant in resource.get("participant", ()):
        yield from _at(participant, "actor")


def _patients(resource: Resource) -> Iterator[str]:
    yield from _at(resource, "subject", "patient", "beneficiary", "for")
    yield from (r for r in _actors(resource) if r.startswith("Patient/"))


def _identifiers(resource: Resource) -> Iterator[str]:
    for identifier in resource.get("identifier", ()):
        value = identifier.get("value", "")
        yield from (value, f"{identifier.get('system', '')}|{value}")


def _canonical(value: object) -> Iterator[str]:
    """A canonical with and without its version."""
    if isinstance(value, str):
        yield from (value, value.partition("|")[0])


def _codes(resource: Resource) -> Iterator[str]:
    """The codes of a resource's code, alone and with their systems."""
    code = resource.get("code", resource.get("codeCodeableConcept"))
    for coding in code.get("coding", ()) if isinstance(code, Mapping) else ():
        value = coding.get("code", "")
        yield from (value, f"{coding.get('system', '')}|{value}")


def _days(resource: Resource, *names: str) -> Iterator[str]:
    """The days in the elements with these names, as written: of a period its end, else its start"""
    for name in names:
        value = resource.get(name)
        if isinstance(value, Mapping):
            value = value.get("end", value.get("start"))
        if isinstance(value, str):
            yield value[:10]


def _names(resource: Resource) -> Iterator[str]:
    name = resource.get("name")
    for part in name if isinstance(name, list) else [name]:
        if isinstance(part, str):
            yield part
        elif isinstance(part, Mapping):
            yield " ".join([*part.get("given", ()), part.get("family", "")])


TOKENS: Mapping[str, Callable[[Resource], Iterable[str]]] = {
    "_id": lambda r: [r["id"]],
    "status": lambda r: [r["status"]] if "status" in r else [],
    "intent": lambda r: [r["intent"]] if "intent" in r else [],
    "identifier": _identifiers,
    "url": lambda r: [r["url"]] if "url" in r else [],
    "version": lambda r: [r["version"]] if "version" in r else [],
    "questionnaire": lambda r: _canonical(r.get("questionnaire")),
    "code": _codes,
}
DATES: Mapping[str, tuple[str, ...]] = {
    "date": ("effectiveDateTime", "effectivePeriod", "performedDateTime", "performedPeriod"),
    "authored": ("authoredOn",),
}
"""Parameters of days by the elements that they look at; `ge` and `le` bound them."""
REFERENCES: Mapping[str, tuple[str, Callable[[Resource], Iterable[str]]]] = {
    "patient": ("Patient", _patients),
    "subject": ("Patient", _patients),
    "beneficiary": ("Patient", lambda r: _at(r, "beneficiary")),
    "encounter": ("Encounter", lambda r: _at(r, "encounter")),
    "appointment": ("Appointment", lambda r: _at(r, "appointment")),
    "based-on": ("ServiceRequest", lambda r: _at(r, "basedOn")),
    "payor": ("Organization", lambda r: _at(r, "payor")),
    "practitioner": ("Practitioner", lambda r: [*_at(r, "practitioner"), *_actors(r)]),
    "organization": ("Organization", lambda r: _at(r, "organization")),
    "location": ("Location", lambda r: [*_at(r, "location"), *_actors(r)]),
}
INCLUDES: Mapping[str, Callable[[Resource], Iterable[str]]] = {
    "Coverage:payor": lambda r: _at(r, "payor"),
    "Coverage:beneficiary": lambda r: _at(r, "beneficiary"),
    "Coverage:patient": lambda r: _at(r, "beneficiary"),
    "PractitionerRole:organization": lambda r: _at(r, "organization"),
    "PractitionerRole:practitioner": lambda r: _at(r, "practitioner"),
    "ServiceRequest:patient": _patients,
    "ServiceRequest:requester": lambda r: _at(r, "requester"),
    "ServiceRequest:performer": lambda r: _at(r, "performer"),
    "Appointment:patient": _patients,
}


class UnknownParameter(ValueError):
    """An unknown search parameter; its name is the argument."""


class NotStorable(ValueError):
    """A resource that cannot be stored; the reason is the argument."""


class ResourceStore:
    """The resources of a folder of `<Type>-<id>.json` files, in memory. Safe for several threads.

    What is stored meanwhile is in memory only: the files stay as they are.
    """

    def __init__(self, folder: Path, today: date | None = None) -> None:
        day = today or datetime.now(UTC).date()
        files = sorted(folder.glob("*.json"))
        if not files:
            raise ConfigurationError(
                f"{folder}: no FHIR resources; name a folder of <Type>-<id>.json with --resources"
            )
        self._lock = threading.Lock()
        self._stored = 0
        self._resources: dict[str, Resource] = {}
        for file in files:
            resource = json.loads(with_days(file.read_text("utf-8"), day))
            self._resources[f"{resource['resourceType']}/{resource['id']}"] = resource

    @property
    def types(self) -> list[str]:
        """The supported types, including those without a resource."""
        return sorted({r["resourceType"] for r in self._resources.values()} | {*CLINICAL_TYPES})

    def create(self, kind: str, data: object) -> Resource:
        """A new resource under an id of the server's. Raises NotStorable."""
        return self._put(kind, str(uuid.uuid4()), data)

    def update(self, kind: str, id: str, data: object) -> tuple[Resource, bool]:
        """The resource under its id, and whether it is a new one. Raises NotStorable."""
        if not isinstance(data, Mapping) or data.get("id") != id:
            raise NotStorable("expected a resource whose id is that of the URL")
        is_new = self.read(kind, id) is None
        return self._put(kind, id, data), is_new

    def _put(self, kind: str, id: str, data: object) -> Resource:
        if not isinstance(data, Mapping) or data.get("resourceType") != kind:
            raise NotStorable(f"expected a resource with resourceType {kind}")
        if kind not in self.types or not _ID.fullmatch(id):
            raise NotStorable("expected a type that the stub has, and an id of FHIR's form")
        meta = data.get("meta")
        with self._lock:
            self._stored += 1
            stored = {
                **data,
                "id": id,
                "meta": {
                    **(meta if isinstance(meta, Mapping) else {}),
                    "versionId": str(self._stored),
                    "lastUpdated": datetime.now(UTC).isoformat(timespec="milliseconds"),
                },
            }
            # A new dictionary: searches go on in the one that they have.
            self._resources = {**self._resources, f"{kind}/{id}": stored}
        return stored

    def read(self, kind: str, id: str) -> Resource | None:
        return self._resources.get(f"{kind}/{id}")

    def search(
        self, kind: str, parameters: Sequence[tuple[str, str]]
    ) -> tuple[list[Resource], list[Resource]]:
        """Matches and included resources. Raises UnknownParameter rather than ignoring one.

        Repeated parameters are "and", a comma is "or" (FHIR R4, search).
        """
        resources = self._resources
        matches = [r for r in resources.values() if r["resourceType"] == kind]
        included: dict[str, Resource] = {}
        for name, written in parameters:
            if name in _OF_THE_RESULT:
                continue
            fits = _filter(name, written.split(","))
            matches = [r for r in matches if fits(r)]
        for name, written in parameters:
            if name == "_include" and written in INCLUDES:
                for reference in (i for r in matches for i in INCLUDES[written](r)):
                    if reference in resources:
                        included[reference] = resources[reference]
        return matches, list(included.values())


def _on(day: str, wanted: str) -> bool:
    """Whether a day is the one that is wanted, or on its side of it."""
    prefix, bound = wanted[:2], wanted[2:]
    if prefix == "ge":
        return day >= bound
    if prefix == "le":
        return day <= bound
    return day == wanted


def _filter(name: str, wanted: list[str]) -> Callable[[Resource], bool]:
    if name in TOKENS:
        token = TOKENS[name]
        return lambda r: not {*wanted}.isdisjoint(token(r))
    if name in REFERENCES:
        kind, references = REFERENCES[name]
        full = {w if "/" in w else f"{kind}/{w}" for w in wanted}
        return lambda r: not full.isdisjoint(references(r))
    if name in DATES:
        return lambda r: any(_on(day, w) for day in _days(r, *DATES[name]) for w in wanted)
    if name == "name":
        starts = tuple(w.lower() for w in wanted)
        return lambda r: any(
            word.lower().startswith(starts) for n in _names(r) for word in [n, *n.split()]
        )
    raise UnknownParameter(name)
