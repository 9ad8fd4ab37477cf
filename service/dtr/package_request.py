"""Input of $questionnaire-package: a Parameters resource, read from its bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, tzinfo
from typing import Any

from service.crd.call_limits import CallLimits
from service.crd.hook_request import parse_json
from service.crd.validation import Validator, check_depth, with_fhir
from service.dtr.dtr_version import DtrVersion, of_profiles
from service.errors import MalformedRequest, UnprocessableRequest
from service.fhir.dates import day_range
from service.fhir.document import Document, Resource, without_nulls
from service.fhir.resources import Resources

_TEXT = {"type": "string", "minLength": 1}
_SCHEMA = with_fhir(
    {
        "type": "object",
        "required": ["resourceType", "parameter"],
        "properties": {
            "resourceType": {"const": "Parameters"},
            "parameter": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {
                        "name": _TEXT,
                        "resource": {"$ref": "#/$defs/resource"},
                        "valueCanonical": _TEXT,
                        "valueString": _TEXT,
                        "valueInstant": _TEXT,
                        "valueDateTime": _TEXT,
                    },
                },
            },
        },
    }
)
_validator = Validator(_SCHEMA)


@dataclass(frozen=True, slots=True)
class AskedForm:
    """A requested canonical and its place in the request."""

    canonical: str
    place: str


@dataclass(frozen=True, slots=True, eq=False)
class PackageRequest:
    """One call of the operation. `resources` are all of its resources; `patient` is "Patient/id".

    `coverages` are one or more, all of the patient. `context` is a coverage-assertion-id;
    `version`, the version of DTR that the input names.
    """

    coverages: tuple[Resource, ...]
    patient: str
    orders: tuple[Resource, ...]
    questionnaires: tuple[AskedForm, ...]
    context: str | None
    changed_since: datetime | None
    resources: Resources
    version: DtrVersion | None = None


def read_package_request(
    body: bytes, limits: CallLimits, zone: tzinfo, form: str | None = None
) -> PackageRequest:
    """The call in `body`; `form` is the canonical of a call on one form, asked for first; `zone`
    is the service's time zone.

    Raises MalformedRequest (400) for a body that is no Parameters resource, UnprocessableRequest
    (422) for absent parameters (DTR 2.2 dtr-1) or too many of them.
    """
    limits.check_values(body)
    data = parse_json(body)
    check_depth(data)
    data = without_nulls(data, body)
    _validator.check(data)
    document = Document(body, data)
    parameters = [(i, p) for i, p in enumerate(data["parameter"])]
    _check_resources(parameters)
    found = {name: list(_resources(document, parameters, name)) for name in ("coverage", "order")}
    questionnaires = tuple(_canonicals(parameters))
    limits.check_questionnaires(len(questionnaires), "parameter")
    if form is not None:
        questionnaires = (AskedForm(form, ""), *questionnaires)
    context = _one(parameters, "context", "valueString")
    if not found["coverage"]:
        raise UnprocessableRequest("expected a parameter coverage", "parameter")
    if not (found["order"] or questionnaires or context):
        raise UnprocessableRequest(
            "expected a parameter order, questionnaire or context", "parameter"
        )
    for coverage in found["coverage"]:
        if coverage.type != "Coverage":
            raise MalformedRequest("expected a Coverage", coverage.place)
    resources = Resources(zone=zone)
    for resource in _resources(document, parameters):
        resources.add(resource)
    limits.check_resources(resources)
    # Without an order there is a response for each coverage.
    limits.check_orders_by_coverage(len(found["coverage"]), "parameter")
    return PackageRequest(
        coverages=tuple(found["coverage"]),
        patient=_patient(found["coverage"], resources),
        orders=tuple(found["order"]),
        questionnaires=questionnaires,
        context=context,
        changed_since=_instant(parameters, zone),
        resources=resources,
        version=of_profiles(_profiles(data)),
    )


def _profiles(data: Mapping[str, Any]) -> Sequence[object]:
    meta = data.get("meta")
    profiles = meta.get("profile") if isinstance(meta, Mapping) else None
    return profiles if isinstance(profiles, list) else ()


Parameters = list[tuple[int, Mapping[str, Any]]]


def _resources(
    document: Document, parameters: Parameters, name: str | None = None
) -> Iterator[Resource]:
    for i, parameter in parameters:
        if "resource" in parameter and name in (None, parameter["name"]):
            path = ("parameter", i, "resource")
            yield Resource(parameter["resource"], document, path)


def _check_resources(parameters: Parameters) -> None:
    """Raise where a resource was to come along and does not: a reference cannot be followed."""
    for i, parameter in parameters:
        if parameter["name"] in ("coverage", "order", "referenced") and "resource" not in parameter:
            raise MalformedRequest("expected the resource itself", f"parameter[{i}].resource")


def _canonicals(parameters: Parameters) -> Iterator[AskedForm]:
    for i, parameter in parameters:
        if parameter["name"] == "questionnaire":
            place = f"parameter[{i}].valueCanonical"
            if "valueCanonical" not in parameter:
                raise MalformedRequest("expected a canonical", place)
            yield AskedForm(parameter["valueCanonical"], place)


def _one(parameters: Parameters, name: str, value: str) -> str | None:
    """The value of a parameter that may occur at most once."""
    places = [(i, p) for i, p in parameters if p["name"] == name]
    if not places:
        return None
    if len(places) > 1:
        raise UnprocessableRequest(f"expected at most one parameter {name}", "parameter")
    ((i, parameter),) = places
    if value not in parameter:
        raise MalformedRequest(f"expected {value}", f"parameter[{i}]")
    written: str = parameter[value]
    return written


def _patient(coverages: Sequence[Resource], resources: Resources) -> str:
    """The one patient of the coverages, each of them another one."""
    patient = _beneficiary(coverages[0], resources)
    seen: set[str] = set()
    for coverage in coverages:
        if coverage.reference in seen:
            raise UnprocessableRequest("expected each coverage once", coverage.place)
        seen.add(coverage.reference)
        if _beneficiary(coverage, resources) != patient:
            place = f"{coverage.place}.beneficiary"
            raise UnprocessableRequest("expected coverages of one patient", place)
    return patient


def _beneficiary(coverage: Resource, resources: Resources) -> str:
    beneficiary = coverage.data.get("beneficiary")
    reference = beneficiary.get("reference") if isinstance(beneficiary, Mapping) else None
    if not isinstance(reference, str) or not reference.strip():
        raise UnprocessableRequest(
            "expected a reference to the patient", f"{coverage.place}.beneficiary"
        )
    return resources.local(reference)


def _instant(parameters: Parameters, zone: tzinfo) -> datetime | None:
    """The time of changedsince; of a dateTime without a time, the begin of its first day."""
    # The operation of 2.0.1 has a dateTime, its profile an instant.
    of_2_0 = any(p["name"] == "changedsince" and "valueDateTime" in p for _, p in parameters)
    value = "valueDateTime" if of_2_0 else "valueInstant"
    written = _one(parameters, "changedsince", value)
    if written is None:
        return None
    try:
        instant = datetime.fromisoformat(written) if "T" in written else None
    except ValueError:
        instant = None
    days = day_range(written, zone) if of_2_0 and "T" not in written else None
    if days is not None:
        return datetime.combine(days[0], time(), zone)
    if instant is None or instant.tzinfo is None:
        place = next(i for i, p in parameters if p["name"] == "changedsince")
        raise MalformedRequest(
            "expected an instant with its time zone, such as 2026-12-01T00:00:00Z",
            f"parameter[{place}].{value}",
        )
    return instant
