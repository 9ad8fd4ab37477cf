"""covercard decisions accesses: the access log."""

from __future__ import annotations

from datetime import datetime

import click

from service.cli.decisions.options import Moment, load, opened


@click.command()
@click.option("--since", type=Moment(), help="Only from: 2026-12-01, 24h, 7d, 1y.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True)
def accesses(since: datetime | None, limit: int) -> None:
    """List accesses to the log: reader, time and search; newest first."""
    from rich.table import Table
    from rich.text import Text

    from service.cli.decisions.page import wide_console
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
