"""Mapping of records to rows of the embedded source's tables, by kind."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

import msgspec

from service.payer_data.records import (
    Authorization,
    Exemption,
    Member,
    NetworkContract,
    Record,
    ServiceRendered,
)

_encode = msgspec.json.Encoder().encode
_VERSION_BYTES = 6


class Row(NamedTuple):
    """A row of any table of records."""

    payer: str
    key: str
    id: str
    member: str
    record: str
    version: str


@dataclass(frozen=True, slots=True)
class PayerRecordKind:
    """One kind of records: its name on the command line, its table, and the rows of one record.

    The first of `keys` is the record's own, the others are those of its alternates.
    """

    name: str
    table: str
    type: type[Record]
    keys: Callable[[Any], Iterable[tuple[str, str, str]]]

    def rows(self, record: Record) -> list[Row]:
        """Each row of a record: (key, id, member) differ, the record is the same."""
        text = _encode(record)
        version = hashlib.blake2b(text, digest_size=_VERSION_BYTES).hexdigest()
        written = f'{text[:-1].decode()},"version":"{version}"}}'
        payer = record.payer
        return [
            Row(payer, key, own_id, member, written, version)
            for key, own_id, member in self.keys(record)
        ]

    def identity(self, row: Row) -> tuple[str, ...]:
        """The identity of a record: a member has an id of its own, under any key."""
        if self.type is Member:
            return row.payer, row.id
        return row.payer, row.key, row.id

    def decoder(self) -> Callable[[str], Any]:
        return msgspec.json.Decoder(self.type).decode


def member_key(number: str, birth_date: date) -> str:
    """The key of a member: a number that comes with another birth date is a number of nobody.

    The keys of one number are those that begin with it and a blank.
    """
    return f"{number} {birth_date}"


def service_key(member: str, code: str) -> str:
    """The key of a service rendered; a member's keys are those that begin with number and blank."""
    return f"{member} {code}"


def _of_member(m: Member) -> Iterable[tuple[str, str, str]]:
    own_id = f"{m.number}|{m.person}|{m.plan}|{m.starts or ''}"
    born = m.birth_date
    if not m.alternates:
        return ((member_key(m.number, born), own_id, m.number),)
    numbers = dict.fromkeys((m.number, *m.alternates))
    return [(member_key(number, born), own_id, m.number) for number in numbers]


def _of_authorization(a: Authorization) -> Iterable[tuple[str, str, str]]:
    return ((a.member, a.number, a.member),)


def _of_contract(c: NetworkContract) -> Iterable[tuple[str, str, str]]:
    return ((c.npi, f"{c.plan}|{c.starts or ''}", ""),)


def _of_service(s: ServiceRendered) -> Iterable[tuple[str, str, str]]:
    return ((service_key(s.member, s.code), s.day.isoformat(), s.member),)


def _of_exemption(e: Exemption) -> Iterable[tuple[str, str, str]]:
    return ((e.npi, f"{' '.join(e.codes)}|{e.starts or ''}", ""),)


KINDS: Mapping[str, PayerRecordKind] = {
    kind.name: kind
    for kind in (
        PayerRecordKind("members", "payer_member", Member, _of_member),
        PayerRecordKind("authorizations", "payer_authorization", Authorization, _of_authorization),
        PayerRecordKind("network", "payer_network", NetworkContract, _of_contract),
        PayerRecordKind("history", "payer_service", ServiceRendered, _of_service),
        PayerRecordKind("exemptions", "payer_exemption", Exemption, _of_exemption),
    )
}
