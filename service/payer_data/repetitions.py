"""Repeated records of a file, suspected by their hashes in a little memory."""

from __future__ import annotations

from array import array
from collections.abc import Hashable

_PARTS = 256


class Repetitions:
    """The hashes of a file's records: 8 bytes each, compared once at the end.

    A file without a repeated record need not be searched for them in the database. Two hashes may
    be equal by chance: then it is searched in vain.
    """

    def __init__(self) -> None:
        self._parts = [array("q") for _ in range(_PARTS)]

    def add(self, identity: Hashable) -> None:
        number = hash(identity)
        self._parts[number % _PARTS].append(number)

    def suspected(self) -> bool:
        """Whether any record may have come twice."""
        return any(len(set(part)) < len(part) for part in self._parts)
