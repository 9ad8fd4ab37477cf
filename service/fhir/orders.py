"""Orders, appointments and visits of every CRD type, read into the decision's `Order`.

One table has the elements of each type; a new order type is a row in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, tzinfo
from typing import Any

from cards.coverage_information.reader import read_coverage_information
from service.decision.order import (
    ExistingCoverageInformation,
    Order,
    OrderCoding,
    ServiceDay,
    Standing,
)
from service.fhir.dates import day_range, period_range
from service.fhir.document import Resource
from service.fhir.references import parse_literal
from service.fhir.resources import Resources
from service.fhir.systems import (
    ALTERNATE_REFERENCE,
    BILLING_OPTIONS,
    PAYLOAD_CODES,
    split_code,
)


@dataclass(frozen=True, slots=True)
class _Shape:
    """Elements of an order type, as dotted paths through lists.

    `code_extensions` lead to lists of extensions, of which those in PAYLOAD_CODES bear a code;
    `contained_orders` to references of which those to contained orders bear codes.
    """

    codes: tuple[str, ...]
    code_extensions: tuple[str, ...] = ()
    code_references: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()
    timings: tuple[str, ...] = ()
    contained_orders: tuple[str, ...] = ()
    patient: str = "subject"
    name: tuple[str, ...] = ("code.text",)


_SHAPES: Mapping[str, _Shape] = {
    "ServiceRequest": _Shape(
        codes=("code",),
        dates=("occurrenceDateTime", "occurrencePeriod"),
        timings=("occurrenceTiming",),
    ),
    "DeviceRequest": _Shape(
        codes=("codeCodeableConcept",),
        code_references=("codeReference",),
        dates=("occurrenceDateTime", "occurrencePeriod"),
        timings=("occurrenceTiming",),
        name=("codeCodeableConcept.text",),
    ),
    "MedicationRequest": _Shape(
        codes=("medicationCodeableConcept",),
        code_references=("medicationReference",),
        dates=("dispenseRequest.validityPeriod",),
        timings=("dosageInstruction.timing",),
        name=("medicationCodeableConcept.text",),
    ),
    "NutritionOrder": _Shape(
        codes=(
            "oralDiet.type",
            "supplement.type",
            "enteralFormula.baseFormulaType",
            "enteralFormula.additiveType",
        ),
        timings=("oralDiet.schedule", "supplement.schedule"),
        patient="patient",
        name=("oralDiet.type.text", "supplement.type.text"),
    ),
    "VisionPrescription": _Shape(
        codes=("lensSpecification.product",),
        patient="patient",
        name=("lensSpecification.product.text",),
    ),
    "CommunicationRequest": _Shape(
        codes=("category",),
        code_extensions=("payload.extension",),
        dates=("occurrenceDateTime", "occurrencePeriod"),
        name=("category.text",),
    ),
    "Appointment": _Shape(
        codes=("serviceType",),
        code_references=("reasonReference",),
        contained_orders=("basedOn",),
        dates=("start", "requestedPeriod"),
        name=("description", "serviceType.text"),
    ),
    "Encounter": _Shape(
        codes=("serviceType", "type"),
        dates=("period",),
        name=("serviceType.text", "type.text"),
    ),
}

_Days = tuple[date | None, date | None]
"""First and last day of a period; None for an open or unreadable side."""

VISIT_TYPE = "Encounter"
ORDER_TYPES = frozenset(_SHAPES) - {VISIT_TYPE}
"""Types of orders and appointments; an encounter itself is reviewed in its own hooks only."""
_CODE_OF_REFERENCED = {"Device": "type", "Medication": "code", "Procedure": "code"}
"""Types with a code; a Condition as reason is ignored: a diagnosis is no service."""
_PROCEDURE_OVER = frozenset({"completed", "stopped", "not-done", "entered-in-error"})


def read_order(resource: Resource, resources: Resources) -> Order:
    """One order, reduced to the decision's facts.

    `resources` resolves references to a Medication or Device and urn:uuid references.
    """
    shape = _SHAPES[resource.type]
    data = resource.data
    standing = read_standing(resource)
    intent = data.get("intent")
    return Order(
        reference=resource.reference,
        place=resource.place,
        codings=tuple(_codings(resource, shape, resources)),
        name=_name(data, shape),
        service_day=_service_day(data, shape, resources.zone),
        status=standing.status,
        intent=intent if isinstance(intent, str) else None,
        do_not_perform=standing.do_not_perform,
        patient=_patient(data, shape, resources),
        insurance=tuple(
            f"{resource.place}{ref}" if ref.startswith("#") else resources.local(ref)
            for ref in insurance_references(resource)
        ),
        coverage_information=tuple(_coverage_information(data, resources)),
    )


def read_standing(resource: Resource) -> Standing:
    """The facts on whether an order is to be carried out."""
    status = resource.data.get("status")
    return Standing(
        status=status if isinstance(status, str) else None,
        do_not_perform=resource.data.get("doNotPerform") is True,
    )


def insurance_references(resource: Resource) -> Iterator[str]:
    """References of an order's insurance: coverages, and earlier authorizations."""
    for _, reference in _walk(resource.data, "insurance.reference"):
        if isinstance(reference, str) and reference.strip():
            literal = parse_literal(reference)
            if literal is None or literal.type == "Coverage":
                yield reference


def code_references(resource: Resource) -> Iterator[str]:
    """References to the Medication, Device or Procedure with an order's code."""
    for path in _SHAPES[resource.type].code_references:
        for _, reference in _walk(resource.data, f"{path}.reference"):
            if isinstance(reference, str):
                yield reference


def based_on(appointment: Resource) -> Iterator[str]:
    """References of an appointment's orders, with CRD's alternate element."""
    for reference in appointment.data.get("basedOn", ()):
        if "reference" in reference:
            yield reference["reference"]
        for extension in reference.get("extension", ()):
            if extension.get("url") == ALTERNATE_REFERENCE:
                target = extension.get("valueReference", {}).get("reference")
                if target:
                    yield target


def _codings(resource: Resource, shape: _Shape, resources: Resources) -> Iterator[OrderCoding]:
    for path in shape.codes:
        for at, concept in _walk(resource.data, path):
            yield from concept_codings(concept, f"{resource.place}.{at}")
    for path in shape.code_extensions:
        for at, extension in _walk(resource.data, path):
            if isinstance(extension, Mapping) and extension.get("url") in PAYLOAD_CODES:
                concept = extension.get("valueCodeableConcept")
                yield from concept_codings(concept, f"{resource.place}.{at}.valueCodeableConcept")
    yield from _billing_options(resource.data, resource.place)
    for path in shape.code_references:
        for _, reference in _walk(resource.data, f"{path}.reference"):
            found = _resolve(resource, reference, resources)
            if found is not None and found[0] in _CODE_OF_REFERENCED:
                kind, referenced, place = found
                if kind == "Procedure" and referenced.get("status") in _PROCEDURE_OVER:
                    continue  # a visit about a past service does not book it
                element = _CODE_OF_REFERENCED[kind]
                yield from concept_codings(referenced.get(element), f"{place}.{element}")
    for path in shape.contained_orders:
        for _, reference in _walk(resource.data, f"{path}.reference"):
            yield from _contained_codings(resource, reference, resources)


def _contained_codings(
    resource: Resource, reference: object, resources: Resources
) -> Iterator[OrderCoding]:
    """The codings of an order within the resource: it has no address to be asked about by."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        return
    found = _resolve(resource, reference, resources)
    shape = _SHAPES.get(found[0]) if found is not None else None
    for element in shape.codes if shape is not None else ():
        if found is not None:
            for at, concept in _walk(found[1], element):
                yield from concept_codings(concept, f"{found[2]}.{at}")


def concept_codings(concept: object, place: str) -> Iterator[OrderCoding]:
    """The codings of a CodeableConcept, then its billing options (CRD 2.2.1 billopt-3)."""
    if not isinstance(concept, Mapping):
        return
    codings = concept.get("coding")
    for i, coding in enumerate(codings if isinstance(codings, list) else ()):
        if isinstance(coding, Mapping):
            system, code = _text(coding.get("system")), _text(coding.get("code"))
            meant, modifiers = split_code(system, code)
            written = f"{system or ''}|{code or ''}"
            yield OrderCoding(meant, f"{place}.coding[{i}]", written, modifiers)
    yield from _billing_options(concept, place)


def _billing_options(element: Mapping[str, Any], place: str) -> Iterator[OrderCoding]:
    extensions = element.get("extension")
    for i, extension in enumerate(extensions if isinstance(extensions, list) else ()):
        if isinstance(extension, Mapping) and extension.get("url") == BILLING_OPTIONS:
            concept = extension.get("valueCodeableConcept")
            yield from concept_codings(concept, f"{place}.extension[{i}].valueCodeableConcept")


def _resolve(
    resource: Resource, reference: object, resources: Resources
) -> tuple[str, Mapping[str, Any], str] | None:
    """Type, data and place of a reference's target, contained or present."""
    if not isinstance(reference, str):
        return None
    if reference.startswith("#"):
        i, inner = resource.contained.get(reference[1:], (0, None))
        if inner is None:
            return None
        return str(inner.get("resourceType")), inner, f"{resource.place}.contained[{i}]"
    found = resources.get(reference)
    return (found.type, found.data, found.place) if found else None


def _service_day(data: Mapping[str, Any], shape: _Shape, zone: tzinfo) -> ServiceDay | None:
    readers: list[tuple[str, Callable[[object, tzinfo], _Days | None]]]
    readers = [(path, _days) for path in shape.dates]
    readers += [(path, _timing_days) for path in shape.timings]
    for path, read in readers:
        told = [(at, days) for at, value in _walk(data, path) if (days := read(value, zone))]
        if told:  # several requested periods or dosages: any of their days is possible
            return _from_first_to_last([days for _, days in told], told[0][0])
    return None


def _from_first_to_last(ranges: Sequence[_Days], source: str) -> ServiceDay:
    """The range that spans all ranges; an open side of one opens the whole."""
    written = [day for days in ranges for day in days if day is not None]
    return ServiceDay(
        min(written),
        max(written),
        source,
        open_start=any(first is None for first, _ in ranges),
        open_end=any(last is None for _, last in ranges),
    )


def _days(value: object, zone: tzinfo) -> _Days | None:
    return _period_days(value, zone) if isinstance(value, Mapping) else day_range(value, zone)


def _period_days(value: object, zone: tzinfo) -> _Days | None:
    """A period's days, None for an open side; None without any."""
    start, end = period_range(value, zone)
    return None if start is None and end is None else (start, end)


def _timing_days(timing: object, zone: tzinfo) -> _Days | None:
    if not isinstance(timing, Mapping):
        return None
    events = timing.get("event")
    told = events if isinstance(events, list) else ()
    ranges = [days for event in told if (days := day_range(event, zone))]
    if ranges:
        return min(first for first, _ in ranges), max(last for _, last in ranges)
    repeat = timing.get("repeat")
    bounds = repeat.get("boundsPeriod") if isinstance(repeat, Mapping) else None
    return _period_days(bounds, zone)


def _patient(data: Mapping[str, Any], shape: _Shape, resources: Resources) -> str | None:
    subject = data.get(shape.patient)
    if isinstance(subject, Mapping) and isinstance(subject.get("reference"), str):
        # A contained patient has no identity to compare: that tells nobody, and no other one.
        contained = subject["reference"].startswith("#")
        return None if contained else resources.local(subject["reference"])
    return next(_participants(data, resources), None)


def patients_of(resource: Resource, resources: Resources) -> frozenset[str]:
    """The participating patients of an appointment, as "Patient/id"."""
    return frozenset(_participants(resource.data, resources))


def _participants(data: Mapping[str, Any], resources: Resources) -> Iterator[str]:
    for _, reference in _walk(data, "participant.actor.reference"):
        if isinstance(reference, str):
            local = resources.local(reference)
            if local.startswith("Patient/"):
                yield local


def _coverage_information(
    data: Mapping[str, Any], resources: Resources
) -> Iterator[ExistingCoverageInformation]:
    for written in read_coverage_information(data):
        yield ExistingCoverageInformation(
            coverage=resources.local(written.coverage) if written.coverage else None,
            covered=written.covered,
            assertion_id=written.assertion_id,
        )


def _name(data: Mapping[str, Any], shape: _Shape) -> str | None:
    for path in shape.name:
        for _, text in _walk(data, path):
            if _text(text):
                return str(text)
    for path in shape.codes:
        for _, display in _walk(data, f"{path}.coding.display"):
            if _text(display):
                return str(display)
    return None


def _walk(data: object, path: str) -> Iterator[tuple[str, Any]]:
    """The values at a dotted path through lists, each with its full path."""
    pending: list[tuple[str, Any, tuple[str, ...]]] = [("", data, tuple(path.split(".")))]
    while pending:
        at, node, rest = pending.pop()
        if isinstance(node, list):
            pending.extend((f"{at}[{i}]", item, rest) for i, item in reversed([*enumerate(node)]))
        elif not rest:
            yield at, node
        elif isinstance(node, Mapping) and rest[0] in node:
            pending.append((f"{at}.{rest[0]}" if at else rest[0], node[rest[0]], rest[1:]))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value.strip() else None
