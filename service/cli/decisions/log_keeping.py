"""covercard decisions accesses and prune: who has read the log, and how long it is kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from service.cli.decisions.options import Age, Moment, load, opened
from service.cli.terminal import echo

if TYPE_CHECKING:
    from service.decision_log.retention import Removal
    from service.settings import Settings


@click.command()
@click.option("--since", type=Moment(), help="Only from: 2026-12-01, 24h, 7d, 1y.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True)
def accesses(since: datetime | None, limit: int) -> None:
    """List accesses to the log: reader, time and search; newest first."""
    from rich.table import Table
    from rich.text import Text

    from service.cli.decisions.decision_page import wide_console
    from service.decision_log.access_log import accesses as read
    from service.decision_log.display import printable

    settings = load()
    table = Table(box=None)
    for column in ("when", "who", "what", "asked for"):
        table.add_column(column, overflow="fold")
    with opened(settings, "accesses", {"since": since}) as connection:
        for access in read(connection, since, limit):
            asked = ", ".join(f"{name} {value}" for name, value in access.detail.items())
            when = access.at.astimezone(settings.zone).isoformat(sep=" ", timespec="seconds")
            cells = (when, access.who, access.what, asked)
            table.add_row(*(Text(printable(cell)) for cell in cells))
    wide_console().print(table)


@click.command()
@click.option(
    "--older-than", type=Age(), help="Age: 10y, 3653d. Default: COVERCARD_RETENTION_DAYS."
)
@click.option("--dry-run", is_flag=True, help="Only say how many calls would be removed.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--clock-is-right",
    is_flag=True,
    help="Remove although the records do not bear witness to this machine's clock.",
)
def prune(older_than: timedelta | None, dry_run: bool, yes: bool, clock_is_right: bool) -> None:
    """Remove calls past their retention, with their decisions, cards and feedback. For good.

    The removal itself is put on record first.
    """
    from sqlalchemy.exc import SQLAlchemyError

    from service.cli.progress import progress
    from service.database.database_errors import trouble
    from service.database.engines import open_engine
    from service.decision_log.clock_check import clock_doubt
    from service.decision_log.retention import planned
    from service.decision_log.retention import prune as remove
    from service.errors import RecordsUnavailable

    settings = load()
    age = timedelta(days=settings.retention_days) if older_than is None else older_than
    if age < timedelta(days=settings.retention_floor_days):
        raise click.UsageError(
            f"the log is kept for {settings.retention_floor_days} days at least"
            " (COVERCARD_RETENTION_FLOOR_DAYS)"
        )
    now = datetime.now(UTC)
    with opened(settings, "prune", {"before": now - age, "dry_run": dry_run}) as connection:
        removal = planned(connection, now - age)
        doubt = clock_doubt(connection, removal.before, now) if removal.calls else None
    when = f"{removal.before.astimezone(settings.zone):%Y-%m-%d %H:%M %Z}"
    if doubt is not None and not clock_is_right:
        raise click.ClickException(
            f"nothing is removed: {doubt}. A clock that has jumped makes records look old. If it is"
            " right, say so with --clock-is-right"
        )
    if dry_run:
        echo(f"{removal.calls} calls from before {when} would be removed")
        return
    if removal.calls and not yes:
        click.confirm(f"Remove {removal.calls} calls from before {when} for good?", abort=True)
    record_removal(settings, removal)
    try:
        with progress("Removing", removal.calls) as advance:
            removed = remove(open_engine(settings.database_url), removal.before, advance)
    except SQLAlchemyError as error:
        raise RecordsUnavailable(
            f"the log cannot be pruned ({trouble(error)}); on PostgreSQL the owner of its tables"
            " prunes it"
        ) from None
    echo(f"{removed} calls from before {when} removed")


def record_removal(settings: Settings, removal: Removal) -> None:
    """Put a removal on record before it is done."""
    from service.decision_log.verification import PRUNED

    detail = {
        "calls": removal.calls,
        "before": removal.before,
        "oldest": removal.oldest,
        "newest": removal.newest,
    }
    with opened(settings, PRUNED, detail):
        pass
