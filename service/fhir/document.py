"""Received JSON document: plain data, and each resource in its original bytes.

Decoding and encoding change numbers (1.00 becomes 1.0). A resource that returns to the EHR is
therefore a slice of the received bytes (CRD 2.2.1 resp-37).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

from service.field_path import FieldPath, written_path

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_elements = msgspec.json.Decoder(list[msgspec.Raw])
_encode = msgspec.json.Encoder().encode
_NULL = b"null"


def without_nulls(data: Any, body: bytes) -> Any:
    """Data without members that are null, as some serializers write what is absent (FHIR has none).

    `body` are the bytes that the data were read from. An object that held nothing else is left out
    with them. In arrays null stays: there it keeps the place of an element of extensions alone.
    """
    # From the end, for speed: CPython looks for bytes from there in a third of the time.
    return _pruned(data) if body.rfind(_NULL) >= 0 else data


def _pruned(node: Any) -> Any:
    if isinstance(node, list):
        return [_pruned(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {key: _pruned(value) for key, value in node.items() if value is not None}
    return {key: value for key, value in kept.items() if value != {} or node[key] == {}}


def _pruned_raw(raw: bytes) -> bytes:
    """The same for compact JSON: what is kept keeps its tokens."""
    if _NULL not in raw:
        return raw
    if raw[:1] == b"[":
        return _encode([msgspec.Raw(_pruned_raw(bytes(item))) for item in _elements.decode(raw)])
    if raw[:1] != b"{":
        return raw
    kept = {}
    for key, value in _members.decode(raw).items():
        before = bytes(value)
        after = _pruned_raw(before)
        if before != _NULL and (after != b"{}" or before == b"{}"):
            kept[key] = msgspec.Raw(after)
    return _encode(kept)


@lru_cache(maxsize=64)
def _decoder_to(steps: FieldPath) -> msgspec.json.Decoder[Any]:
    """A decoder that reads only what lies on a path: `at` of each object, each item of an array.

    It passes over the text once; a decoder for each step passes over it as often as there are
    steps. An array's step is 0, whichever item is meant: a Bundle's entries are read together.
    """
    kind: Any = msgspec.Raw
    for step in reversed(steps):
        if isinstance(step, int):
            kind = list[kind]
        else:
            kind = msgspec.defstruct("At", [("at", kind, None)], rename={"at": step})
    return msgspec.json.Decoder(kind)


_LONGEST_KEPT = 300
"""Characters of a path whose decoder is remembered: callers name members."""


def _decoder(steps: FieldPath) -> msgspec.json.Decoder[Any]:
    length = sum(len(step) for step in steps if isinstance(step, str))
    return _decoder_to(steps) if length <= _LONGEST_KEPT else _decoder_to.__wrapped__(steps)


class Document:
    """Received JSON bytes with their plain data; `data` must not be changed."""

    __slots__ = ("_on_path", "_parts", "body", "data")

    def __init__(self, body: bytes, data: Any) -> None:
        self.body = body
        self.data = data
        self._on_path: dict[FieldPath, Any] = {}
        self._parts: dict[FieldPath, dict[str, msgspec.Raw] | list[msgspec.Raw]] = {}

    def raw(self, path: FieldPath) -> bytes:
        """The received bytes of the value at `path`. Raises KeyError or IndexError without one."""
        if not path:
            return self.body
        try:
            found = self._at(path)
        except ValueError:  # a neighbor in an array has no members, or no field can have the name
            found = None
        if found is None:
            *parent, last = path
            found = self._part(tuple(parent))[last]  # type: ignore[index]
        return bytes(found)

    def _at(self, path: FieldPath) -> Any:
        steps = tuple([0 if isinstance(step, int) else step for step in path])
        found = self._on_path.get(steps)
        if found is None:
            # Cached, so that ten thousand entries of a Bundle cost one pass.
            found = self._on_path[steps] = _decoder(steps).decode(self.body)
        for step in path:
            if found is not None:
                found = found[step] if isinstance(step, int) else found.at
        return found

    def _part(self, path: FieldPath) -> dict[str, msgspec.Raw] | list[msgspec.Raw]:
        part = self._parts.get(path)
        if part is None:
            raw = self.raw(path)
            part = _elements.decode(raw) if raw.lstrip()[:1] == b"[" else _members.decode(raw)
            self._parts[path] = part
        return part


class Resource:
    """A resource with its document and path. Treat as frozen: a frozen class costs twice the time.

    `place` is the path for messages ("context.draftOrders.entry[0].resource"), or a given name;
    `full_url`, the Bundle entry's. `reference` is "Type/id", else the full URL, else the place.
    """

    __slots__ = (
        *("_contained", "data", "document", "full_url", "id", "named", "path", "reference"),
        "type",
    )

    def __init__(
        self,
        data: Mapping[str, Any],
        document: Document,
        path: FieldPath,
        full_url: str | None = None,
        named: str | None = None,
    ) -> None:
        self.data = data
        self.document = document
        self.path = path
        self.full_url = full_url
        self.named = named
        self._contained: Mapping[str, tuple[int, Mapping[str, Any]]] | None = None
        # Computed once: they are read a dozen times a call.
        kind, own = data.get("resourceType", ""), data.get("id")
        self.type: str = kind if isinstance(kind, str) else str(kind)
        self.id: str | None = own if isinstance(own, str) else None
        self.reference: str = f"{self.type}/{self.id}" if self.id else full_url or self.place

    @property
    def place(self) -> str:
        # Computed on demand, and once: most places are never read, some several times.
        if self.named is None:
            self.named = written_path(self.path)
        return self.named

    @property
    def contained(self) -> Mapping[str, tuple[int, Mapping[str, Any]]]:
        """The contained resources by id, each with its position; the first of those with one id."""
        if self._contained is None:
            found: dict[str, tuple[int, Mapping[str, Any]]] = {}
            written = self.data.get("contained")
            for i, inner in enumerate(written if isinstance(written, list) else ()):
                if isinstance(inner, dict) and isinstance(own := inner.get("id"), str):
                    found.setdefault(own, (i, inner))
            self._contained = found
        return self._contained

    def within(self, data: Mapping[str, Any], path: FieldPath) -> Resource:
        """A resource contained in this one, which refers to its siblings as this one does."""
        inner = Resource(data, self.document, path)
        inner._contained = self.contained
        return inner

    def compact(self) -> bytes:
        """The resource in its received tokens without whitespace, without members that are null."""
        return _pruned_raw(msgspec.json.format(self.document.raw(self.path), indent=-1))

    def compact_members(self) -> dict[str, msgspec.Raw]:
        """Its elements by name, in the same way."""
        return _members.decode(self.compact())
