"""A decision on a terminal, for a person who has somebody on the telephone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import tzinfo
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from service.records.in_words import (
    answer_in_short,
    facts,
    feedback_in_words,
    moment,
    policy_in_short,
    printable,
    short_codes,
    stated_reasons,
)
from service.records.instants import instant
from service.records.look_up import LookedUp
from service.records.queries import Decision


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=True))


class DecisionPage:
    """Writes pages; times are shown in `zone`."""

    def __init__(self, zone: tzinfo, console: Console | None = None) -> None:
        self._zone = zone
        self._console = console or Console()

    def show(self, found: LookedUp) -> None:
        """A decision with its call; the other times that it was asserted in a line."""
        d = found.determination
        self._console.print(Text(f"{d.assertion_id}: {d.covered}", style="bold underline"))
        self._facts(found)
        self._why(found)
        self._answered(found)
        if found.others:
            times = ", ".join(moment(other.received_at, self._zone) for other in found.others)
            self._line(f"Asserted before, with the same facts: {times}")

    def decisions(self, found: Sequence[Decision]) -> None:
        """A table of decisions, one a line."""
        table = Table(box=None)
        for column in ("when", "patient", "order", "codes", "answer", "policy", "assertion id"):
            table.add_column(column, overflow="fold")
        for decision in found:
            d = decision.determination
            cells = (
                moment(decision.received_at, self._zone),
                decision.patient or "",
                d.order_ref,
                ", ".join(short_codes(d.codes)),
                answer_in_short(d),
                policy_in_short(d),
                d.assertion_id or "",
            )
            table.add_row(*(Text(printable(cell)) for cell in cells))
        self._console.print(table)

    def _facts(self, found: LookedUp) -> None:
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for name, fact in facts(found, self._zone):
            table.add_row(Text(name, style="dim"), Text(fact))
        self._console.print(table)

    def _why(self, found: LookedUp) -> None:
        self._heading("Why")
        table = Table.grid(padding=(0, 2))
        for _ in ("topic", "finding", "because"):
            table.add_column(overflow="fold")
        for step in found.trace:
            table.add_row(*(Text(printable(cell)) for cell in step))
        self._console.print(table)

    def _answered(self, found: LookedUp) -> None:
        self._heading("What was answered")
        for reason in stated_reasons(found):
            self._line(f"Coverage information: {reason}")
        for card in found.call.cards:
            self._line(f"Card ({card['indicator']}): {card['summary']}")
            for suggestion in card.get("suggestions", []):
                self._line(f"    [ {suggestion['label']} ]")
            for item in found.said:
                if item.card_uuid == card["uuid"]:
                    when = moment(instant(item.outcome_at), self._zone)
                    self._line(f"    {when}: {feedback_in_words(item)}")

    def _heading(self, text: str) -> None:
        self._console.print()
        self._console.print(Text(text, style="bold"))

    def _line(self, text: str) -> None:
        self._console.print(Text(printable(text)))
