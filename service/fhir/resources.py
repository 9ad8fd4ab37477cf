"""The resources that a call has at hand: found by type whatever the key, resolved by reference."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from service.fhir.document import Document, Path, Resource
from service.fhir.references import local_reference


def resources_in(document: Document, value: Any, path: Path) -> Iterator[Resource]:
    """Every resource in a value: a single one, or a Bundle's entries (Bundles within included).

    null, an OperationOutcome and anything that is no resource yield nothing: a failed query is no
    data, and no error of the call either.
    """
    pending: list[tuple[Any, Path, str | None]] = [(value, path, None)]
    while pending:
        node, at, full_url = pending.pop()
        if not isinstance(node, dict):
            continue
        kind = node.get("resourceType")
        if kind == "Bundle":
            entries = node.get("entry")
            for i, entry in reversed(list(enumerate(entries if isinstance(entries, list) else ()))):
                if isinstance(entry, dict):
                    url = entry.get("fullUrl")
                    place = (*at, "entry", i, "resource")
                    pending.append(
                        (entry.get("resource"), place, url if isinstance(url, str) else None)
                    )
        elif isinstance(kind, str) and kind != "OperationOutcome":
            yield Resource(node, document, at, full_url)


class Resources:
    """What a call was given or has fetched; the first of two with the same type and id counts.

    Given data is added before fetched data, and so wins over it.
    """

    def __init__(self) -> None:
        self._by_type: dict[str, list[Resource]] = {}
        self._by_reference: dict[str, Resource] = {}

    def add(self, resource: Resource) -> None:
        key = resource.reference
        if key in self._by_reference:
            return
        self._by_reference[key] = resource
        if resource.full_url:
            self._by_reference.setdefault(resource.full_url, resource)
        self._by_type.setdefault(resource.type, []).append(resource)

    def __iter__(self) -> Iterator[Resource]:
        """All of them, by type."""
        return (r for found in self._by_type.values() for r in found)

    def of_type(self, *types: str) -> list[Resource]:
        return [r for t in types for r in self._by_type.get(t, ())]

    def get(self, reference: str) -> Resource | None:
        """What an absolute, relative, versioned or urn reference points at, if it is at hand."""
        return self._by_reference.get(reference) or self._by_reference.get(
            local_reference(reference)
        )

    def local(self, reference: str) -> str:
        """ "Type/id" of a reference; a urn:uuid is looked up among the Bundle entries."""
        resource = self._by_reference.get(reference)
        return resource.reference if resource else local_reference(reference)
