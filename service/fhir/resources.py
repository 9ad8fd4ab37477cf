"""Resources of a call: by type, whatever their prefetch key, and by reference."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, tzinfo
from typing import Any, TypeAlias, TypeVar

import msgspec

from service.fhir.document import Document, Resource
from service.fhir.references import host_of, parse_literal
from service.field_path import FieldPath

T = TypeVar("T")


def resources_in(document: Document, value: Any, path: FieldPath) -> Iterator[Resource]:
    """The resources in a value: a resource, a list, a Bundle (nested ones included).

    null, an OperationOutcome and other values yield none: a failed query has no data and is no
    error of the call.
    """
    # A path is kept as its last step and those before: deep nesting makes no copies of it.
    pending: list[tuple[Any, _Steps, str | None]] = [(value, None, None)]
    while pending:
        node, at, full_url = pending.pop()
        if isinstance(node, list):
            pending.extend((item, (at, i), None) for i, item in reversed([*enumerate(node)]))
        if not isinstance(node, dict):
            continue
        kind = node.get("resourceType")
        if kind == "Bundle":
            entries = node.get("entry")
            for i, entry in reversed(list(enumerate(entries if isinstance(entries, list) else ()))):
                if isinstance(entry, dict):
                    url = entry.get("fullUrl")
                    place = (((at, "entry"), i), "resource")
                    pending.append(
                        (entry.get("resource"), place, url if isinstance(url, str) else None)
                    )
        elif isinstance(kind, str) and kind != "OperationOutcome":
            yield Resource(node, document, (*path, *_written(at)), full_url)


_Steps: TypeAlias = "tuple[_Steps, str | int] | None"


def _written(steps: _Steps) -> FieldPath:
    found: list[str | int] = []
    while steps is not None:
        steps, step = steps
        found.append(step)
    return tuple(reversed(found))


_GIVEN = {"context": 2, "prefetch": 1}


def _weight(resource: Resource) -> tuple[int, str, int, bytes]:
    """Precedence among resources of the same type and id; the greatest counts.

    The last part breaks ties, so that the order in the call has no effect.
    """
    meta = resource.data.get("meta")
    updated = meta.get("lastUpdated") if isinstance(meta, Mapping) else None
    return (
        _GIVEN.get(str(resource.path[0]), 0) if resource.path else 0,
        updated if isinstance(updated, str) else "",
        len(resource.data),
        msgspec.json.encode(resource.data, order="sorted"),
    )


class Resources:
    """The given and fetched resources of a call, independent of their sequence.

    Of several with the same type and id one counts: the context's before a prefetched one, and that
    before a fetched one; else the one updated last, else the one that says more. `server` is the
    FHIR base URL that the call names, if it names one; `other_hosts` are further ones of that EHR.
    `zone` is the service's time zone: the day of an instant is that of the zone.

    A full URL refers to its entry's resource, also if that resource is known already (FHIR R4,
    Bundle, references). A full URL of several resources refers to none.

    An absolute reference is "Type/id" of this EHR only with this EHR's host: another server's
    Patient/1 is another person (FHIR R4, references). The host is that of `server`, else of a full
    URL, else any. Paths are not compared, since EHRs use several for one server (as CRD 2.2.1's
    example request does).
    """

    def __init__(
        self,
        server: str | None = None,
        other_hosts: Collection[str] = (),
        zone: tzinfo = UTC,
    ) -> None:
        self.zone = zone
        self._by_type: dict[str, list[Resource]] = {}
        self._by_reference: dict[str, Resource] = {}
        self._by_full_url: dict[str, str | None] = {}
        self._server = host_of(server) if server else None
        self._other_hosts = frozenset(other_hosts)
        self._hosts: set[str | None] = set()
        self._found: dict[FieldPath, tuple[Resource, ...]] = {}
        self._read: dict[object, Any] = {}

    def add_from(self, document: Document, value: Any, path: FieldPath) -> None:
        """Add every resource in the value at `path` of the call's document."""
        found = self._found[path] = tuple(resources_in(document, value, path))
        for resource in found:
            self.add(resource)

    def found_at(self, path: FieldPath) -> Sequence[Resource]:
        """The resources that `add_from` found at `path`, in sequence."""
        return self._found.get(path, ())

    def once(self, key: object, read: Callable[[], T]) -> T:
        """The result of `read` on these resources, kept for its key as long as none is added.

        The orders of a call share it: what is looked up by each order is indexed once.
        """
        try:
            found: T = self._read[key]
        except KeyError:
            found = self._read[key] = read()
        return found

    def add(self, resource: Resource) -> None:
        self._read.clear()
        key = resource.reference
        if url := resource.full_url:
            self._by_full_url[url] = key if self._by_full_url.get(url, key) == key else None
            if url.startswith("http"):
                self._hosts.add(host_of(url))
        known = self._by_reference.get(key)
        if known is None:
            self._by_reference[key] = resource
            self._by_type.setdefault(resource.type, []).append(resource)
        elif known.data != resource.data and _weight(resource) > _weight(known):
            self._by_reference[key] = resource
            of_type = self._by_type[resource.type]
            of_type[of_type.index(known)] = resource

    def __iter__(self) -> Iterator[Resource]:
        """All of them, by type."""
        return (r for found in self._by_type.values() for r in found)

    def of_type(self, *types: str) -> list[Resource]:
        return [r for t in types for r in self._by_type.get(t, ())]

    def each_once(self, found: Iterable[Resource]) -> Sequence[Resource]:
        """Added resources in sequence, of those with the same type and id the one that counts."""
        return [self._by_reference[r] for r in dict.fromkeys(r.reference for r in found)]

    def get(self, reference: str) -> Resource | None:
        """The present target of an absolute, relative, versioned or urn reference, or None."""
        return self._at(reference) or self._by_reference.get(self._own(reference))

    def local(self, reference: str) -> str:
        """ "Type/id" of a reference to this EHR; a urn:uuid is resolved in the Bundles.

        A reference to another server stays as written.
        """
        resource = self._at(reference)
        return resource.reference if resource else self._own(reference)

    def _at(self, reference: str) -> Resource | None:
        found = self._by_reference.get(reference)
        if found is None and (key := self._by_full_url.get(reference)):
            found = self._by_reference.get(key)
        return found

    def _own(self, reference: str) -> str:
        literal = parse_literal(reference)
        if literal is None:
            return reference.strip()
        if literal.base is None or self._is_here(host_of(literal.base)):
            return literal.local
        return reference.strip()

    def _is_here(self, host: str | None) -> bool:
        if self._server is not None:
            return host == self._server or host in self._other_hosts
        return not self._hosts or host in self._hosts
