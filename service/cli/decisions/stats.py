"""covercard decisions stats: how the policies fare."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from service.cli.decisions.options import load, mention_spool, opened, span_of, span_options

if TYPE_CHECKING:
    from collections import Counter

    from service.records.stats import PolicyStats


@click.command()
@span_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def stats(since: datetime | None, until: datetime | None, as_json: bool) -> None:
    """Count, by policy: calls, answers, cards, what was made of them, and forms."""
    from service.records.stats import policy_stats

    settings = load()
    with opened(settings, "stats", {"since": since, "until": until}) as connection:
        found = policy_stats(connection, span_of(since, until))
    mention_spool(settings)
    if as_json:
        from service.cli.decisions.page import print_json

        print_json([_json(s) for s in found])
    else:
        _table(found)


def _json(s: PolicyStats) -> dict[str, object]:
    return {
        "policy": s.policy_id,
        "calls": s.calls,
        "orders": s.orders,
        "covered": dict(s.covered),
        "cards": s.cards,
        "accepted": s.accepted,
        "overridden": dict(s.overridden),
        "unanswered": s.unanswered,
        "forms_offered": s.forms_offered,
        "forms_started": s.forms_started,
    }


def _table(found: list[PolicyStats]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from service.records.in_words import printable

    table = Table(box=None)
    table.add_column("policy")
    for column in ("calls", "orders", "answers", "cards", "accepted", "overridden", "forms"):
        table.add_column(column, overflow="fold", justify="right")
    for s in found:
        cells = (
            s.policy_id or "(no policy)",
            str(s.calls),
            str(s.orders),
            _counts(s.covered),
            str(s.cards),
            str(s.accepted),
            _counts(s.overridden) or "0",
            f"{s.forms_started} of {s.forms_offered}",
        )
        table.add_row(*(Text(printable(cell)) for cell in cells))
    Console().print(table)


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {n}" for name, n in counter.most_common())
