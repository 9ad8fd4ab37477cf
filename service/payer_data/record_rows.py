"""Mapping of records to rows of the embedded source's tables, by kind."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
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
    """One kind of records: its name on the command line, its table, and the rows of one record."""

    name: str
    table: str
    type: type[Record]
    keys: Callable[[Any], Iterator[tuple[str, str, str]]]

    def rows(self, record: Record) -> Iterator[Row]:
        """Each row of a record: (key, id, member) differ, the record is the same."""
        values = {
            f.name: value
            for f in fields(record)
            if (value := getattr(record, f.name)) not in (None, "", ()) and f.name != "version"
        }
        digest = hashlib.blake2b(_encode(values), digest_size=_VERSION_BYTES)
        version = values["version"] = digest.hexdigest()
        text = _encode(values).decode()
        for key, own_id, member in self.keys(record):
            yield Row(record.payer, key, own_id, member, text, version)

    def decoder(self) -> Callable[[str], Any]:
        return msgspec.json.Decoder(self.type).decode


def service_key(member: str, code: str) -> str:
    """The key of a service rendered; a member's keys are those that begin with number and blank."""
    return f"{member} {code}"


def _of_member(m: Member) -> Iterator[tuple[str, str, str]]:
    own_id = f"{m.number}|{m.person}|{m.plan}|{m.starts or ''}"
    for number in dict.fromkeys((m.number, *m.alternates)):
        yield number, own_id, m.number


def _of_authorization(a: Authorization) -> Iterator[tuple[str, str, str]]:
    yield a.member, a.number, a.member


def _of_contract(c: NetworkContract) -> Iterator[tuple[str, str, str]]:
    yield c.npi, f"{c.plan}|{c.starts or ''}", ""


def _of_service(s: ServiceRendered) -> Iterator[tuple[str, str, str]]:
    yield service_key(s.member, s.code), s.day.isoformat(), s.member


def _of_exemption(e: Exemption) -> Iterator[tuple[str, str, str]]:
    yield e.npi, f"{' '.join(e.codes)}|{e.starts or ''}", ""


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
