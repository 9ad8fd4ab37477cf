"""Elements of FHIR data types, read leniently: a value of another type reads as absent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def mappings(value: object) -> Iterator[Mapping[str, Any]]:
    """The objects of a list."""
    for item in value if isinstance(value, list) else ():
        if isinstance(item, Mapping):
            yield item


def codings(concept: object) -> list[Mapping[str, Any]]:
    """The codings of a CodeableConcept, or of a list of them."""
    if isinstance(concept, list):
        return [coding for one in concept for coding in codings(one)]
    return list(mappings(concept.get("coding"))) if isinstance(concept, Mapping) else []


def extensions(holder: Mapping[str, Any], url: str) -> list[Mapping[str, Any]]:
    """The extensions of a URL."""
    return [e for e in mappings(holder.get("extension")) if e.get("url") == url]


def reference_of(value: object) -> str | None:
    """The literal reference of a Reference, as written."""
    return text(value.get("reference")) if isinstance(value, Mapping) else None


def text(value: object) -> str | None:
    """A text without blanks around it; None for an empty one."""
    return value.strip() if isinstance(value, str) and value.strip() else None
