"""covercard decisions payer-findings: what the payer's own records said of orders, and where."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import click

from service.cli.decisions.options import load, mention_waiting, opened, span_of, span_options
from service.cli.terminal import echo

if TYPE_CHECKING:
    from datetime import tzinfo

    from service.decision_log.logged_findings import LoggedFinding


@click.command("payer-findings")
@click.option(
    "--kind",
    default="contradiction",
    show_default=True,
    help="The findings to list: the beginning of their name, as in the count.",
)
@span_options
@click.option("--limit", type=click.IntRange(0, 10_000), default=50, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def payer_findings(
    kind: str, since: datetime | None, until: datetime | None, limit: int, as_json: bool
) -> None:
    """Count what the payer's own records said of orders, and list the contradictions.

    Each call of the period is read; --since keeps it short. No patient is shown.
    """
    from service.cli.progress import progress
    from service.decision_log import queries
    from service.decision_log.logged_findings import findings_of

    settings = load()
    span = span_of(since, until)
    counts: Counter[str] = Counter()
    listed: deque[LoggedFinding] = deque(maxlen=limit)
    asked = {"kind": kind, "since": since, "until": until}
    with (
        opened(settings, "payer-findings", asked) as connection,
        progress("Reading", queries.count_calls(connection, span)) as advance,
    ):
        lost = queries.unreceived(connection, span)
        for logged in queries.all_calls(connection, span):
            for found in () if logged.row.call_id in lost else findings_of(logged):
                counts[found.kind] += 1
                if found.kind.startswith(kind):
                    listed.append(found)
            advance(1)
    mention_waiting(settings)
    newest = list(reversed(listed))
    total = sum(n for name, n in counts.items() if name.startswith(kind))
    if as_json:
        _print_json(counts, newest)
    else:
        _print_table(counts, newest, settings.zone)
        if total > limit:
            echo(f"there are {total}; --limit is {limit}", err=True)


def _print_json(counts: Counter[str], found: Sequence[LoggedFinding]) -> None:
    from service.cli.decisions.decision_page import print_json

    listed = [
        {
            "received_at": f.received_at.isoformat(),
            "call_id": f.call_id,
            "assertion_id": f.determination.assertion_id,
            "order": f.determination.order_ref,
            "payer": f.determination.payer,
            "finding": f.kind,
            "evidence": f.evidence,
        }
        for f in found
    ]
    print_json({"counts": dict(counts.most_common()), "findings": listed})


def _print_table(counts: Counter[str], found: Sequence[LoggedFinding], zone: tzinfo) -> None:
    from rich.table import Table
    from rich.text import Text

    from service.cli.decisions.decision_page import wide_console
    from service.decision_log.display import moment, printable

    console = wide_console()
    counted = Table(box=None)
    for column in ("finding", "orders"):
        counted.add_column(column)
    for name, n in counts.most_common():
        counted.add_row(name, str(n))
    console.print(counted)
    table = Table(box=None)
    for column in ("when", "assertion id", "order", "finding", "evidence"):
        table.add_column(column, overflow="fold")
    for f in found:
        d = f.determination
        shown = d.assertion_id or f"call {f.call_id}"
        cells = (moment(f.received_at, zone), shown, d.order_ref, f.kind, f.evidence)
        table.add_row(*(Text(printable(cell)) for cell in cells))
    if found:
        console.print(table)
