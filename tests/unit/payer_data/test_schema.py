"""The embedded source's tables are made by migrations, beside the decision log's."""

from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from service.database import table_revisions
from service.database.engines import open_engine
from service.decision_log.log_revision import DECISION_LOG
from service.decision_log.tables import metadata as log_metadata
from service.payer_data.payer_tables import MIGRATIONS, metadata


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


def test_both_rooms_tables_may_be_in_one_database_each_at_its_own_revision(url: str) -> None:
    assert table_revisions.upgrade(url, DECISION_LOG) is True
    assert table_revisions.upgrade(url, MIGRATIONS) is False
    assert table_revisions.revision(url, DECISION_LOG) == DECISION_LOG.revision
    assert table_revisions.revision(url, MIGRATIONS) == MIGRATIONS.revision
    with open_engine(url).connect() as connection:
        names = set(connection.dialect.get_table_names(connection))
    assert set(log_metadata.tables) | set(metadata.tables) <= names
