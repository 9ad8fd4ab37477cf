"""Memory of texts: a bounded map, filled on first use and shared by the calls of a process."""

from __future__ import annotations

from collections.abc import Hashable
from threading import Lock
from typing import Generic, NamedTuple, TypeVar

Text = TypeVar("Text")


class Kept(NamedTuple, Generic[Text]):
    """The text of a shape.

    None where it depends on more than the shape, so that it is written for each call. `lasting`
    holds the objects whose identity is in the key.
    """

    text: Text | None
    lasting: object


class Memory(Generic[Text]):
    """At most `most` texts; of more, the one that was kept first goes first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: dict[Hashable, Kept[Text]] = {}
        self._changing = Lock()
        self.get = self._kept.get
        """The entry of a key, None for a new one."""

    def keep(self, key: Hashable, text: Text | None, lasting: object) -> Kept[Text]:
        """Keep the text of a key; None where it cannot be written beforehand."""
        kept = Kept(text, lasting)
        with self._changing:
            while len(self._kept) >= self._most:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = kept
        return kept
