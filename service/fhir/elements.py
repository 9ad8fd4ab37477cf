"""Elements of FHIR data types, read leniently: a value of another type reads as absent.

JSON objects are dicts, as the parser makes them: that check costs a tenth of one for a Mapping.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def mappings(value: object) -> Sequence[dict[str, Any]]:
    """The objects of a list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else ()


def codings(concept: object) -> Sequence[dict[str, Any]]:
    """The codings of a CodeableConcept, or of a list of them."""
    if isinstance(concept, list):
        return [coding for one in concept for coding in codings(one)]
    return mappings(concept.get("coding")) if isinstance(concept, dict) else ()


def extensions(holder: Mapping[str, Any], url: str) -> Sequence[dict[str, Any]]:
    """The extensions of a URL."""
    return [e for e in mappings(holder.get("extension")) if e.get("url") == url]


def reference_of(value: object) -> str | None:
    """The literal reference of a Reference, as written."""
    return text(value.get("reference")) if isinstance(value, dict) else None


def text(value: object) -> str | None:
    """A text without blanks around it; None for an empty one."""
    return value.strip() or None if isinstance(value, str) else None
