"""A decision on a terminal, for a person who has somebody on the telephone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, tzinfo
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from service.cli.decisions.printable import printable
from service.fhir.systems import COVERAGE_INFORMATION
from service.records.instants import instant
from service.records.queries import Decision, LoggedCall
from service.records.rows import DeterminationRow, FeedbackRow


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=True))


class DecisionPage:
    """Writes pages; times are shown in `zone`."""

    def __init__(self, zone: tzinfo, console: Console | None = None) -> None:
        self._zone = zone
        self._console = console or Console()

    def show(
        self,
        found: Sequence[Decision],
        logged: LoggedCall,
        *,
        replaces: str | None,
        replaced_by: str | None,
        said: Sequence[FeedbackRow],
    ) -> None:
        """The newest of `found`, with its call; the others in a line."""
        decision = found[0]
        d = decision.determination
        self._console.print(Text(f"{d.assertion_id}: {d.covered}", style="bold underline"))
        self._facts(decision, logged, replaces, replaced_by)
        self._why(logged, d)
        self._answered(logged, d, said)
        if len(found) > 1:
            times = ", ".join(self._time(other.received_at) for other in found[1:])
            self._line(f"Asserted before, with the same facts: {times}")

    def decisions(self, found: Sequence[Decision]) -> None:
        """A table of decisions, one a line."""
        table = Table(box=None)
        for column in ("when", "patient", "order", "codes", "answer", "policy", "assertion id"):
            table.add_column(column, overflow="fold")
        for decision in found:
            d = decision.determination
            cells = (
                self._time(decision.received_at),
                decision.patient or "",
                d.order_ref,
                ", ".join(short_codes(d.codes)),
                d.covered if d.gap is None else f"{d.covered} ({d.gap})",
                f"{d.policy_id} {d.policy_version}" if d.policy_id else "",
                d.assertion_id or "",
            )
            table.add_row(*(Text(printable(cell)) for cell in cells))
        self._console.print(table)

    def _facts(
        self,
        decision: Decision,
        logged: LoggedCall,
        replaces: str | None,
        replaced_by: str | None,
    ) -> None:
        d, row = decision.determination, logged.row
        facts = {
            "Asked": f"{self._time(decision.received_at)}, {row.hook}, CRD {row.crd_version}",
            "By": f"{row.client}, {row.ehr or 'EHR not told'}, hookInstance {row.hook_instance}",
            "Patient": row.patient,
            "Order": f"{d.order_ref}: {', '.join(short_codes(d.codes)) or 'no code'}",
            "Day of service": f"{d.service_day} ({d.day_source})",
            "Coverage": f"{d.coverage or 'none'} ({d.coverage_outcome})",
            "Payer": d.payer,
            "Programme": d.programme,
            "Policy": f"{d.policy_id}, version {d.policy_version}" if d.policy_id else None,
            "Reason": d.reason_id or d.gap,
            "Holds for": ", ".join(short_codes(d.billing_codes)),
            "Notices": ", ".join(msgspec.json.decode(d.notices)),
            "Stated": "in this answer" if d.stated else "the order carried it already",
            "Replaces": replaces,
            "Replaced by": replaced_by,
            "Answered": f"HTTP {row.status} in {row.elapsed_us / 1000:.1f} ms",
            "Service": f"Covercard {row.service_version}, call {row.call_id}",
        }
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for name, fact in facts.items():
            if fact:
                table.add_row(Text(name, style="dim"), Text(printable(fact)))
        self._console.print(table)

    def _why(self, logged: LoggedCall, d: DeterminationRow) -> None:
        self._heading("Why")
        table = Table.grid(padding=(0, 2))
        for _ in ("topic", "finding", "because"):
            table.add_column(overflow="fold")
        for step in logged.kept.traces[d.position]:
            table.add_row(*(Text(printable(cell)) for cell in step))
        self._console.print(table)

    def _answered(
        self, logged: LoggedCall, d: DeterminationRow, said: Sequence[FeedbackRow]
    ) -> None:
        self._heading("What was answered")
        for reason in _stated_reasons(logged, d):
            self._line(f"Coverage information: {reason}")
        for card in logged.cards:
            self._line(f"Card ({card['indicator']}): {card['summary']}")
            for suggestion in card.get("suggestions", []):
                self._line(f"    [ {suggestion['label']} ]")
            for item in said:
                if item.card_uuid == card["uuid"]:
                    self._line(f"    {self._time(instant(item.outcome_at))}: {_words(item)}")

    def _heading(self, text: str) -> None:
        self._console.print()
        self._console.print(Text(text, style="bold"))

    def _line(self, text: str) -> None:
        self._console.print(Text(printable(text)))

    def _time(self, at: datetime) -> str:
        return at.astimezone(self._zone).isoformat(sep=" ", timespec="seconds")


def short_codes(written: str) -> list[str]:
    """The codes of a JSON list of "system|code", without their systems."""
    return [str(code).rpartition("|")[2] for code in msgspec.json.decode(written)]


def _stated_reasons(logged: LoggedCall, d: DeterminationRow) -> list[str]:
    """The reasons that the coverage information with this assertion id gives."""
    for action in logged.answer.get("systemActions", []):
        for extension in action.get("resource", {}).get("extension", []):
            parts = extension.get("extension", [])
            if extension.get("url") == COVERAGE_INFORMATION and any(
                p.get("valueString") == d.assertion_id for p in parts
            ):
                return [
                    str(p["valueCodeableConcept"].get("text", ""))
                    for p in parts
                    if p["url"] == "reason"
                ]
    return []


def _words(item: FeedbackRow) -> str:
    reason = item.reason_display or item.reason_code
    return ": ".join(w for w in (item.outcome, reason, item.comment) if w)
