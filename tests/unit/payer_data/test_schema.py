"""The embedded source's tables are made by migrations, beside the decision log's."""

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import select

from service.database import table_revisions
from service.database.engines import open_engine
from service.decision_log.log_revision import DECISION_LOG
from service.decision_log.tables import metadata as log_metadata
from service.payer_data.payer_tables import MIGRATIONS, member, metadata
from tests.unit.payer_data.conftest import Import

MEMBERS = (
    "number,program,birth_date,family,given,alternates\n"
    "M1,medicare_advantage,1951-04-12,Testcase,Ann,77\n"
)


def differences(url: str) -> list[object]:
    with open_engine(url).connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": MIGRATIONS.version_table}
        )
        return list(compare_metadata(context, metadata))


def test_the_migrations_make_the_tables_that_the_code_expects(url: str) -> None:
    assert differences(url) == []


def test_the_newest_migration_is_the_revision_that_the_code_names() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS.folder))
    assert ScriptDirectory.from_config(config).get_current_head() == MIGRATIONS.revision


def migrated(url: str, revision: str) -> None:
    """Bring the tables to a revision, forward or back."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS.folder))
    with open_engine(url).connect() as connection:
        config.attributes["connection"] = connection
        found = table_revisions.revision(url, MIGRATIONS)
        move = command.upgrade if (found or "") < revision else command.downgrade
        move(config, revision)
        connection.commit()


def test_members_of_an_earlier_revision_are_found_by_number_and_birth_date(
    url: str, put: Import
) -> None:
    put("members", MEMBERS)
    put("history", "member,code,day\nM1,76390,2026-03-01\n")
    keys = select(member.c.key, member.c.member).order_by(member.c.key)
    with open_engine(url).connect() as connection:
        before = connection.execute(keys).all()
    assert [tuple(row) for row in before] == [("77 1951-04-12", "M1"), ("M1 1951-04-12", "M1")]
    migrated(url, "0001")
    with open_engine(url).connect() as connection:
        assert [row.key for row in connection.execute(keys)] == ["77", "M1"]
    migrated(url, MIGRATIONS.revision)
    with open_engine(url).connect() as connection:
        assert connection.execute(keys).all() == before
    report = put("members", MEMBERS)
    assert (report.added, report.changed, report.removed, report.unchanged) == (0, 0, 0, 1)
    assert differences(url) == []


def test_both_rooms_tables_may_be_in_one_database_each_at_its_own_revision(url: str) -> None:
    assert table_revisions.upgrade(url, DECISION_LOG) is True
    assert table_revisions.upgrade(url, MIGRATIONS) is False
    assert table_revisions.revision(url, DECISION_LOG) == DECISION_LOG.revision
    assert table_revisions.revision(url, MIGRATIONS) == MIGRATIONS.revision
    with open_engine(url).connect() as connection:
        names = set(connection.dialect.get_table_names(connection))
    assert set(log_metadata.tables) | set(metadata.tables) <= names
