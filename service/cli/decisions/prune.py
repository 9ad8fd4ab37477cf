"""covercard decisions prune: removal of calls past their retention."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from service.cli.decisions.options import Age, load, opened


@click.command()
@click.option(
    "--older-than", type=Age(), help="Age: 10y, 3653d. Default: COVERCARD_RETENTION_DAYS."
)
@click.option("--dry-run", is_flag=True, help="Only say how many calls would be removed.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def prune(older_than: timedelta | None, dry_run: bool, yes: bool) -> None:
    """Remove calls past their retention, with their decisions, cards and feedback. For good."""
    from service.cli.decisions.progress import progress
    from service.decision_log.reading import engine_for_reading
    from service.decision_log.retention import count_older
    from service.decision_log.retention import prune as remove

    settings = load()
    age = timedelta(days=settings.retention_days) if older_than is None else older_than
    before = datetime.now(UTC) - age
    with opened(settings, "prune", {"before": before, "dry_run": dry_run}) as connection:
        total = count_older(connection, before)
    day = before.astimezone(settings.zone).date()
    if dry_run:
        click.echo(f"{total} calls from before {day} would be removed")
        return
    if total and not yes:
        click.confirm(f"Remove {total} calls from before {day} for good?", abort=True)
    with progress("Removing", total) as advance:
        removed = remove(engine_for_reading(settings.database_url), before, advance)
    click.echo(f"{removed} calls from before {day} removed")
