"""Order details for forms: diagnoses, place and providers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from service.fhir.document import Resource
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
    diagnoses = [text for c in _mappings(data.get("reasonCode")) if (text := _concept(c))]
    for reference in _mappings(data.get("reasonReference")):
        diagnoses.extend(_condition(reference, resources))
    places = [text for c in _mappings(data.get("locationCode")) if (text := _concept(c))]
    for reference in _mappings(data.get("locationReference")):
        places.extend(_location(reference, resources))
    return OrderDetails(
        tuple(dict.fromkeys(diagnoses)),
        places[0] if places else None,
        read_providers(order, resources, performer),
    )


def _condition(reference: Mapping[str, Any], resources: Resources) -> Iterator[str]:
    target = _target(reference, resources)
    code = target.data.get("code") if target and target.type == "Condition" else None
    text = _concept(code) if isinstance(code, Mapping) else _text(reference.get("display"))
    if text:
        yield text


def _location(reference: Mapping[str, Any], resources: Resources) -> Iterator[str]:
    target = _target(reference, resources)
    name = target.data.get("name") if target and target.type == "Location" else None
    text = _text(name) or _text(reference.get("display"))
    if text:
        yield text


def _target(reference: Mapping[str, Any], resources: Resources) -> Resource | None:
    written = reference.get("reference")
    return resources.get(written) if isinstance(written, str) else None


def _concept(concept: Mapping[str, Any]) -> str | None:
    """ "C71.9: Known brain tumor" of a CodeableConcept; code or text alone if one is absent."""
    codings = list(_mappings(concept.get("coding")))
    code = next((c for coding in codings if (c := _text(coding.get("code")))), None)
    words = _text(concept.get("text")) or next(
        (w for coding in codings if (w := _text(coding.get("display")))), None
    )
    return ": ".join(filter(None, (code, words)))[:_LIMIT] or None


def _mappings(value: object) -> Iterator[Mapping[str, Any]]:
    for item in value if isinstance(value, list) else ():
        if isinstance(item, Mapping):
            yield item


def _text(value: object) -> str | None:
    return value.strip()[:_LIMIT] if isinstance(value, str) and value.strip() else None
