"""Each look-up in a log of a million calls, over two years, reads by an index what it is for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, event, text

from service.database import table_revisions
from service.database.engines import open_engine
from service.decision_log import decision_detail, queries, recall
from service.decision_log.access_log import accesses
from service.decision_log.clock_check import clock_doubt, newest_record
from service.decision_log.compression import pack
from service.decision_log.instants import microseconds
from service.decision_log.log_revision import DECISION_LOG
from service.decision_log.partitions import (
    PARTITIONED,
    month_of,
    next_month,
    partition_statement,
)
from service.decision_log.policy_stats import policy_stats
from service.decision_log.queries import TimeSpan
from service.decision_log.rows import CallPayload, _encode_kept
from tests.e2e.decision_log.postgres import Postgres

CALLS = 1_000_000
YEARS = timedelta(days=730)
NOW = datetime.now(UTC)
STEP = YEARS // CALLS
MOST_ROWS = 3000
"""Rows that a look-up may touch, whatever the log holds."""

ID = "lpad(to_hex({ms}), 12, '0') || '7000' || lpad(to_hex(n), 16, '0')"
CALL_ID = ID.format(
    ms=f"{microseconds(NOW - YEARS) // 1000} + n * {STEP.total_seconds() * 1000}::bigint"
)
CARD_ID = (
    f"regexp_replace({CALL_ID}, '(.{{8}})(.{{4}})(.{{4}})(.{{4}})(.{{12}})', '\\1-\\2-\\3-\\4-\\5')"
)

FILL = f"""
INSERT INTO call SELECT {CALL_ID}, 0, 'client-' || n % 40, 'order-sign-crd', 'order-sign', 'i',
  '2.0', 'https://ehr-' || n % 40 || '.example.org/fhir', 'Patient/' || n % 200000, null, 200, 1,
  null, '0.1.0', %(kept)s FROM generate_series(0, {CALLS} - 1) n;
INSERT INTO determination SELECT {CALL_ID}, 0, 'cc' || n / 2, 1, null, 'ServiceRequest/' || n / 4,
  '[]', 'Coverage/a', 'found', null, 'medicare_advantage', '2026-12-01', 'today', 'not-covered',
  null, 'mr-spectroscopy', '2023-10-01', 'x', '[]', '[]' FROM generate_series(0, {CALLS} - 1) n;
INSERT INTO card SELECT {CARD_ID}, {CALL_ID}, 0, 'guideline', 'mr-spectroscopy', '2023-10-01', 0,
  '[]' FROM generate_series(0, {CALLS} - 1, 4) n;
INSERT INTO feedback SELECT 'f' || n, 0, 'client-' || n % 40, 's', {CARD_ID}, 'accepted', 0, '[]'
  FROM generate_series(0, {CALLS} - 1, 4) n;
INSERT INTO access_log SELECT {CALL_ID}, 0, 'a', 'show', '{{}}'
  FROM generate_series(0, {CALLS} - 1, 40) n;
"""


@pytest.fixture(scope="module")
def url(server: Postgres) -> str:
    with server.connect("postgres") as connection:
        connection.execute("DROP DATABASE IF EXISTS million WITH (FORCE)")
        connection.execute("CREATE DATABASE million")
    url = server.url_of("million")
    table_revisions.upgrade(url, DECISION_LOG)
    with server.connect("million") as connection:
        month = month_of(NOW - YEARS)
        while month <= month_of(NOW):
            for table in PARTITIONED:
                made = partition_statement(table, month)
                # That of the present month is there already, unless a month ended meanwhile.
                unlogged = made.replace("TABLE", "UNLOGGED TABLE IF NOT EXISTS", 1)
                connection.execute(unlogged)
            month = next_month(month)
        defined = connection.execute(
            "SELECT indexname, indexdef FROM pg_indexes"
            " WHERE tablename = ANY(%s) AND indexname !~ '_pkey$'",
            [[*PARTITIONED]],
        ).fetchall()
        for name, _ in defined:
            connection.execute(f"DROP INDEX {name}")
        kept = pack(_encode_kept(CallPayload(b"{}", b"{}")))
        for statement in FILL.replace("%(kept)s", f"'\\x{kept.hex()}'").split(";\n"):
            if statement.strip():
                connection.execute(statement)
        for _, definition in defined:
            connection.execute(definition.replace(" ON ONLY ", " ON "))
        connection.execute("ANALYZE")
    return url


class Plans:
    """Looks at what each query of a look-up reads."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def of(self, look: Callable[[Connection], object]) -> tuple[object, list[dict[str, Any]]]:
        """What a look-up finds, and the plan of each of its queries with its numbers of rows."""
        asked: list[tuple[str, Any]] = []

        def note(_: object, __: object, statement: str, parameters: Any, *___: object) -> None:
            asked.append((statement, parameters))

        event.listen(self._connection, "before_cursor_execute", note)
        found = look(self._connection)
        event.remove(self._connection, "before_cursor_execute", note)
        assert asked
        plans = []
        for statement, parameters in asked:
            explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}"
            rows = self._connection.exec_driver_sql(explain, parameters).scalar()
            plans.append(rows[0]["Plan"])
        return found, plans


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def touched(plan: dict[str, Any]) -> int:
    """Rows that the plan's scans returned or dropped."""
    return sum(
        node["Actual Loops"] * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0))
        for node in nodes(plan)
        if "Scan" in node["Node Type"]
    )


def drawn(plan: dict[str, Any], depth: int = 0) -> str:
    """A plan's scans and joins, those that were run, for a person."""
    if not plan["Actual Loops"]:
        return ""
    told = [plan["Node Type"], plan.get("Relation Name", ""), plan.get("Index Name", "")]
    numbers = f"{plan['Actual Loops']} x {plan['Actual Rows']}"
    line = f"{'  ' * depth}{' '.join(told)}: {numbers}, {plan.get('Rows Removed by Filter', 0)}"
    return "\n".join([line, *(d for p in plan.get("Plans", ()) if (d := drawn(p, depth + 1)))])


@pytest.fixture(scope="module")
def connection(url: str) -> Iterator[Connection]:
    with open_engine(url).connect() as connection:
        yield connection


def day(n: int = 365) -> TimeSpan:
    since = NOW - timedelta(days=n)
    return TimeSpan(since, since + timedelta(minutes=30))


def by_assertion(connection: Connection) -> object:
    return decision_detail.by_assertion(connection, "cc250000")


LOOK_UPS: dict[str, Callable[[Connection], object]] = {
    "an assertion with its call, its neighbors and the feedback": by_assertion,
    "an assertion of one client": lambda c: queries.by_assertion(c, "cc250000", 20, "client-0"),
    "an unknown assertion": lambda c: queries.by_assertion(c, "cc-unknown", 20) == [],
    "a patient": lambda c: queries.find(c, patient="Patient/77", most=51),
    "a patient of one EHR": lambda c: queries.find(
        c, patient="Patient/80", ehr="https://ehr-0.example.org/fhir", most=51
    ),
    "an order": lambda c: queries.find(c, orders=["ServiceRequest/77"], most=51),
    "an order by its bare id": lambda c: queries.find(
        c, orders=decision_detail.order_references("77"), most=51
    ),
    "the newest of one EHR": lambda c: queries.find(
        c, ehr="https://ehr-7.example.org/fhir", most=51
    ),
    "the newest of one client": lambda c: queries.find(c, client="client-7", most=51),
    "nothing of an unknown EHR": lambda c: queries.find(c, ehr="https://no.example", most=51) == [],
    "nothing of an unknown client": lambda c: queries.find(c, client="nobody", most=51) == [],
    "the newest of all": lambda c: queries.find(c, most=51),
    "half an hour": lambda c: queries.find(c, span=day(), most=51),
    "a whole call": lambda c: decision_detail.call_detail(c, first_of(c, "call_id", "call")),
    "a place in a call": lambda c: decision_detail.by_place(
        c, first_of(c, "call_id", "determination"), 0
    ),
    "the calls of half an hour": lambda c: list(queries.all_calls(c, day())),
    "their number": lambda c: queries.count_calls(c, day()),
    "statistics of half an hour": lambda c: policy_stats(c, day()),
    "accesses": lambda c: list(accesses(c, None, 50)),
    "accesses of this month": lambda c: list(accesses(c, NOW - timedelta(days=7), 50)),
    "the newest record": newest_record,
    "witnesses of the clock": lambda c: (
        clock_doubt(c, NOW - timedelta(days=700), NOW) is None and "none in doubt"
    ),
}


def first_of(connection: Connection, column: str, table: str) -> str:
    wanted = text(f"SELECT {column} FROM {table} ORDER BY {column} LIMIT 1")
    return str(connection.execute(wanted).scalar())


@pytest.mark.parametrize("name", LOOK_UPS)
def test_a_look_up_touches_few_rows_of_a_million(connection: Connection, name: str) -> None:
    found, plans = Plans(connection).of(LOOK_UPS[name])
    assert found
    for plan in plans:
        assert touched(plan) <= MOST_ROWS, drawn(plan)


def test_a_recalled_call_is_found_by_an_index_too(
    url: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look-up behind a form, which opens a connection of its own."""
    asked: list[Any] = []
    execute = Connection.execute

    def note(self: Connection, statement: Any, *rest: Any, **more: Any) -> Any:
        asked.append(statement)
        return execute(self, statement, *rest, **more)

    monkeypatch.setattr(Connection, "execute", note)
    assert recall.recall(url, "cc250000", "client-0") is not None
    monkeypatch.undo()
    (wanted,) = asked
    _, (plan,) = Plans(connection).of(lambda c: c.execute(wanted).all())
    assert touched(plan) <= MOST_ROWS


def test_a_million_there_are_and_a_scan_of_all_is_told_from_a_look_up(
    connection: Connection,
) -> None:
    wanted = text("SELECT count(*) FROM determination WHERE codes = 'nothing'")
    _, (plan,) = Plans(connection).of(lambda c: c.execute(wanted).all())
    assert touched(plan) > 0.9 * CALLS  # parallel scans give averages
