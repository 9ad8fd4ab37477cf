"""Order details for forms: diagnoses, place and providers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from service.fhir.document import Resource
from service.fhir.elements import mappings
from service.fhir.providers import Providers, read_providers
from service.fhir.resources import Resources

_LIMIT = 200


@dataclass(frozen=True, slots=True)
class OrderDetails:
    """Texts of an order, untrusted, at most 200 characters each; and the NPIs.

    They are read when a form asks for them: few answers have one that is filled in. `performer` is
    the performer's reference in the call (order-dispatch).
    """

    order: Resource
    resources: Resources
    performer: str | None = None

    @property
    def diagnoses(self) -> tuple[str, ...]:
        """Diagnoses from reasonCode and present Conditions."""
        found = self._told("reasonCode", _concept)
        found += self._told("reasonReference", partial(_condition, resources=self.resources))
        return tuple(dict.fromkeys(found))

    @property
    def place(self) -> str | None:
        """The place of a ServiceRequest."""
        found = self._told("locationCode", _concept)
        found += self._told("locationReference", partial(_location, resources=self.resources))
        return found[0] if found else None

    @property
    def providers(self) -> Providers:
        """NPIs of orderer and performer."""
        return read_providers(self.order, self.resources, self.performer)

    def _told(self, element: str, read: Callable[[Mapping[str, Any]], str | None]) -> list[str]:
        written = mappings(self.order.data.get(element))
        return [told for each in written if (told := read(each)) is not None]


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
