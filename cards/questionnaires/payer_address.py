"""Address of the payer in its forms: written by a reserved name, told as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TERMINOLOGY_SERVER = "http://hl7.org/fhir/StructureDefinition/preferredTerminologyServer"
PAYER = "https://covercard.example/fhir"
"""The terminology server of a form on file: this payer, at whichever address it is."""


def addressed(value: Any, address: str) -> Any:
    """A copy of a Questionnaire, or of a part of one, with this payer's FHIR base URL."""
    if isinstance(value, list):
        return [addressed(each, address) for each in value]
    if not isinstance(value, Mapping):
        return value
    if names_the_payer(value):
        return {**value, "valueUrl": address}
    return {name: addressed(inner, address) for name, inner in value.items()}


def names_the_payer(extension: Mapping[str, Any]) -> bool:
    """Whether an extension names this payer as the terminology server."""
    return extension.get("url") == TERMINOLOGY_SERVER and extension.get("valueUrl") == PAYER
