"""The log: bytes a call, and finding one assertion among very many rows."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from service.bootstrap.app import create_app
from service.database.engines import open_engine
from service.database.table_revisions import upgrade
from service.decision_log.inserts import SqliteInserts
from service.decision_log.instants import new_call_id
from service.decision_log.log_revision import DECISION_LOG
from service.decision_log.queries import by_assertion
from service.decision_log.rows import CallRow, DeterminationRow, LogEntry
from service.settings import Settings
from tests.bench.bodies import order_sign_bodies

CALLS = 2_000
_BATCH = 10_000
_LOOK_UPS = 200
_FILLING_CACHE_KB = 4_000_000


def log_growth(work: Path) -> Iterator[str]:
    """Bytes that the database has more for every call (23 KB in, about 10 KB out)."""
    url, file = _fresh_log(work / "growth")
    app = create_app(Settings(database_url=url, records_dir=work / "growth-records"))
    client = app.test_client()
    bodies = order_sign_bodies(64)

    def send(calls: int) -> None:
        for i in range(calls):
            reply = client.post(
                "/cds-services/order-sign-crd",
                data=bodies[i % len(bodies)],
                content_type="application/json",
            )
            if reply.status_code != 200:
                raise RuntimeError(f"answered {reply.status_code}")

    send(100)
    before = _size(file)
    send(CALLS)
    grown = (_size(file) - before) / CALLS
    yield f"GROWTH log: {grown:.0f} bytes a call in SQLite, indexes included"


def look_up(work: Path, rows: int) -> Iterator[str]:
    """Time to find the calls of one assertion id among `rows` determinations.

    What the calls kept is left out of the rows: they would fill the disk, and no index reads them.
    """
    url, file = _fresh_log(work / "rows")
    began = time.monotonic()
    wanted = _fill(file, rows)
    filled = time.monotonic() - began
    times = []
    with open_engine(url).connect() as connection:
        for assertion in wanted:
            start = time.perf_counter()
            found = by_assertion(connection, assertion, 10)
            times.append((time.perf_counter() - start) * 1000)
            if not found:
                raise RuntimeError("a determination that was written is not found")
    times.sort()
    yield (
        f"GROWTH look-up by assertion id among {rows} rows: p50 {median(times):.2f} ms, "
        f"worst of {len(times)} {times[-1]:.2f} ms "
        f"(file {_size(file) / 1e9:.2f} GB, filled in {filled:.0f} s)"
    )


def _fresh_log(folder: Path) -> tuple[str, Path]:
    folder.mkdir()
    file = folder / "covercard.sqlite3"
    url = f"sqlite:///{file}"
    upgrade(url, DECISION_LOG)
    return url, file


def _size(file: Path) -> int:
    """The database with what waits in its write-ahead log folded in."""

    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return file.stat().st_size


def _fill(file: Path, rows: int) -> list[str]:
    """Write that many calls with a determination each; some of their assertion ids."""

    inserts = SqliteInserts()
    start = datetime(2026, 1, 1, tzinfo=UTC)
    chance = random.Random(8)
    wanted: list[str] = []
    connection = sqlite3.connect(file)
    # Only while it is filled.
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA journal_mode=OFF")
    connection.execute(f"PRAGMA cache_size=-{_FILLING_CACHE_KB}")
    for first in range(0, rows, _BATCH):
        calls, determinations = [], []
        for n in range(first, min(first + _BATCH, rows)):
            call, determination = _rows(new_call_id(start + timedelta(milliseconds=n)), n, chance)
            calls.append(call)
            determinations.append(determination)
        wanted.append(chance.choice(determinations).assertion_id or "")
        for statement, values in inserts.of(LogEntry(calls, determinations)):
            connection.execute(statement, values)
        connection.commit()
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    return chance.sample(wanted, min(_LOOK_UPS, len(wanted)))


def _rows(call_id: str, n: int, chance: random.Random) -> tuple[CallRow, DeterminationRow]:
    call = CallRow(
        call_id=call_id,
        received_at=n * 1000,
        client="bench",
        service_id="order-sign-crd",
        hook="order-sign",
        hook_instance=f"{chance.getrandbits(128):032x}",
        crd_version="2.0",
        ehr="https://ehr.example.org/fhir",
        patient=f"Patient/{chance.getrandbits(48):012x}",
        encounter=f"Encounter/{chance.getrandbits(48):012x}",
        status=200,
        elapsed_us=1000,
        token_use=None,
        service_version="0",
        kept=b"",
    )
    determination = DeterminationRow(
        call_id=call_id,
        position=0,
        assertion_id=f"{chance.getrandbits(160):040x}",
        stated=1,
        replaces=None,
        order_ref=f"ServiceRequest/{chance.getrandbits(48):012x}",
        codes='["http://www.ama-assn.org/go/cpt|76390"]',
        coverage="Coverage/1",
        coverage_outcome="one",
        payer="http://example.org/payers|1",
        program="medicare_advantage",
        service_day="2026-12-01",
        day_source="order",
        covered="not-covered",
        undetermined=None,
        policy_id="mr-spectroscopy",
        policy_version="2024-07-25",
        reason_id="not-necessary",
        billing_codes='["http://www.ama-assn.org/go/cpt|76390"]',
        notices='["denial"]',
    )
    return call, determination
