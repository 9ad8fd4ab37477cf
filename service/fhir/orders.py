"""Orders, appointments and visits of every CRD type, read into the decision's `Order`.

One table has the elements of each type; a new order type is a row in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
from service.fhir.elements import text
from service.fhir.references import parse_literal
from service.fhir.resources import Resources
from service.fhir.systems import (
    ALTERNATE_REFERENCE,
    BILLING_OPTIONS,
    PAYLOAD_CODES,
    split_code,
)

_Path = tuple[str, ...]
"""Names of elements from an order inwards; lists between them are passed through."""


def _paths(*dotted: str) -> tuple[_Path, ...]:
    """Paths as they are written: "oralDiet.type"."""
    return tuple(tuple(path.split(".")) for path in dotted)


@dataclass(frozen=True, slots=True)
class _Shape:
    """Elements of an order type.

    `code_extensions` lead to lists of extensions, of which those in PAYLOAD_CODES bear a code;
    `code_references` and `contained_orders` to the text of references, of which the latter bear
    codes if they are to contained orders.
    """

    codes: tuple[_Path, ...]
    code_extensions: tuple[_Path, ...] = ()
    code_references: tuple[_Path, ...] = ()
    dates: tuple[_Path, ...] = ()
    timings: tuple[_Path, ...] = ()
    contained_orders: tuple[_Path, ...] = ()
    patient: str = "subject"
    name: tuple[_Path, ...] = _paths("code.text")
    displays: tuple[_Path, ...] = field(init=False)

    def __post_init__(self) -> None:
        displays = tuple((*path, "coding", "display") for path in self.codes)
        object.__setattr__(self, "displays", displays)


_SHAPES: Mapping[str, _Shape] = {
    "ServiceRequest": _Shape(
        codes=_paths("code"),
        dates=_paths("occurrenceDateTime", "occurrencePeriod"),
        timings=_paths("occurrenceTiming"),
    ),
    "DeviceRequest": _Shape(
        codes=_paths("codeCodeableConcept"),
        code_references=_paths("codeReference.reference"),
        dates=_paths("occurrenceDateTime", "occurrencePeriod"),
        timings=_paths("occurrenceTiming"),
        name=_paths("codeCodeableConcept.text"),
    ),
    "MedicationRequest": _Shape(
        codes=_paths("medicationCodeableConcept"),
        code_references=_paths("medicationReference.reference"),
        dates=_paths("dispenseRequest.validityPeriod"),
        timings=_paths("dosageInstruction.timing"),
        name=_paths("medicationCodeableConcept.text"),
    ),
    "NutritionOrder": _Shape(
        codes=_paths(
            "oralDiet.type",
            "supplement.type",
            "enteralFormula.baseFormulaType",
            "enteralFormula.additiveType",
        ),
        timings=_paths("oralDiet.schedule", "supplement.schedule"),
        patient="patient",
        name=_paths("oralDiet.type.text", "supplement.type.text"),
    ),
    "VisionPrescription": _Shape(
        codes=_paths("lensSpecification.product"),
        patient="patient",
        name=_paths("lensSpecification.product.text"),
    ),
    "CommunicationRequest": _Shape(
        codes=_paths("category"),
        code_extensions=_paths("payload.extension"),
        dates=_paths("occurrenceDateTime", "occurrencePeriod"),
        name=_paths("category.text"),
    ),
    "Appointment": _Shape(
        codes=_paths("serviceType"),
        code_references=_paths("reasonReference.reference"),
        contained_orders=_paths("basedOn.reference"),
        dates=_paths("start", "requestedPeriod"),
        name=_paths("description", "serviceType.text"),
    ),
    "Encounter": _Shape(
        codes=_paths("serviceType", "type"),
        dates=_paths("period"),
        name=_paths("serviceType.text", "type.text"),
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
        insurance=_insurance(resource, resources) if "insurance" in data else (),
        coverage_information=tuple(_coverage_information(data, resources))
        if "extension" in data
        else (),
    )


def _insurance(resource: Resource, resources: Resources) -> tuple[str, ...]:
    return tuple(
        [
            f"{resource.place}{ref}" if ref.startswith("#") else resources.local(ref)
            for ref in insurance_references(resource)
        ]
    )


def read_standing(resource: Resource) -> Standing:
    """The facts on whether an order is to be carried out."""
    data = resource.data
    status = data.get("status")
    return Standing(status if isinstance(status, str) else None, data.get("doNotPerform") is True)


_INSURANCE = ("insurance", "reference")


def insurance_references(resource: Resource) -> Sequence[str]:
    """References of an order's insurance: coverages, and earlier authorizations."""
    found: list[str] = []
    for _, reference in _values(resource.data, _INSURANCE):
        if isinstance(reference, str) and reference.strip():
            literal = None if reference.startswith("Coverage/") else parse_literal(reference)
            if literal is None or literal.type == "Coverage":
                found.append(reference)
    return found


def code_references(resource: Resource) -> Sequence[str]:
    """References to the Medication, Device or Procedure with an order's code."""
    return [
        reference
        for path in _SHAPES[resource.type].code_references
        for _, reference in _values(resource.data, path)
        if isinstance(reference, str)
    ]


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


def _codings(resource: Resource, shape: _Shape, resources: Resources) -> list[OrderCoding]:
    data, found = resource.data, list[OrderCoding]()
    for path in shape.codes:
        for at, concept in _values(data, path):
            _add_concept(concept, f"{resource.place}.{at}", found)
    for path in shape.code_extensions:
        for at, extension in _values(data, path):
            if isinstance(extension, dict) and extension.get("url") in PAYLOAD_CODES:
                concept = extension.get("valueCodeableConcept")
                _add_concept(concept, f"{resource.place}.{at}.valueCodeableConcept", found)
    if "extension" in data:
        _add_billing_options(data, resource.place, found)
    for path in shape.code_references:
        for _, reference in _values(data, path):
            target = _resolve(resource, reference, resources)
            if target is not None and target[0] in _CODE_OF_REFERENCED:
                kind, referenced, place = target
                if kind == "Procedure" and referenced.get("status") in _PROCEDURE_OVER:
                    continue  # a visit about a past service does not book it
                element = _CODE_OF_REFERENCED[kind]
                _add_concept(referenced.get(element), f"{place}.{element}", found)
    for path in shape.contained_orders:
        for _, reference in _values(data, path):
            _add_contained(resource, reference, resources, found)
    return found


def _add_contained(
    resource: Resource, reference: object, resources: Resources, found: list[OrderCoding]
) -> None:
    """Add the codings of an order within the resource: it has no address to be asked about by."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        return
    target = _resolve(resource, reference, resources)
    shape = _SHAPES.get(target[0]) if target is not None else None
    if target is None or shape is None:
        return
    _, data, place = target
    for path in shape.codes:
        for at, concept in _values(data, path):
            _add_concept(concept, f"{place}.{at}", found)


def _add_concept(concept: object, place: str, found: list[OrderCoding]) -> None:
    """Add the codings of a CodeableConcept, then its billing options (CRD 2.2.1 billopt-3)."""
    if not isinstance(concept, dict):
        return
    codings = concept.get("coding")
    for i, coding in enumerate(codings if isinstance(codings, list) else ()):
        if isinstance(coding, dict):
            system, code = text(coding.get("system")), text(coding.get("code"))
            meant, modifiers = split_code(system, code)
            written = f"{coding['system'] if system else ''}|{coding['code'] if code else ''}"
            found.append(OrderCoding(meant, f"{place}.coding[{i}]", written, modifiers))
    if "extension" in concept:
        _add_billing_options(concept, place, found)


def _add_billing_options(element: Mapping[str, Any], place: str, found: list[OrderCoding]) -> None:
    extensions = element["extension"]
    for i, extension in enumerate(extensions if isinstance(extensions, list) else ()):
        if isinstance(extension, dict) and extension.get("url") == BILLING_OPTIONS:
            concept = extension.get("valueCodeableConcept")
            _add_concept(concept, f"{place}.extension[{i}].valueCodeableConcept", found)


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
    for paths, read in ((shape.dates, _days), (shape.timings, _timing_days)):
        for path in paths:
            told = [(at, days) for at, value in _values(data, path) if (days := read(value, zone))]
            if told:  # several requested periods or dosages: any of their days is possible
                return _from_first_to_last([days for _, days in told], told[0][0])
    return None


def _from_first_to_last(ranges: Sequence[_Days], source: str) -> ServiceDay:
    """The range that spans all ranges; an open side of one opens the whole."""
    (first, last), *others = ranges
    if first is not None and last is not None and not others:
        return ServiceDay(first, last, source)
    written = [day for days in ranges for day in days if day is not None]
    return ServiceDay(
        min(written),
        max(written),
        source,
        open_start=any(first is None for first, _ in ranges),
        open_end=any(last is None for _, last in ranges),
    )


def _days(value: object, zone: tzinfo) -> _Days | None:
    return _period_days(value, zone) if isinstance(value, dict) else day_range(value, zone)


def _period_days(value: object, zone: tzinfo) -> _Days | None:
    """A period's days, None for an open side; None without any."""
    start, end = period_range(value, zone)
    return None if start is None and end is None else (start, end)


def _timing_days(timing: object, zone: tzinfo) -> _Days | None:
    if not isinstance(timing, dict):
        return None
    events = timing.get("event")
    told = events if isinstance(events, list) else ()
    ranges = [days for event in told if (days := day_range(event, zone))]
    if ranges:
        return min(first for first, _ in ranges), max(last for _, last in ranges)
    repeat = timing.get("repeat")
    bounds = repeat.get("boundsPeriod") if isinstance(repeat, dict) else None
    return _period_days(bounds, zone)


def _patient(data: Mapping[str, Any], shape: _Shape, resources: Resources) -> str | None:
    subject = data.get(shape.patient)
    written = subject.get("reference") if isinstance(subject, dict) else None
    if isinstance(written, str):
        # A contained patient has no identity to compare: that tells nobody, and no other one.
        return None if written.startswith("#") else resources.local(written)
    return next(iter(_participants(data, resources)), None)


def patients_of(resource: Resource, resources: Resources) -> frozenset[str]:
    """The participating patients of an appointment, as "Patient/id"."""
    return frozenset(_participants(resource.data, resources))


_PARTICIPANTS = ("participant", "actor", "reference")


def _participants(data: Mapping[str, Any], resources: Resources) -> Sequence[str]:
    written = [ref for _, ref in _values(data, _PARTICIPANTS) if isinstance(ref, str)]
    found = [resources.local(reference) for reference in written]
    return [reference for reference in found if reference.startswith("Patient/")]


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
    for path in (*shape.name, *shape.displays):
        for _, written in _values(data, path):
            if text(written):
                return str(written)
    return None


def _values(data: Mapping[str, Any], path: _Path) -> Sequence[tuple[str, Any]]:
    """The values at a path through lists, each with its full path: "event[1].day"."""
    node, at = data, ""
    for passed, name in enumerate(path, 1):
        if not isinstance(node, dict) or name not in node:
            return ()  # most elements of an order's shape are not told
        node = node[name]
        at = f"{at}.{name}" if at else name
        if isinstance(node, list):
            found: list[tuple[str, Any]] = []
            _collect(node, path, passed, at, found)
            return found
    return ((at, node),)


def _collect(node: object, path: _Path, passed: int, at: str, found: list[tuple[str, Any]]) -> None:
    """Add the values that the rest of a path leads to, after the steps that have been `passed`."""
    if isinstance(node, list):
        for i, item in enumerate(node):
            _collect(item, path, passed, f"{at}[{i}]", found)
    elif passed == len(path):
        found.append((at, node))
    elif isinstance(node, dict) and path[passed] in node:
        _collect(node[path[passed]], path, passed + 1, f"{at}.{path[passed]}", found)
