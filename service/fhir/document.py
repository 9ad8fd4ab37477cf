"""A JSON document as it came: read as plain data, and any resource in it again byte for byte.

Reading a number and writing it again changes it (1.00 becomes 1.0), so a resource that goes back to
the EHR is cut out of the received bytes, never written from what was read (CRD 2.2.1 resp-37).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_elements = msgspec.json.Decoder(list[msgspec.Raw])

Path = tuple[str | int, ...]


class Document:
    """Received JSON bytes and the plain data read from them; `data` must not be changed."""

    __slots__ = ("_parts", "body", "data")

    def __init__(self, body: bytes, data: Any) -> None:
        self.body = body
        self.data = data
        self._parts: dict[Path, dict[str, msgspec.Raw] | list[msgspec.Raw]] = {}

    def raw(self, path: Path) -> bytes:
        """The bytes of the value at `path`, as received; KeyError or IndexError if none is."""
        if not path:
            return self.body
        *parent, last = path
        part = self._part(tuple(parent))
        value = part[last]  # type: ignore[index]
        return bytes(value)

    def _part(self, path: Path) -> dict[str, msgspec.Raw] | list[msgspec.Raw]:
        # Remembered, so that ten thousand entries of one Bundle cost one pass and not as many.
        part = self._parts.get(path)
        if part is None:
            raw = self.raw(path)
            part = _elements.decode(raw) if raw.lstrip()[:1] == b"[" else _members.decode(raw)
            self._parts[path] = part
        return part


@dataclass(slots=True, eq=False)
class Resource:
    """One resource where it was found: its data, its document and its path in it. As good as
    frozen: a dozen are made a call, and a frozen one takes twice the time.

    `place` is the path for people ("context.draftOrders.entry[0].resource"), or the name that it
    was given instead; `full_url` the Bundle entry's, if it came in one. `reference` is "Type/id",
    or the full URL, or the place for a resource that has neither.
    """

    data: Mapping[str, Any]
    document: Document
    path: Path
    full_url: str | None = None
    named: str | None = None
    type: str = field(init=False)
    id: str | None = field(init=False)
    reference: str = field(init=False)

    def __post_init__(self) -> None:
        # Once each: they are looked at a dozen times a call.
        kind, value = str(self.data.get("resourceType", "")), self.data.get("id")
        own = value if isinstance(value, str) else None
        reference = f"{kind}/{own}" if own else self.full_url or self.place
        self.type, self.id, self.reference = kind, own, reference

    @property
    def place(self) -> str:
        # Written when it is asked for: of most resources nobody asks.
        return self.named or written_path(self.path)

    def compact_members(self) -> dict[str, msgspec.Raw]:
        """The resource's elements by name, each value in its received tokens: only white space
        between them is left out.
        """
        return _members.decode(msgspec.json.format(self.document.raw(self.path), indent=-1))


def written_path(path: Path) -> str:
    """("context", "entry", 2) as "context.entry[2]"."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text
