"""The order that goes back: token for token as it came, but for our coverage information.

Every number, string and escape keeps its bytes (CRD 2.2.1 resp-37); only white space between them,
which says nothing, is left out (found-40).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from cards.coverage_information.reader import is_coverage_information
from cards.vocabulary import Json
from service.decision.order import ExistingCoverageInformation
from service.fhir.document import Resource

_elements = msgspec.json.Decoder(list[msgspec.Raw])
_encode = msgspec.json.Encoder().encode


def with_coverage_information(
    resource: Resource,
    carried: Sequence[ExistingCoverageInformation],
    coverage: str,
    extension: Json,
) -> dict[str, msgspec.Raw]:
    """The resource's elements as received, ours on `coverage` added or replaced.

    `carried` are those read from the resource, in its order. Those on other coverages stay, whoever
    made them.
    """
    members = resource.compact_members()
    kept: list[msgspec.Raw] = []
    if "extension" in members:
        written: Sequence[Any] = resource.data["extension"]
        raw = _elements.decode(members["extension"])
        read = iter(carried)
        for bytes_of_it, value in zip(raw, written, strict=True):
            if not is_coverage_information(value) or next(read).coverage != coverage:
                kept.append(bytes_of_it)
    members["extension"] = msgspec.Raw(_encode([*kept, extension]))
    return members
