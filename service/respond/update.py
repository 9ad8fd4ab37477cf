"""The order that goes back: token for token as it came, but for our statement (CRD 2.2.1 resp-37).

Every number, string and escape keeps its bytes; only white space between them, which says nothing,
is left out (found-40).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from cards.vocabulary import Json
from service.fhir.document import Resource
from service.fhir.references import local_reference
from service.fhir.systems import COVERAGE_INFORMATION

_elements = msgspec.json.Decoder(list[msgspec.Raw])
_encode = msgspec.json.Encoder().encode


def with_statement(resource: Resource, coverage: str, extension: Json) -> dict[str, msgspec.Raw]:
    """The resource's elements as received, our statement on `coverage` added or replaced.

    Statements on other coverages stay, whoever made them.
    """
    members = {name: _compact(value) for name, value in resource.members().items()}
    kept: list[msgspec.Raw] = []
    if "extension" in members:
        written: Sequence[Any] = resource.data["extension"]
        raw = _elements.decode(members["extension"])
        kept = [r for r, e in zip(raw, written, strict=True) if not _states(e, coverage)]
    members["extension"] = msgspec.Raw(_encode([*kept, extension]))
    return members


def _compact(value: msgspec.Raw) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.format(bytes(value), indent=-1))


def _states(extension: Any, coverage: str) -> bool:
    """Whether an extension is coverage information on this very coverage."""
    if not isinstance(extension, Mapping) or extension.get("url") != COVERAGE_INFORMATION:
        return False
    parts = extension.get("extension")
    for part in parts if isinstance(parts, list) else ():
        if isinstance(part, Mapping) and part.get("url") == "coverage":
            value = part.get("valueReference")
            reference = value.get("reference") if isinstance(value, Mapping) else None
            return isinstance(reference, str) and local_reference(reference) == coverage
    return False
