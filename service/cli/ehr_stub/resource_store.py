"""Resources of the stub: read by id, and search by the parameters in use by CRD."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from service.errors import ConfigurationError

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
    "Organization",
    "Patient",
    "Practitioner",
    "PractitionerRole",
    "Questionnaire",
    "QuestionnaireResponse",
    "ServiceRequest",
    "VisionPrescription",
)


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
    yield from _at(resource, "subject", "patient", "beneficiary")
    yield from (r for r in _actors(resource) if r.startswith("Patient/"))


def _identifiers(resource: Resource) -> Iterator[str]:
    for identifier in resource.get("identifier", ()):
        value = identifier.get("value", "")
        yield from (value, f"{identifier.get('system', '')}|{value}")


def _canonical(value: object) -> Iterator[str]:
    """A canonical with and without its version."""
    if isinstance(value, str):
        yield from (value, value.partition("|")[0])


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
}
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


class ResourceStore:
    """The resources of a folder of `<Type>-<id>.json` files, in memory."""

    def __init__(self, folder: Path) -> None:
        files = sorted(folder.glob("*.json"))
        if not files:
            raise ConfigurationError(
                f"{folder}: no FHIR resources; name a folder of <Type>-<id>.json with --resources"
            )
        self._resources: dict[str, Resource] = {}
        for file in files:
            resource = json.loads(file.read_text("utf-8"))
            self._resources[f"{resource['resourceType']}/{resource['id']}"] = resource

    @property
    def types(self) -> list[str]:
        """The supported types, including those without a resource."""
        return sorted({r["resourceType"] for r in self._resources.values()} | {*CLINICAL_TYPES})

    def read(self, kind: str, id: str) -> Resource | None:
        return self._resources.get(f"{kind}/{id}")

    def search(
        self, kind: str, parameters: Sequence[tuple[str, str]]
    ) -> tuple[list[Resource], list[Resource]]:
        """Matches and included resources. Raises UnknownParameter rather than ignoring one.

        Repeated parameters are "and", a comma is "or" (FHIR R4, search).
        """
        matches = [r for r in self._resources.values() if r["resourceType"] == kind]
        included: dict[str, Resource] = {}
        for name, written in parameters:
            if name in ("_include", "_format", "_count", "_sort"):
                continue
            fits = _filter(name, written.split(","))
            matches = [r for r in matches if fits(r)]
        for name, written in parameters:
            if name == "_include" and written in INCLUDES:
                for reference in (i for r in matches for i in INCLUDES[written](r)):
                    if reference in self._resources:
                        included[reference] = self._resources[reference]
        return matches, list(included.values())


def _filter(name: str, wanted: list[str]) -> Callable[[Resource], bool]:
    if name in TOKENS:
        token = TOKENS[name]
        return lambda r: not {*wanted}.isdisjoint(token(r))
    if name in REFERENCES:
        kind, references = REFERENCES[name]
        full = {w if "/" in w else f"{kind}/{w}" for w in wanted}
        return lambda r: not full.isdisjoint(references(r))
    if name == "name":
        starts = tuple(w.lower() for w in wanted)
        return lambda r: any(
            word.lower().startswith(starts) for n in _names(r) for word in [n, *n.split()]
        )
    raise UnknownParameter(name)
