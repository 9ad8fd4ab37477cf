"""The version before on tables of a later one: it starts, serves and records, or says why not.

So an instance that dies between the migration and its own replacement comes back, and an upgrade
can be taken back.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import text

from service.auth.auth_tables import AUTH
from service.database.engines import open_engine
from service.database.table_revisions import upgrade
from service.decision_log.log_revision import DECISION_LOG
from service.payer_data.payer_tables import MIGRATIONS as PAYER_DATA
from tests.e2e.decision_log.conftest import open_folder, server
from tests.e2e.decision_log.instances import covercard, until
from tests.e2e.decision_log.postgres import Postgres
from tests.e2e.servers import refused_start, running
from tests.later_version import LATER, migrated

__all__ = ["open_folder", "server"]

GROUPS = {
    "decision log": (DECISION_LOG, "call"),
    "authentication": (AUTH, "used_tokens"),
    "payer's records": (PAYER_DATA, "payer_member"),
}


@dataclass(frozen=True)
class Place:
    """A database with its tables, and a folder for the rest."""

    url: str
    folder: Path

    @property
    def settings(self) -> dict[str, object]:
        return {
            "database_url": self.url,
            "payer_data": self.url,
            "records_dir": self.folder / "records",
        }

    def migrate(self, group: str, usable_from: str) -> None:
        tables, table = GROUPS[group]
        later = self.folder / f"later-{table}"
        migrated(self.url, later, tables, table, usable_from=usable_from)

    def calls(self) -> int:
        with open_engine(self.url).connect() as connection:
            return int(connection.execute(text("SELECT count(*) FROM call")).scalar_one())


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    url = f"sqlite:///{tmp_path}/covercard.sqlite3"
    if request.param == "postgresql":
        running_server: Postgres = request.getfixturevalue("server")
        with running_server.connect("postgres") as connection:
            connection.execute("DROP DATABASE IF EXISTS rollback WITH (FORCE)")
            connection.execute("CREATE DATABASE rollback")
        url = running_server.url_of("rollback")
    upgrade(url, DECISION_LOG, AUTH, PAYER_DATA)
    yield Place(url, tmp_path)


def test_on_later_tables_that_serve_it_a_version_starts_answers_and_records(
    place: Place, order: bytes
) -> None:
    for group, (tables, _) in GROUPS.items():
        place.migrate(group, usable_from=tables.revision)
    with running(place.folder, **place.settings) as service:
        reply = service.post(
            "/cds-services/order-sign-crd", data=order, headers={"Content-Type": "application/json"}
        )
        assert reply.status_code == 200
        until(lambda: place.calls() == 1, "the call is in the rows")
        ready = service.get("/readyz").json()
        assert ready["checks"]["records"]["store"] == "up"
    for words in (
        ("db", "check"),
        ("decisions", "find", "--since", "1d"),
        ("decisions", "verify"),
        ("decisions", "prune", "--yes"),
        ("payer-data", "status"),
    ):
        done = covercard(place.folder, *words, **place.settings)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
    again = covercard(place.folder, "db", "upgrade", **place.settings)
    assert again.returncode == 0
    assert f"the tables are already at {LATER}" in again.stdout
    assert f"the tables of the payer's records are already at {LATER}" in again.stdout


@pytest.mark.parametrize("group", GROUPS)
def test_on_later_tables_that_do_not_serve_it_a_version_says_so_and_does_not_start(
    place: Place, group: str
) -> None:
    place.migrate(group, usable_from=LATER)
    tables, _ = GROUPS[group]
    said = (
        f"the database's tables are at {LATER}, newer than this version's {tables.revision} and of"
        f" use from {LATER} on: run the newer version, or `covercard db restore` a backup"
    )
    assert said in refused_start(place.folder, **place.settings)
    upgraded = covercard(place.folder, "db", "upgrade", **place.settings)
    assert upgraded.returncode == 2
    assert said in upgraded.stderr


def test_the_role_of_the_version_before_serves_on_later_tables(
    server: Postgres, tmp_path: Path, order: bytes
) -> None:
    with server.connect("postgres") as connection:
        connection.execute("DROP DATABASE IF EXISTS rollback WITH (FORCE)")
        connection.execute("CREATE DATABASE rollback")
        connection.execute("DROP ROLE IF EXISTS serving")
        connection.execute("CREATE ROLE serving LOGIN")
    owner = Place(server.url_of("rollback"), tmp_path)
    upgrade(owner.url, DECISION_LOG, AUTH)
    granted = covercard(tmp_path, "db", "grant", "serving", **owner.settings)
    assert granted.returncode == 0, granted.stderr
    owner.migrate("decision log", usable_from=DECISION_LOG.revision)
    again = covercard(tmp_path, "db", "grant", "serving", **owner.settings)
    assert again.returncode == 0, again.stderr
    service = {"database_url": owner.url.replace("covercard@", "serving@"), "payer_data": ""}
    with running(tmp_path, **service, records_dir=tmp_path / "records") as started:
        headers = {"Content-Type": "application/json"}
        path = "/cds-services/order-sign-crd"
        assert started.post(path, data=order, headers=headers).status_code == 200
        until(lambda: owner.calls() == 1, "the call is in the rows")
    assert covercard(tmp_path, "db", "check", **service).returncode == 0


def test_a_backup_of_later_tables_is_restored_by_the_version_that_they_serve(
    place: Place, tmp_path: Path
) -> None:
    if place.url.startswith("postgresql") and shutil.which("pg_dump") is None:
        pytest.skip("pg_dump is not installed here")
    place.migrate("decision log", usable_from=DECISION_LOG.revision)
    backup = tmp_path / "backup"
    made = covercard(tmp_path, "db", "backup", str(backup), **place.settings)
    assert made.returncode == 0, made.stderr
    if place.url.startswith("sqlite"):
        elsewhere = f"sqlite:///{tmp_path}/elsewhere/covercard.sqlite3"
    else:
        elsewhere = place.url.replace("/rollback", "/elsewhere")
        with open_engine(place.url).connect() as connection:
            free = connection.execution_options(isolation_level="AUTOCOMMIT")
            free.execute(text("DROP DATABASE IF EXISTS elsewhere"))
            free.execute(text("CREATE DATABASE elsewhere"))
    settings = {"database_url": elsewhere, "records_dir": tmp_path / "elsewhere" / "records"}
    restored = covercard(tmp_path, "db", "restore", str(backup), **settings)
    assert restored.returncode == 0, restored.stderr
    assert covercard(tmp_path, "db", "check", **settings).returncode == 0
