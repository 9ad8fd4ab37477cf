"""covercard decisions export: the log as CSV, JSON lines or CRD metric data."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from service.cli.decisions.options import load, mention_waiting, opened, span_of, span_options

if TYPE_CHECKING:
    from service.decision_log.queries import LoggedCall
    from service.decision_log.rows import FeedbackRow

    Writer = Callable[[LoggedCall, Sequence[FeedbackRow]], None]


@click.command()
@click.option(
    "--format",
    "kind",
    type=click.Choice(["csv", "ndjson", "metrics-ndjson"]),
    default="ndjson",
    show_default=True,
    help="csv: a row a determination; metrics-ndjson: CRD's metric data, a call a line.",
)
@span_options
@click.option("--bodies", is_flag=True, help="ndjson: with each request and answer.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Output file, readable by its owner only. Default: standard output.",
)
def export(
    kind: str, since: datetime | None, until: datetime | None, bodies: bool, output: Path | None
) -> None:
    """Write the log, oldest call first."""
    from service.cli.progress import progress
    from service.decision_log import queries

    settings = load()
    span = span_of(since, until)
    asked = {"format": kind, "since": since, "until": until, "bodies": bodies}
    with opened(settings, "export", asked) as connection:
        out = sys.stdout if output is None else _private(output)
        try:
            write = _writer(kind, out, bodies)
            total = queries.count_calls(connection, span)
            with progress("Exporting", total) as advance:
                for logged in queries.all_calls(connection, span):
                    shown = [str(card["uuid"]) for card in logged.cards]
                    write(logged, queries.feedback_on(connection, shown, logged.row.client))
                    advance(1)
        finally:
            if output is not None:
                out.close()
    mention_waiting(settings)


def _private(path: Path) -> TextIO:
    """Open a file readable by its owner only: it will contain patient data."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    return os.fdopen(descriptor, "w", encoding="utf-8", newline="")


def _writer(kind: str, out: TextIO, bodies: bool) -> Writer:
    import msgspec

    from service.cli.decisions.log_shapes import COLUMNS, call_json, csv_cell, csv_rows
    from service.decision_log.metrics_model import metric_record
    from service.shown_text import shown_json

    def line(value: object) -> None:
        out.write(shown_json(msgspec.json.encode(value).decode()) + "\n")

    if kind == "ndjson":
        return lambda logged, said: line(call_json(logged, said, bodies=bodies))
    if kind == "metrics-ndjson":
        return lambda logged, said: line(metric_record(logged, said))
    table = csv.DictWriter(out, COLUMNS, extrasaction="raise", lineterminator="\r\n")
    table.writeheader()

    def rows(logged: LoggedCall, said: Sequence[FeedbackRow]) -> None:
        for row in csv_rows(logged):
            table.writerow({name: csv_cell(value) for name, value in row.items()})

    return rows
