"""What a call costs more with the payer's own records, by their number; what an import takes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from service.bootstrap.app import Library, wire_review
from service.database.engines import open_engine
from service.database.table_revisions import upgrade
from service.payer_data.importing import import_file
from service.payer_data.payer_tables import MIGRATIONS, member
from service.payer_data.record_files import RecordReader
from service.payer_data.record_rows import KINDS
from service.policies.program_table import load_programs
from service.review.order_review import OrderReview
from service.settings import Settings
from tests.bench.bodies import order_sign_bodies

SERVICE = "order-sign-crd"
PAYER = "urn:oid:2.999.7.1|example-health-plan"
HEADER = "number,person,program,birth_date,family,given,alternates,plan,group,starts,ends\n"
OURS = "TEST-MEMBER-0001,ann,medicare_advantage,1951-04-12,Testcase,Ann,,plan-0001,,2022-01-01,\n"
_CALLS = 400
_RUNS = 7
_LINES_AT_ONCE = 10_000


def member_growth(work: Path, members: int, url: str | None = None) -> Iterator[str]:
    """Counts from a thousand up to `members`; in SQLite, or in a database at `url`, which is
    emptied.
    """
    if url is not None:
        for count in (1_000, members):
            yield from _with(work, count, url)
        return
    count = 1_000
    while count <= members:
        yield from _with(work, count, f"sqlite:///{work}/members-{count}.sqlite3")
        count *= 10


def _with(work: Path, count: int, url: str) -> Iterator[str]:
    upgrade(url, MIGRATIONS)
    with open_engine(url).begin() as connection:
        connection.execute(member.delete())
    took = imported(url, written(work / "members.csv", count))
    yield f"MEMBERS {count}: imported in {took:.1f} s, {count / took:.0f}/s"
    took = imported(url, work / "members.csv")
    yield f"MEMBERS {count}: the same file again in {took:.1f} s"
    plain = Settings(payer_data="")
    records = Settings(payer_data=url, payer_data_timeout_ms=5000)
    without = wire_review(plain, Library(plain))
    with_records = wire_review(records, Library(records))
    bodies = order_sign_bodies(64)
    nobody = [body.replace(b"TEST-MEMBER-0001", b"TEST-MEMBER-XXXX") for body in bodies]
    others = [body.replace(b"TEST-MEMBER-0001", b"SYNTHETIC-000042") for body in bodies]
    before, known, unknown, anothers = [], [], [], []
    for _ in range(_RUNS):  # in turn, so that a busy moment meets all of them
        before.append(_microseconds(without, bodies))
        known.append(_microseconds(with_records, bodies))
        unknown.append(_microseconds(with_records, nobody))
        anothers.append(_microseconds(with_records, others))
    yield (
        f"MEMBERS {count}: {min(before):.0f} us a call without, {min(known):.0f} us with records "
        f"({min(known) - min(before):+.0f}); medians: nobody's number {median(unknown):.0f}, "
        f"somebody else's {median(anothers):.0f}"
    )


def written(path: Path, count: int) -> Path:
    """A file of `count` members who do not exist, and the one of the fixtures."""
    with path.open("w", encoding="utf-8") as file:
        file.write(HEADER + OURS)
        for first in range(0, count - 1, _LINES_AT_ONCE):
            file.write("".join(map(_line, range(first, min(first + _LINES_AT_ONCE, count - 1)))))
    return path


def _line(n: int) -> str:
    born = f"{1930 + n % 30}-{1 + n % 12:02d}-{1 + n % 28:02d}"
    return (
        f"SYNTHETIC-{n:06d},p{n},medicare_advantage,{born},Family{n % 9973},Given{n % 4999},"
        f"ALT-{n:09d},plan-{n % 40:04d},,2022-01-01,\n"
    )


def imported(url: str, path: Path) -> float:
    """The seconds that an import takes."""
    kind = KINDS["members"]
    reader = RecordReader(kind, {PAYER: PAYER}, load_programs(), PAYER)
    began = time.perf_counter()
    report = import_file(url, path, kind, reader, whole=True, most_refused=0, at=datetime.now(UTC))
    if not report.done:
        raise RuntimeError(f"{report.refused} lines were refused")
    return time.perf_counter() - began


def _microseconds(review: OrderReview, bodies: list[bytes]) -> float:
    """Elapsed, not processor time: a round trip is waited for."""
    began = time.perf_counter()
    for i in range(_CALLS):
        review.review(SERVICE, bodies[i % len(bodies)])
    return (time.perf_counter() - began) / _CALLS * 1e6
