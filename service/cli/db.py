"""covercard db: tables of the decision log."""

from __future__ import annotations

import click

from service.cli.terminal import echo


@click.group()
def db() -> None:
    """Maintain the tables of the decision log and of the payer's own records."""


@db.command()
def upgrade() -> None:
    """Bring the tables to this version. Safe to run again; run it before a new version serves."""
    from service.auth.auth_tables import AUTH
    from service.database.table_revisions import upgrade as bring_up
    from service.decision_log.log_revision import DECISION_LOG
    from service.decision_log.partitions import make_coming_months
    from service.errors import RecordsUnavailable, StoreUnavailable
    from service.payer_data.sources import upgrade_source
    from service.settings import load_settings

    settings = load_settings()
    try:
        changed = [bring_up(settings.database_url, tables) for tables in (DECISION_LOG, AUTH)]
        made = make_coming_months(settings.database_url)
        records = upgrade_source(settings.payer_data)
    except StoreUnavailable as error:
        raise RecordsUnavailable(f"the database cannot be reached ({error})") from None
    echo(f"the tables are {'now' if any(changed) else 'already'} at {DECISION_LOG.revision}")
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
    from service.auth.auth_tables import AUTH, client_calls, used_tokens
    from service.database.engines import open_engine
    from service.decision_log.log_revision import DECISION_LOG
    from service.decision_log.service_role import grant_to
    from service.settings import load_settings

    engine = open_engine(load_settings().database_url)
    versions = [DECISION_LOG.version_table, AUTH.version_table]
    for statement in grant_to(engine, role, [used_tokens, client_calls], versions):
        echo(statement)
