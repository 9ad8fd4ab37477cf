"""Lasting parts of an application: what stays while one snapshot follows another.

Counters, limits, connections and the recorder belong to the process, not to the policies: a switch
neither forgets what a client has had of its minute nor opens a second connection pool.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

T = TypeVar("T")


class Lasting:
    """The parts that are made already, by name; handed from one application to the next."""

    def __init__(self) -> None:
        self._made: dict[str, object] = {}

    def of(self, name: str, make: Callable[[], T]) -> T:
        """The part of this name; the first time, `make` makes it."""
        if name not in self._made:
            self._made[name] = make()
        return cast("T", self._made[name])

    def replace(self, name: str, part: T) -> T | None:
        """Keep a part for the next application; returns the one of before."""
        before = self._made.get(name)
        self._made[name] = part
        return cast("T | None", before)
