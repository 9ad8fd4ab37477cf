"""covercard decisions export: the log as CSV, JSON lines or CRD metric data."""

from __future__ import annotations

import contextlib
import csv
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from service.cli.decisions.options import load, mention_waiting, opened, span_of, span_options
from service.cli.terminal import echo
from service.os_errors import with_repair

if TYPE_CHECKING:
    from service.decision_log.queries import LoggedCall, TimeSpan
    from service.decision_log.rows import FeedbackRow

    Writer = Callable[[LoggedCall, Sequence[FeedbackRow]], None]


@click.command()
@click.option(
    "--format",
    "kind",
    type=click.Choice(["csv", "ndjson", "metrics-ndjson", "parquet"]),
    default="ndjson",
    show_default=True,
    help="csv: a row a determination; metrics-ndjson: CRD's metric data, a call a line; parquet:"
    " the rows of the csv, a file a day.",
)
@span_options
@click.option("--bodies", is_flag=True, help="ndjson: with each request and answer.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Output file, or parquet's folder; what is written is readable by its owner only."
    " Default: standard output.",
)
def export(
    kind: str, since: datetime | None, until: datetime | None, bodies: bool, output: Path | None
) -> None:
    """Write the log, oldest call first. A file has its name when it is complete."""
    from service.cli.progress import progress
    from service.decision_log import queries

    settings = load()
    if kind == "parquet" and output is None:
        raise click.UsageError("--format parquet writes files: name their folder with --output")
    if kind != "parquet" and output is not None and output.is_dir():
        raise click.UsageError(f"--output {output} is a folder; name a file")
    span = span_of(since, until)
    if kind == "parquet":
        span = whole_days(span, settings.zone)
    asked = {"format": kind, "since": since, "until": until, "bodies": bodies, "output": output}
    with opened(settings, "export", asked) as connection:
        total = queries.count_calls(connection, span)
        with progress("Exporting", total) as advance:
            calls = queries.all_calls(connection, span)
            if kind == "parquet" and output is not None:
                from service.cli.decisions.parquet_export import write_days

                for file in write_days(calls, output, settings.zone, advance):
                    echo(f"written: {file}", err=True)
            else:
                with _opened_for_text(output) as out:
                    write = _writer(kind, out, bodies)
                    for logged in calls:
                        shown = [str(card["uuid"]) for card in logged.cards]
                        write(logged, queries.feedback_on(connection, shown, logged.row.client))
                        advance(1)
    mention_waiting(settings)


@contextlib.contextmanager
def _opened_for_text(output: Path | None) -> Iterator[TextIO]:
    """Standard output, or a file that gets its name when it is complete."""
    from service.private_files import written_whole

    if output is None:
        if sys.stdout is None:
            raise click.UsageError("standard output is closed; name a file with --output")
        yield sys.stdout
        return
    try:
        with written_whole(output, replace=True) as file:
            text = io.TextIOWrapper(file, encoding="utf-8", newline="")
            yield text
            text.detach()  # flushes it; the file is closed by its owner
    except OSError as error:
        raise click.ClickException(f"cannot be written: {with_repair(error, output)}") from None


def whole_days(span: TimeSpan, zone: tzinfo) -> TimeSpan:
    """The period with the whole of its first and last day: a file holds a whole day."""
    from service.decision_log.queries import TimeSpan

    def begin_of(day: date) -> datetime:
        return datetime.combine(day, time(), zone).astimezone(UTC)

    since, until = span.since, span.until
    if since is not None:
        since = begin_of(since.astimezone(zone).date())
    if until is not None:
        day = until.astimezone(zone).date()
        if until.astimezone(UTC) != begin_of(day):
            # By the calendar: a day has 23 or 25 hours where the clocks change.
            until = begin_of(day + timedelta(days=1))
    return TimeSpan(since, until)


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
