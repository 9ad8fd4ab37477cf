"""Proof of a record: its place in the chain of records, with the hashes that tie it there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection


@dataclass(frozen=True, slots=True)
class ChainProof:
    """A record's place: `chain` and `sequence`, its hash, and that of its content, hexadecimal."""

    chain: int
    sequence: int
    hash: str
    content_hash: str

    def told(self) -> Iterator[tuple[str, str]]:
        """(label, value) pairs."""
        yield "Chain", str(self.chain)
        yield "Record", str(self.sequence)
        yield "Hash", self.hash
        yield "Hash of its content", self.content_hash

    def as_json(self) -> Mapping[str, Any]:
        return {
            "chain": self.chain,
            "sequence": self.sequence,
            "hash": self.hash,
            "content_hash": self.content_hash,
        }


def chain_proof(connection: Connection, call_id: str) -> ChainProof | None:
    """The place of a call's record; None for a call of before records were chained."""
    return None
