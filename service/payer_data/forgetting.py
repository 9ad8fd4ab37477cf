"""Erasure of a member: all records of the person are deleted; logged decisions stay readable.

The decision log has the version of a record, never the record.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
from sqlalchemy import ColumnElement, Connection, Table, delete, select, text

from service.database.engines import open_engine
from service.payer_data import payer_tables
from service.payer_data.numbers import plain_number
from service.payer_data.record_rows import member_key
from service.payer_data.records import Member

_decode = msgspec.json.Decoder(Member).decode


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The number of deleted records; `members` are periods of membership, not rows."""

    members: int
    authorizations: int
    services: int


def forget(url: str, number: str, payers: Iterable[str]) -> Forgotten:
    """Delete all records of the person with this number at one of the payers.

    Deletes all numbers of the person, with their authorizations and services, in one transaction.
    On SQLite deleted data are overwritten.
    """
    engine = open_engine(url)
    with engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            connection.execute(text("PRAGMA secure_delete = ON"))
            connection.commit()
        counted = [_of_payer(connection, payer, plain_number(number)) for payer in payers]
        connection.commit()
        if connection.dialect.name == "sqlite":
            # The write-ahead log still contains the deleted data.
            connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
    return Forgotten(*(sum(each) for each in zip(*counted, strict=True))) if counted else _NOTHING


_NOTHING = Forgotten(0, 0, 0)


def _of_payer(connection: Connection, payer: str, number: str) -> tuple[int, int, int]:
    person = _everything(connection, payer, number)
    # The number itself, too: what is under it may have outlived the member's record.
    numbers = {number, *(m.number for m in person)}
    for each in {member_key(n, m.birth_date) for m in person for n in (m.number, *m.alternates)}:
        _delete(connection, payer_tables.member, payer, each, numbers)
    authorizations = sum(_delete(connection, payer_tables.authorization, payer, n) for n in numbers)
    services = 0
    for each in numbers:
        of_member = _begins_with(payer_tables.service, each)
        services += connection.execute(
            delete(payer_tables.service).where(payer_tables.service.c.payer == payer, of_member)
        ).rowcount
    return len(person), authorizations, services


def _everything(connection: Connection, payer: str, number: str) -> set[Member]:
    """The records of everyone with the number, and those of the same persons under others.

    Persons have no index: one pass through the payer's members, for what is seldom asked.
    """
    records, of_payer = payer_tables.member.c.record, payer_tables.member.c.payer == payer
    with_number = select(records).where(of_payer, _begins_with(payer_tables.member, number))
    found = {_decode(row.record) for row in connection.execute(with_number)}
    for person in {m.person for m in found}:
        written = f'"person":{msgspec.json.encode(person).decode()}'
        same = select(records).where(of_payer, records.contains(written, autoescape=True))
        members = (_decode(row.record) for row in connection.execute(same))
        found |= {m for m in members if m.person == person}
    return found


def _begins_with(table: Table, number: str) -> ColumnElement[bool]:
    """Whether a row's key is of this number, which a blank ends."""
    return table.c.key.between(f"{number} ", f"{number}!")


def _delete(
    connection: Connection, table: Table, payer: str, key: str, members: Iterable[str] = ()
) -> int:
    statement = delete(table).where(table.c.payer == payer, table.c.key == key)
    if members:
        # Another person may have the same number, as a subscriber's family has.
        statement = statement.where(table.c.member.in_(list(members)))
    return connection.execute(statement).rowcount
