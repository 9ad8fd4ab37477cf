"""Authentication's tables are made by migrations, beside the decision log's."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from service.auth.auth_tables import AUTH, metadata
from service.auth.rate_limit import SqlCallCounts
from service.database.engines import database_file, open_engine, open_pool
from service.database.table_revisions import revision, upgrade
from service.decision_log.log_revision import DECISION_LOG

EARLIER = """
CREATE TABLE used_tokens (
    issuer VARCHAR(255) NOT NULL, jti_sha256 VARCHAR(64) NOT NULL, expires_at BIGINT NOT NULL,
    PRIMARY KEY (issuer, jti_sha256));
CREATE INDEX ix_used_tokens_expires_at ON used_tokens (expires_at);
CREATE TABLE client_calls (
    issuer VARCHAR(255) NOT NULL, minute BIGINT NOT NULL, calls INTEGER NOT NULL,
    PRIMARY KEY (issuer, minute));
INSERT INTO used_tokens VALUES ('a', 'b', 1);
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/covercard.sqlite3"


def differences(url: str) -> list[object]:
    with open_engine(url).connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": AUTH.version_table})
        return list(compare_metadata(context, metadata))


def test_the_migrations_make_the_tables_that_the_code_expects(url: str) -> None:
    upgrade(url, AUTH)
    assert differences(url) == []


def test_the_newest_migration_is_the_revision_that_the_code_names() -> None:
    config = Config()
    config.set_main_option("script_location", str(AUTH.folder))
    assert ScriptDirectory.from_config(config).get_current_head() == AUTH.revision


def test_tables_of_a_version_without_revisions_are_kept_with_their_rows(url: str) -> None:
    with sqlite3.connect(database_file(url)) as earlier:
        earlier.executescript(EARLIER)
    assert upgrade(url, AUTH) is True
    assert differences(url) == []
    with sqlite3.connect(database_file(url)) as now:
        assert now.execute("SELECT count(*) FROM used_tokens").fetchone() == (1,)


def test_each_room_has_a_revision_of_its_own_in_one_database(url: str) -> None:
    upgrade(url, DECISION_LOG)
    assert revision(url, AUTH) is None
    upgrade(url, AUTH)
    assert revision(url, DECISION_LOG) == DECISION_LOG.revision
    assert revision(url, AUTH) == AUTH.revision


def test_an_sqlite_file_gets_its_tables_on_first_use(url: str) -> None:
    assert SqlCallCounts(open_pool(url, 1)).add("a", 1) == 1
    assert revision(url, AUTH) == AUTH.revision


def test_databases_that_are_migrated_at_once_by_threads_do_not_disturb_each_other(
    tmp_path: Path,
) -> None:
    """Alembic keeps the migration under way in its modules; a drainer has a thread of its own."""
    urls = [f"sqlite:///{tmp_path}/{n}.sqlite3" for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda url: upgrade(url, AUTH), urls))
    assert made == [True] * 8
    assert {revision(url, AUTH) for url in urls} == {AUTH.revision}
