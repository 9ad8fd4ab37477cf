"""Terminal page of a decision, for call-center staff."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import tzinfo
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cards.texts.wording import UndeterminedTexts
from service.cli.terminal import console, echo_json
from service.decision_log.decision_detail import CallDetail, DecisionDetail
from service.decision_log.display import (
    answer_in_short,
    caller,
    facts,
    facts_of_call,
    facts_of_determination,
    feedback_in_words,
    moment,
    policy_in_short,
    printable,
    short_codes,
    stated_reasons,
)
from service.decision_log.instants import instant
from service.decision_log.queries import LoggedCall, LoggedDecision
from service.decision_log.rows import DeterminationRow, FeedbackRow

_WIDE = 160
"""Columns without a terminal."""


def print_json(value: Any) -> None:
    echo_json(value, ascii_only=True)


def wide_console() -> Console:
    """A console that does not wrap output to files and pipes."""
    shown = console()
    return shown if shown.is_terminal or "COLUMNS" in os.environ else console(width=_WIDE)


class DecisionPage:
    """Terminal pages, with times in `zone` and reasons in the words of `undetermined`."""

    def __init__(
        self, zone: tzinfo, undetermined: UndeterminedTexts, console: Console | None = None
    ) -> None:
        self._zone = zone
        self._undetermined = undetermined
        self._console = console or wide_console()

    def show(self, found: DecisionDetail) -> None:
        """A decision with its call, and its other assertions in one line."""
        d = found.determination
        self._title(f"{d.assertion_id}: {d.covered}")
        if found.others:
            times = ", ".join(moment(other.received_at, self._zone) for other in found.others)
            self._line(f"Asserted before, with the same facts: {times}")
        for other in found.same_id_elsewhere:
            when = moment(other.received_at, self._zone)
            self._line(
                f"The same id, but another call: {when}, {other.client}, {other.patient};"
                f" show {other.call_id}"
            )
        self._heading("What was asked")
        self._facts(facts(found, self._zone, self._undetermined))
        self._answered(found.call, found.said, [d])
        self._heading("Why")
        self._trace(found.trace)

    def call(self, found: CallDetail) -> None:
        """A whole call with its decided orders."""
        call = found.call
        self._title(f"Call {call.row.call_id}: HTTP {call.row.status}")
        self._heading("What was asked")
        self._facts(facts_of_call(call, self._zone))
        self._answered(call, found.said, call.determinations)
        for d in call.determinations:
            self._heading(f"{d.order_ref}: {d.covered}")
            self._facts(facts_of_determination(d, self._undetermined))
            self._trace(call.kept.traces[d.position])

    def decisions(self, found: Sequence[LoggedDecision]) -> None:
        """Three lines a decision, so that ids fit a narrow terminal."""
        for decision in found:
            d = decision.determination
            codes = ", ".join(short_codes(d.codes)) or "no code"
            when = moment(decision.received_at, self._zone)
            self._line(f"{when}  {decision.patient or 'no patient'}  {d.order_ref}: {codes}")
            shown = d.assertion_id or f"call {d.call_id}"
            answer = ", ".join(filter(None, (answer_in_short(d), policy_in_short(d))))
            self._line(f"    {shown}  {answer}")
            again = ", repeated by the proxy" if decision.repeated else ""
            self._line(f"    {caller(decision.client, decision.ehr)}{again}")

    def _facts(self, told: Iterable[tuple[str, str]]) -> None:
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True, min_width=14)
        table.add_column(overflow="fold")
        for name, fact in told:
            table.add_row(Text(name, style="dim"), Text(fact))
        self._console.print(table)

    def _trace(self, trace: Iterable[tuple[str, str, str]]) -> None:
        table = Table.grid(padding=(0, 2))
        for _ in ("topic", "finding", "because"):
            table.add_column(overflow="fold")
        for step in trace:
            table.add_row(*(Text(printable(cell)) for cell in step))
        self._console.print(table)

    def _answered(
        self,
        call: LoggedCall,
        said: Sequence[FeedbackRow],
        determined: Iterable[DeterminationRow],
    ) -> None:
        self._heading("What was answered")
        for issue in call.answer.get("issue", []):
            self._line(f"Refused: {issue.get('diagnostics') or issue.get('code')}")
        for card in call.cards:
            self._line(f"Card ({card['indicator']}): {card['summary']}")
            for suggestion in card.get("suggestions", []):
                self._line(f"    [ {suggestion['label']} ]")
            for item in said:
                if item.card_uuid == card["uuid"]:
                    when = moment(instant(item.outcome_at), self._zone)
                    self._line(f"    {when}: {feedback_in_words(item)}")
        for d in determined:
            for reason in stated_reasons(call, d):
                self._line(f"Coverage information: {reason}")

    def _title(self, text: str) -> None:
        self._console.print(Text(printable(text), style="bold underline"))

    def _heading(self, text: str) -> None:
        self._console.print()
        self._console.print(Text(printable(text), style="bold"))

    def _line(self, text: str) -> None:
        self._console.print(Text(printable(text)))
