"""Chains of one process: one for small records and one for large ones.

A record of hundreds of kilobytes takes many times as long to be on disk as a usual one, and those
that are written behind it wait for it. In a chain and a segment of its own it holds up others of
its kind alone. The second chain begins with the first large record.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from service.decision_log.chain_writer import ChainEnd, ChainWriter
from service.decision_log.frames import LogRecordKind

LARGE_BYTES = 65_536


class ProcessChains:
    """The chains that this process appends to. `new_writer` makes the writer of one."""

    def __init__(self, new_writer: Callable[[], ChainWriter]) -> None:
        self._small, self._large = new_writer(), new_writer()

    def append(self, kind: LogRecordKind, payload: bytes) -> None:
        """Append a record, on disk on return. Raises OSError if it is not."""
        writer = self._large if len(payload) > LARGE_BYTES else self._small
        writer.append(kind, payload)

    @property
    def ends(self) -> Sequence[ChainEnd]:
        """The last record of each chain that has any."""
        return [w.end for w in (self._small, self._large) if w.end is not None]

    @property
    def lost(self) -> int:
        """Records that were answered and are gone."""
        return self._small.lost + self._large.lost

    def check(self) -> None:
        """Notice what has happened to the segments while nothing was appended.

        Raises OSError if what they hold cannot be made safe.
        """
        self._small.check()
        self._large.check()

    def close(self) -> None:
        """End the segments; a later record begins a new one."""
        self._small.close()
        self._large.close()
