"""The tables are made by migrations, and the migrations make what the code expects."""

import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, insert, select, text

from service.database import table_revisions
from service.database.engines import database_file
from service.decision_log.log_revision import DECISION_LOG
from service.decision_log.rows import CallRow, entry_of
from service.decision_log.sqlite_store import SqliteStore
from service.decision_log.tables import metadata
from service.errors import ConfigurationError, StoreUnavailable
from tests.conftest import ROOT
from tests.unit.decision_log.builders import call


def test_the_migrations_make_the_tables_that_the_code_expects(engine: Engine) -> None:
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_the_newest_migration_is_the_revision_that_the_code_names() -> None:
    config = Config()
    folder = DECISION_LOG.folder
    config.set_main_option("script_location", str(folder))
    assert ScriptDirectory.from_config(config).get_current_head() == DECISION_LOG.revision


def test_upgrading_twice_does_nothing_the_second_time(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/log.sqlite3"
    assert table_revisions.revision(url, DECISION_LOG) is None
    assert table_revisions.upgrade(url, DECISION_LOG) is True
    assert table_revisions.upgrade(url, DECISION_LOG) is False
    assert table_revisions.revision(url, DECISION_LOG) == DECISION_LOG.revision


@pytest.mark.parametrize("usable_from", [None, "9998"])
def test_tables_that_are_those_of_a_newer_version_only_are_left_alone(
    url: str, usable_from: str | None
) -> None:
    with sqlite3.connect(database_file(url)) as log:
        log.execute(
            "UPDATE alembic_version SET version_num = '9999', usable_from = ?", (usable_from,)
        )
    with pytest.raises(ConfigurationError, match="newer"):
        table_revisions.upgrade(url, DECISION_LOG)


def test_a_file_that_is_no_database_is_told_with_its_repair(tmp_path: Path) -> None:
    """It does not come back by itself: a store that is away would be waited for."""
    (tmp_path / "log.sqlite3").write_text("no database at all, but a text of some length")
    with pytest.raises(ConfigurationError, match=r"log\.sqlite3: is no SQLite database, or is dam"):
        table_revisions.upgrade(f"sqlite:///{tmp_path}/log.sqlite3", DECISION_LOG)


def test_a_server_that_is_not_there_is_a_store_that_is_away() -> None:
    with pytest.raises(StoreUnavailable):
        table_revisions.prepare("postgresql+psycopg://nobody@127.0.0.1:1/nothing", DECISION_LOG)


def test_a_worker_whose_tables_are_ready_never_imports_alembic(url: str, tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; "
        "from service.decision_log.opening import open_recorder;"
        "from service.decision_log.recorder import RecordsPlace;"
        f"r = open_recorder({url!r}, RecordsPlace(Path({str(tmp_path / 'records')!r})));"
        "r.record_access('clerk', 'show', '{}'); assert r.settle(60);"
        "r.stop(); print('alembic' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "False"


def test_rows_of_the_first_revision_keep_their_content_under_the_new_column_names(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path}/log.sqlite3"
    config = Config()
    config.set_main_option("script_location", str(DECISION_LOG.folder))
    engine = create_engine(url)
    row = {"program": "medicare_advantage", "undetermined": "no_policy"}
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        columns = [c.name for c in metadata.tables["determination"].columns]
        former = {"program": "programme", "undetermined": "gap"}
        names = [former.get(c, c) for c in columns]
        values = {n: row.get(c, 0) for c, n in zip(columns, names, strict=True)}
        marks = ", ".join(f":{n}" for n in names)
        connection.execute(
            text(f"INSERT INTO determination ({', '.join(names)}) VALUES ({marks})"), values
        )
    assert table_revisions.upgrade(url, DECISION_LOG) is True
    with engine.connect() as connection:
        found = connection.execute(select(metadata.tables["determination"])).mappings().one()
    assert {name: found[name] for name in row} == row


def test_calls_of_before_have_no_digest_and_stay_readable(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/log.sqlite3"
    config = Config()
    config.set_main_option("script_location", str(DECISION_LOG.folder))
    former = entry_of(call())
    present = entry_of(msgspec.structs.replace(call(), policies_digest="ab12"))
    with create_engine(url).begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0006")
        columns = msgspec.structs.asdict(former.calls[0])
        del columns["policies_digest"], columns["repeated"]
        connection.execute(insert(metadata.tables["call"]).values(columns))
    assert table_revisions.upgrade(url, DECISION_LOG) is True
    store = SqliteStore(url)
    store.ping(time.monotonic() + 60)
    store.write(present, time.monotonic() + 60)
    store.close()
    with create_engine(url).connect() as connection:
        found = connection.execute(select(metadata.tables["call"])).all()
    assert [CallRow(*row) for row in found] == [former.calls[0], present.calls[0]]
