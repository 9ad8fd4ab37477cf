"""Order update: the received order with this service's coverage information added.

Numbers, strings and escapes keep their bytes (CRD 2.2.1 resp-37); whitespace between them is
dropped (found-40).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from cards.coverage_information.reader import is_coverage_information
from service.decision.order import ExistingCoverageInformation
from service.fhir.document import Resource

_elements = msgspec.json.Decoder(list[msgspec.Raw])
_encode = msgspec.json.Encoder().encode


def with_coverage_information(
    resource: Resource,
    carried: Sequence[ExistingCoverageInformation],
    coverage: str,
    extension: bytes,
) -> msgspec.Raw:
    """The resource's elements as received, with the extension on `coverage` added or replaced.

    `carried` is the resource's existing coverage information, in its order; `extension` is JSON.
    Information on other coverages stays, of any author.
    """
    if "extension" not in resource.data:
        # No name stands twice in what was received, so the new member can be put at the end.
        return msgspec.Raw(b'%b,"extension":[%b]}' % (resource.compact()[:-1], extension))
    members = resource.compact_members()
    kept: list[msgspec.Raw] = []
    written: Sequence[Any] = resource.data["extension"]
    raw = _elements.decode(members["extension"])
    read = iter(carried)
    for bytes_of_it, value in zip(raw, written, strict=True):
        if not is_coverage_information(value) or next(read).coverage != coverage:
            kept.append(bytes_of_it)
    members["extension"] = msgspec.Raw(_encode([*kept, msgspec.Raw(extension)]))
    return msgspec.Raw(_encode(members))
