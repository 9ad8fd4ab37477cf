"""Proof of a record: its place in the chain of records, with the hashes that tie it there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from service.decision_log.frames import chain_name
from service.decision_log.tables import chain_record


@dataclass(frozen=True, slots=True)
class ChainProof:
    """A record's place: `chain` and `sequence`, its hash, and that of its content, hexadecimal."""

    chain: str
    sequence: int
    hash: str
    content_hash: str

    def told(self) -> Iterator[tuple[str, str]]:
        """(label, value) pairs."""
        yield "Chain", self.chain
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
    c = chain_record.c
    found = connection.execute(
        select(c.chain, c.sequence, c.hash, c.content_hash)
        .where(c.call_id == call_id)
        .order_by(c.recorded_at)
        .limit(1)
    ).first()
    if found is None:
        return None
    name = chain_name(found.chain)
    return ChainProof(
        name, found.sequence, bytes(found.hash).hex(), bytes(found.content_hash).hex()
    )
