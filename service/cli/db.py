"""covercard db: tables of the decision log."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from service.cli.terminal import echo

if TYPE_CHECKING:
    from service.database.table_revisions import Migrations


@click.group()
def db() -> None:
    """Maintain the tables of the decision log and of the payer's own records."""


@db.command()
def upgrade() -> None:
    """Bring the tables to this version. Safe to run again; run it before a new version serves."""
    from service.auth.auth_tables import AUTH
    from service.database.database_errors import what_next
    from service.database.table_revisions import revision
    from service.database.table_revisions import upgrade as bring_up
    from service.decision_log.log_revision import DECISION_LOG
    from service.decision_log.partitions import make_coming_months
    from service.errors import RecordsUnavailable, StoreUnavailable
    from service.payer_data.sources import upgrade_source
    from service.settings import load_settings

    settings = load_settings()
    try:
        changed = bring_up(settings.database_url, DECISION_LOG, AUTH)
        found = revision(settings.database_url, DECISION_LOG)
        made = make_coming_months(settings.database_url)
        records = upgrade_source(settings.payer_data)
    except StoreUnavailable as error:
        raise RecordsUnavailable(
            f"the database cannot be reached ({error}): {what_next(error)}"
        ) from None
    echo(f"the tables are {'now' if changed else 'already'} at {found}")
    if made:
        echo(f"{made} partitions of coming months are made")
    if records is not None:
        echo(f"the tables of the payer's records are {records}")


@db.command()
@click.argument("role")
def grant(role: str) -> None:
    """Let ROLE serve: add to the log and read it, and change nothing. PostgreSQL only.

    Run it as the owner of the tables, after each upgrade.
    """
    from sqlalchemy.exc import SQLAlchemyError

    from service.auth.auth_tables import AUTH, client_calls, used_tokens
    from service.database.database_errors import trouble
    from service.database.engines import open_engine
    from service.decision_log.log_revision import DECISION_LOG
    from service.decision_log.service_role import grant_to
    from service.errors import StoreUnavailable
    from service.settings import load_settings

    engine = open_engine(load_settings().database_url)
    versions = [DECISION_LOG.version_table, AUTH.version_table]
    with _reached():
        try:
            statements = grant_to(engine, role, [used_tokens, client_calls], versions)
        except SQLAlchemyError as error:
            raise StoreUnavailable(trouble(error)) from error
    for statement in statements:
        echo(statement)


@db.command()
@click.argument("to", type=click.Path(path_type=Path))
def backup(to: Path) -> None:
    """Write a backup to the new folder TO, beside a running service.

    It has the database and the records that are not in it yet, as of one moment.
    """
    from service import __version__
    from service.database.backup import back_up
    from service.errors import ConfigurationError
    from service.settings import load_settings

    settings = load_settings()
    with _reached():
        try:
            made = back_up(
                settings.database_url, settings.records_dir, to, _all_tables(), __version__
            )
        except FileExistsError:
            raise ConfigurationError(f"{to}: is there already; name a new folder") from None
    echo(f"{len(made.files)} files are in {to}; they are about patients")


@db.command()
@click.argument("from_", metavar="FROM", type=click.Path(exists=True, path_type=Path))
def restore(from_: Path) -> None:
    """Restore the backup in the folder FROM to where nothing is. Stop the service first."""
    from service.database.backup import restore as put_back
    from service.settings import load_settings

    settings = load_settings()
    with _reached():
        made = put_back(from_, settings.database_url, settings.records_dir, _all_tables())
    echo(f"restored as of {made.made_at.astimezone(settings.zone):%Y-%m-%d %H:%M:%S}")


@db.command()
def check() -> None:
    """Check the database: its tables' revision, its soundness, its rows, and whether rows can be
    added. Exit code 1 if not so.
    """
    from service.database.engines import database_file, is_there
    from service.decision_log.soundness import check_database
    from service.settings import load_settings

    url = load_settings().database_url
    if not is_there(url):
        raise click.ClickException(f"there is no database at {database_file(url)}")
    with _reached():
        found = check_database(url, _all_tables())
    for name, count in found.rows.items():
        echo(f"{name:<16} {count} rows")
    for problem in found.wrong:
        echo(problem, err=True)
    if found.wrong:
        sys.exit(1)
    echo("the database is sound")


def _all_tables() -> Sequence[Migrations]:
    from service.auth.auth_tables import AUTH
    from service.decision_log.log_revision import DECISION_LOG

    return (DECISION_LOG, AUTH)


@contextlib.contextmanager
def _reached() -> Iterator[None]:
    """RecordsUnavailable where the database is unavailable."""
    from service.database.database_errors import what_next
    from service.errors import RecordsUnavailable, StoreUnavailable

    try:
        yield
    except StoreUnavailable as error:
        raise RecordsUnavailable(
            f"the database cannot be reached ({error}): {what_next(error)}"
        ) from None
