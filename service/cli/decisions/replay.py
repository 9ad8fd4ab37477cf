"""covercard decisions replay: logged calls decided again by other policy files."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from service.cli.decisions.options import load, mention_waiting, opened, span_of, span_options
from service.cli.terminal import echo, echo_lines_of_json

if TYPE_CHECKING:
    from service.cli.decisions.replaying import AnswerChange

_MOST_SHOWN = 200


@click.command()
@click.option(
    "--policies",
    "directory",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of policies and notices to decide by.",
)
@click.option(
    "--payers",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Payers file to decide by. Default: COVERCARD_PAYERS_FILE.",
)
@span_options
@click.option("--json", "as_json", is_flag=True, help="Print a change a line, as JSON.")
def replay(
    directory: Path,
    payers: Path | None,
    since: datetime | None,
    until: datetime | None,
    as_json: bool,
) -> None:
    """Decide logged calls again, on their own day, by other files; list the changes.

    Nothing is fetched, and nothing recorded but the access. The payer's own records are those of
    today: where they differ from the call's, its changes are marked. Exit code 1 if anything
    changes.
    """
    from service.cli.decisions.replaying import Replay
    from service.cli.progress import progress
    from service.decision_log import queries
    from service.settings import load_settings

    settings = load()
    others: dict[str, object] = {"policies_dir": directory, "policy_bundle": None}
    if payers:
        others["payers_file"] = payers
    again = Replay(load_settings(**others))
    span = span_of(since, until)
    asked = {"policies": directory, "since": since, "until": until}
    changes: list[AnswerChange] = []
    with (
        opened(settings, "replay", asked) as connection,
        progress("Deciding again", queries.count_calls(connection, span)) as advance,
    ):
        for logged in queries.all_calls(connection, span):
            changes.extend(again.changes(logged))
            advance(1)
    mention_waiting(settings)
    if as_json:
        _print_lines(changes)
    else:
        _print_table(changes)
    summary = f"{again.decided} calls decided again, {again.skipped} not: {len(changes)} changes"
    marked = {c.call_id for c in changes if c.records == "changed"}
    if marked:
        summary += f"; of {len(marked)} calls the payer's own records have changed since"
    echo(summary, err=as_json)
    if changes:
        sys.exit(1)


def _print_lines(changes: Sequence[AnswerChange]) -> None:
    import msgspec

    for change in changes:
        echo_lines_of_json([msgspec.json.encode(change)])


def _print_table(changes: Sequence[AnswerChange]) -> None:
    from rich.table import Table
    from rich.text import Text

    from service.cli.decisions.decision_page import wide_console
    from service.decision_log.display import printable

    if not changes:
        return
    console = wide_console()
    counted = Table(title="What would change, how often", title_justify="left", box=None)
    for column in ("what", "from", "to", "payer's records", "orders"):
        counted.add_column(column, overflow="fold")
    for (what, before, after, records), n in Counter(_kinds(changes)).most_common():
        counted.add_row(*(Text(printable(c)) for c in (what, before, after, records, str(n))))
    console.print(counted)
    table = Table(title="Where", title_justify="left", box=None)
    for column in ("when", "order", "codes", "assertion id", "change"):
        table.add_column(column, overflow="fold")
    orders = list(_by_order(changes))
    for (when, order, codes, assertion_id), words in orders[:_MOST_SHOWN]:
        cells = (when, order, codes, assertion_id or "", "; ".join(words))
        table.add_row(*(Text(printable(cell)) for cell in cells))
    console.print(table)
    if len(orders) > _MOST_SHOWN:
        console.print(f"… and {len(orders) - _MOST_SHOWN} more (--json prints all)")


def _by_order(
    changes: Sequence[AnswerChange],
) -> Iterator[tuple[tuple[str, str, str, str | None], list[str]]]:
    """Changes by order, without those of the cards' wording, which are counted only."""
    lines: dict[tuple[str, str, str, str, str | None], list[str]] = {}
    for c in changes:
        key = (c.call_id, c.received_at, c.order, c.codes, c.assertion_id)
        words = f"{c.what}: {c.before} → {c.after}" if c.order else f"{c.what} differ"
        lines.setdefault(key, []).append(words)
    return ((key[1:], words) for key, words in lines.items())


def _kinds(changes: Sequence[AnswerChange]) -> Iterator[tuple[str, str, str, str]]:
    """The kinds of change; those of records, each a member's own, are one kind."""
    from service.cli.decisions.replaying import RECORDS

    for c in changes:
        before, after = ("", "") if c.what == RECORDS else (c.before, c.after)
        yield c.what, before, after, c.records
