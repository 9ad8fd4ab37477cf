"""Resources of a call: by type, whatever their prefetch key, and by reference."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, tzinfo
from typing import Any, TypeVar

import msgspec

from service.fhir.document import Document, Resource
from service.fhir.references import host_of, parse_literal
from service.field_path import FieldPath
from service.interpreter_lock import giving_way

T = TypeVar("T")


def resources_in(document: Document, value: Any, path: FieldPath) -> list[Resource]:
    """The resources in a value: a resource, a list, a Bundle (nested ones included).

    null, an OperationOutcome and other values yield none: a failed query has no data and is no
    error of the call. The parser bounds how deep a value is nested.
    """
    found: list[Resource] = []
    _find(document, value, path, None, found)
    return found


def _find(
    document: Document, value: Any, path: FieldPath, full_url: str | None, found: list[Resource]
) -> None:
    if isinstance(value, dict):
        kind = value.get("resourceType")
        if kind == "Bundle":
            entries = value.get("entry")
            for i, entry in enumerate(giving_way(entries) if isinstance(entries, list) else ()):
                if isinstance(entry, dict) and "resource" in entry:
                    url, at = entry.get("fullUrl"), (*path, "entry", i, "resource")
                    url = url if isinstance(url, str) else None
                    _find(document, entry["resource"], at, url, found)
        elif isinstance(kind, str) and kind != "OperationOutcome":
            found.append(Resource(value, document, path, full_url))
    elif isinstance(value, list):
        for i, item in enumerate(giving_way(value)):
            _find(document, item, (*path, i), None, found)


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


_UNREAD: Any = object()


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
        self._found: dict[FieldPath, Sequence[Resource]] = {}
        self._read: dict[object, Any] = {}
        self._by_written: dict[str, tuple[Resource | None, str]] = {}

    def add_from(self, document: Document, value: Any, path: FieldPath) -> None:
        """Add every resource in the value at `path` of the call's document."""
        found = self._found[path] = resources_in(document, value, path)
        if found:
            self.add(*found)

    def found_at(self, path: FieldPath) -> Sequence[Resource]:
        """The resources that `add_from` found at `path`, in sequence."""
        return self._found.get(path, ())

    def once(self, key: object, read: Callable[[], T]) -> T:
        """The result of `read` on these resources, kept for its key as long as none is added.

        The orders of a call share it: what is looked up by each order is indexed once.
        """
        found: T = self._read.get(key, _UNREAD)
        if found is _UNREAD:
            found = self._read[key] = read()
        return found

    def forget(self) -> None:
        """Forget what was read: the call is over.

        Much of it refers to these resources, and would keep them in memory until the next garbage
        collection, which holds up all calls of the process.
        """
        self._read.clear()
        self._by_written.clear()

    def add(self, *resources: Resource) -> None:
        """Add resources to those of the call; what was read without them is read again."""
        if self._read or self._by_written:
            self.forget()
        by_reference, by_full_url = self._by_reference, self._by_full_url
        for resource in resources:
            key, url = resource.reference, resource.full_url
            if url:
                by_full_url[url] = key if by_full_url.get(url, key) == key else None
            known = by_reference.get(key)
            if known is None:
                by_reference[key] = resource
                of_type = self._by_type.get(resource.type)
                if of_type is None:
                    self._by_type[resource.type] = [resource]
                else:
                    of_type.append(resource)
            elif known.data != resource.data and _weight(resource) > _weight(known):
                by_reference[key] = resource
                of_type = self._by_type[resource.type]
                of_type[of_type.index(known)] = resource

    def __iter__(self) -> Iterator[Resource]:
        """All of them, by type."""
        return (r for found in self._by_type.values() for r in found)

    def __len__(self) -> int:
        return len(self._by_reference)

    def of_type(self, *types: str) -> list[Resource]:
        """Those of some types, type by type in the sequence of the call."""
        found: list[Resource] = []
        for kind in types:
            found += self._by_type.get(kind, ())
        return found

    def each_once(self, found: Iterable[Resource]) -> Sequence[Resource]:
        """Added resources in sequence, of those with the same type and id the one that counts."""
        return [self._by_reference[r] for r in dict.fromkeys([r.reference for r in found])]

    def get(self, reference: str) -> Resource | None:
        """The present target of an absolute, relative, versioned or urn reference, or None."""
        # Most references are "Type/id" as they stand: these end at the first look.
        return self._by_reference.get(reference) or self._resolved(reference)[0]

    def local(self, reference: str) -> str:
        """ "Type/id" of a reference to this EHR; a urn:uuid is resolved in the Bundles.

        A reference to another server stays as written.
        """
        return reference if reference in self._by_reference else self._resolved(reference)[1]

    def _resolved(self, reference: str) -> tuple[Resource | None, str]:
        """Target and "Type/id" of a reference that is not the one of a resource at hand itself."""
        found = self._by_written.get(reference)
        if found is None:
            key = self._by_full_url.get(reference)
            target = self._by_reference.get(key) if key else None
            if target is not None:
                found = target, target.reference
            else:
                own = self._own(reference)
                found = self._by_reference.get(own), own
            self._by_written[reference] = found
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
        told = self.once("hosts", self._hosts)
        return not told or host in told

    def _hosts(self) -> frozenset[str | None]:
        """The hosts of the full URLs."""
        return frozenset(host_of(url) for url in self._by_full_url if url.startswith("http"))
