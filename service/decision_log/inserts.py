"""INSERT statements of the tables. An existing row stays as it is, so that entries may repeat."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec
from sqlalchemy import LargeBinary, Table, bindparam
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from service.decision_log import tables
from service.decision_log.rows import LogEntry

_json = msgspec.json.Encoder().encode


_ROWS_AT_A_TIME = (64, 16, 4, 1)
"""Few sizes, so that the connection caches each statement."""


class SqliteInserts:
    """Multi-row INSERTs: each statement releases the interpreter's lock once, and reacquiring it
    delays the transaction.
    """

    def __init__(self) -> None:
        self._statements = [
            (name, _inserts_of_values(table))
            for name, table in (
                ("calls", tables.call),
                ("determinations", tables.determination),
                ("cards", tables.card),
                ("feedback", tables.feedback),
                ("accesses", tables.access),
                ("records", tables.chain_record),
            )
        ]

    def of(self, entry: LogEntry) -> Iterator[tuple[str, Sequence[Any]]]:
        """The statements of an entry, with their parameters."""
        for name, statements in self._statements:
            rows: Sequence[msgspec.Struct] = getattr(entry, name)
            done = 0
            while done < len(rows):
                count = next(n for n in _ROWS_AT_A_TIME if n <= len(rows) - done)
                some = map(msgspec.structs.astuple, rows[done : done + count])
                yield statements[count], [*chain.from_iterable(some)]
                done += count


class PostgresInserts:
    """One statement for all rows, with JSON arrays as parameters.

    Any number of rows is one round trip, one plan and one commit, and needs no session: a pooler
    may give each statement another one.
    """

    def __init__(self) -> None:
        first = [
            f"{name} AS ({_insert_json(table)})"
            for name, table in (
                ("c", tables.call),
                ("d", tables.determination),
                ("s", tables.card),
                ("f", tables.feedback),
                ("a", tables.access),
            )
        ]
        self._all = f"WITH {', '.join(first)} {_insert_json(tables.chain_record)}"

    def of(self, entry: LogEntry) -> tuple[str, Sequence[str]]:
        """The statement of an entry, with its parameters."""
        rows = (
            entry.calls,
            entry.determinations,
            entry.cards,
            entry.feedback,
            entry.accesses,
            entry.records,
        )
        return self._all, [_json(r).decode() for r in rows]


def _inserts_of_values(table: Table) -> Mapping[int, str]:
    """The statement for each batch size."""
    values: dict[str, Any] = {c.name: bindparam(c.name) for c in table.columns}
    statement = sqlite_insert(table).values(values).on_conflict_do_nothing()
    one_row = str(statement.compile(dialect=sqlite.dialect(paramstyle="qmark")))
    placeholders = f"({', '.join('?' * len(table.columns))})"
    before, after = one_row.split(placeholders)
    return {n: before + ", ".join([placeholders] * n) + after for n in _ROWS_AT_A_TIME}


def _insert_json(table: Table) -> str:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    quote = dialect.identifier_preparer.quote
    names: list[str] = []
    values: list[str] = []
    types: list[str] = []
    for column in table.columns:
        name = quote(column.name)
        binary = isinstance(column.type, LargeBinary)  # base64 in JSON
        names.append(name)
        values.append(f"decode({name}, 'base64')" if binary else name)
        types.append(f"{name} {'text' if binary else column.type.compile(dialect)}")
    return (
        f"INSERT INTO {quote(table.name)} ({', '.join(names)}) SELECT {', '.join(values)} "  # noqa: S608
        f"FROM json_to_recordset(%s::json) AS r({', '.join(types)}) ON CONFLICT DO NOTHING"
    )
