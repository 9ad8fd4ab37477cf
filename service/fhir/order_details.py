"""Order details for forms: diagnoses, place and providers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from service.fhir.document import Resource
from service.fhir.elements import mappings
from service.fhir.providers import Providers, read_providers
from service.fhir.resources import Resources

_LIMIT = 200


@dataclass(frozen=True, slots=True)
class OrderDetails:
    """Texts of the order, untrusted, at most 200 characters each."""

    diagnoses: tuple[str, ...] = ()
    place: str | None = None
    providers: Providers = field(default_factory=Providers)


def read_order_details(
    order: Resource, resources: Resources, performer: str | None = None
) -> OrderDetails:
    """Diagnoses from reasonCode and present Conditions; the place of a ServiceRequest; the NPIs.

    `performer` is the performer's reference in the call (order-dispatch).
    """
    data = order.data
    diagnoses, places = list[str | None](), list[str | None]()
    if "reasonCode" in data:
        diagnoses += map(_concept, mappings(data["reasonCode"]))
    if "reasonReference" in data:
        diagnoses += [_condition(r, resources) for r in mappings(data["reasonReference"])]
    if "locationCode" in data:
        places += map(_concept, mappings(data["locationCode"]))
    if "locationReference" in data:
        places += [_location(r, resources) for r in mappings(data["locationReference"])]
    told = [place for place in places if place]
    return OrderDetails(
        tuple(dict.fromkeys([diagnosis for diagnosis in diagnoses if diagnosis])),
        told[0] if told else None,
        read_providers(order, resources, performer),
    )


def _condition(reference: Mapping[str, Any], resources: Resources) -> str | None:
    target = _target(reference, resources)
    code = target.data.get("code") if target and target.type == "Condition" else None
    return _concept(code) if isinstance(code, dict) else _text(reference.get("display"))


def _location(reference: Mapping[str, Any], resources: Resources) -> str | None:
    target = _target(reference, resources)
    name = target.data.get("name") if target and target.type == "Location" else None
    return _text(name) or _text(reference.get("display"))


def _target(reference: Mapping[str, Any], resources: Resources) -> Resource | None:
    written = reference.get("reference")
    return resources.get(written) if isinstance(written, str) else None


def _concept(concept: Mapping[str, Any]) -> str | None:
    """ "C71.9: Known brain tumor" of a CodeableConcept; code or text alone if one is absent."""
    code, words = None, _text(concept.get("text"))
    for coding in mappings(concept.get("coding")):
        code = code or _text(coding.get("code"))
        words = words or _text(coding.get("display"))
    return f"{code}: {words}"[:_LIMIT] if code and words else code or words


def _text(value: object) -> str | None:
    """A text without blanks around it, bounded."""
    return value.strip()[:_LIMIT] or None if isinstance(value, str) else None
