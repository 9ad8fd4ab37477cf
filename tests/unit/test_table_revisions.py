"""Whom tables serve: each migration says it, the database tells it, each version goes by it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Column, Engine, MetaData, Table, create_engine, event

from service.auth.auth_tables import AUTH
from service.database.table_revisions import Migrations, prepare, revision, tables_at, upgrade
from service.decision_log.log_revision import DECISION_LOG
from service.errors import ConfigurationError
from service.payer_data.payer_tables import MIGRATIONS as PAYER_DATA
from tests.later_version import LATER, migrated

GROUPS: Mapping[str, tuple[Migrations, str]] = {
    "decision log": (DECISION_LOG, "call"),
    "authentication": (AUTH, "used_tokens"),
    "payer's records": (PAYER_DATA, "payer_member"),
}
"""Each group of tables, with one of its tables."""

each_group = pytest.mark.parametrize("group", GROUPS)


def config_of(tables: Migrations) -> Config:
    config = Config()
    config.set_main_option("script_location", str(tables.folder))
    return config


def migrations_of(tables: Migrations) -> list[Script]:
    """The migrations, oldest first."""
    return [*ScriptDirectory.from_config(config_of(tables)).walk_revisions()][::-1]


def usable_from(migration: Script) -> str:
    oldest: str = migration.module.usable_from
    return oldest


EACH_MIGRATION = [
    pytest.param(tables, migration, id=f"{group}-{migration.revision}")
    for group, (tables, _) in GROUPS.items()
    for migration in migrations_of(tables)
]


@each_group
def test_no_migration_serves_a_version_that_one_before_it_does_not(group: str) -> None:
    tables, _ = GROUPS[group]
    migrations = migrations_of(tables)
    told = [usable_from(migration) for migration in migrations]
    assert told == sorted(told)
    assert set(told) <= {migration.revision for migration in migrations}
    for migration, oldest in zip(migrations, told, strict=True):
        assert oldest <= migration.revision


def tables_after(file: Path, tables: Migrations, at: str) -> MetaData:
    """The tables of a database that was migrated up to a revision."""
    engine = create_engine(f"sqlite:///{file}")
    config = config_of(tables)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, at)
    found = MetaData()
    found.reflect(engine)
    return found


def described(table: Table, column: Column[object]) -> tuple[str, bool, bool]:
    return str(column.type), bool(column.nullable), column.name in table.primary_key.columns


@pytest.mark.parametrize(("tables", "migration"), EACH_MIGRATION)
def test_a_version_that_a_migration_serves_finds_its_tables_and_can_leave_what_is_new(
    tables: Migrations, migration: Script, tmp_path: Path
) -> None:
    before = tables_after(tmp_path / "before", tables, usable_from(migration))
    after = tables_after(tmp_path / "after", tables, migration.revision)
    for name, table in before.tables.items():
        now = after.tables[name]
        for column in table.columns:
            assert described(now, now.columns[column.name]) == described(table, column), column
        for column in now.columns:
            known = column.name in table.columns
            assert known or column.nullable or column.server_default is not None, column
        uniques = {str(i.name) for i in now.indexes if i.unique}
        assert uniques <= {str(i.name) for i in table.indexes if i.unique}


@each_group
def test_the_database_tells_whom_its_tables_serve(group: str, tmp_path: Path) -> None:
    tables, _ = GROUPS[group]
    url = f"sqlite:///{tmp_path}/covercard.sqlite3"
    upgrade(url, tables)
    assert tables_at(url, tables).usable_from == usable_from(migrations_of(tables)[-1])


@each_group
def test_a_version_goes_on_with_later_tables_that_serve_it(group: str, tmp_path: Path) -> None:
    tables, table = GROUPS[group]
    url = f"sqlite:///{tmp_path}/covercard.sqlite3"
    upgrade(url, tables)
    migrated(url, tmp_path / "later", tables, table, usable_from=tables.revision)
    prepare(url, tables)
    assert upgrade(url, tables) is False
    assert revision(url, tables) == LATER


@each_group
def test_a_version_refuses_later_tables_that_do_not_serve_it(group: str, tmp_path: Path) -> None:
    tables, table = GROUPS[group]
    url = f"sqlite:///{tmp_path}/covercard.sqlite3"
    migrated(url, tmp_path / "later", tables, table, usable_from=LATER)
    for refuses in (prepare, upgrade):
        with pytest.raises(ConfigurationError, match="newer than this version's") as refused:
            refuses(url, tables)
        assert f"of use from {LATER} on: run the newer version" in str(refused.value)


class Killed(BaseException):
    """The end of a process, at a statement."""


@each_group
def test_an_upgrade_that_is_killed_at_any_statement_can_be_run_again(
    group: str, tmp_path: Path
) -> None:
    tables, _ = GROUPS[group]
    left = 0

    def count_down(*_: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Killed

    event.listen(Engine, "before_cursor_execute", count_down)
    try:
        for at in range(1, 1000):
            url, left = f"sqlite:///{tmp_path}/{at}.sqlite3", at
            try:
                upgrade(url, tables)
            except Killed:
                upgrade(url, tables)
                assert revision(url, tables) == tables.revision
            else:
                break
    finally:
        event.remove(Engine, "before_cursor_execute", count_down)
    assert at > len(migrations_of(tables))
