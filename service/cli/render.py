"""Terminal rendering of answers, close to an EHR's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console, Group
from rich.markdown import Markdown
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cards.coverage_information.reader import read_coverage_information
from service.cli.terminal import console
from service.fhir.extension_display import value_in_words

_COLORS = {"info": "blue", "warning": "yellow", "critical": "red"}


class Screen:
    """Rendering of answers on `screen`, by default the terminal."""

    def __init__(self, screen: Console | None = None) -> None:
        self.console = screen or console()

    def answer(self, answer: Mapping[str, Any]) -> None:
        """The cards, then the coverage information of each order."""
        cards = answer.get("cards", [])
        if not cards:
            self.console.print("No cards.")
        for card in cards:
            self._card(card)
        self._coverage_information(answer.get("systemActions", []))

    def problem(self, status: int, outcome: Mapping[str, Any]) -> None:
        """An error answer: places and expectations."""
        self.console.print(Text(f"HTTP {status}", style="bold red"))
        for issue in outcome.get("issue", []):
            self.console.print(Text(f"  {issue.get('diagnostics', issue.get('code', ''))}"))

    def trace(self, order: str, steps: Iterable[tuple[str, str, str]]) -> None:
        """The decision trace of an order ("Type/id"): (topic, finding, because) of each step."""
        table = Table(title=Text(f"Why: {order}"), title_justify="left", box=None)
        for column in ("step", "found", "because"):
            table.add_column(column, overflow="fold")
        for step in steps:
            table.add_row(*map(Text, step))
        self.console.print(table)

    def policies(self, digest: str) -> None:
        """The digest of the policies that answered."""
        self.console.print(Text(f"Policies: {digest}"))

    def _card(self, card: Mapping[str, Any]) -> None:
        color = _COLORS.get(card.get("indicator", "info"), "blue")
        parts: list[Any] = [Text(card["summary"], style="bold"), Text()]
        if "detail" in card:
            parts.append(Markdown(card["detail"], hyperlinks=False))
        for link in card.get("links", []):
            parts.append(Text(f"→ {link['label']}: {link['url']}", style="cyan"))
        for suggestion in card.get("suggestions", []):
            parts.append(Text(f"[ {suggestion['label']} ]", style="bold green"))
            for action in suggestion.get("actions", []):
                parts.append(Text(f"    {action['type']}: {action['description']}", style="green"))
        reasons = [r.get("display", r["code"]) for r in card.get("overrideReasons", [])]
        if reasons:
            parts.append(Text("Dismiss because: " + " · ".join(reasons), style="dim"))
        source = card["source"]["label"]
        title = Text(f"{card['indicator']} · {source}")
        self.console.print(Panel(Group(*parts), title=title, border_style=color))

    def _coverage_information(self, actions: Sequence[Mapping[str, Any]]) -> None:
        if not actions:
            self.console.print("No coverage information.")
            return
        table = Table(title="Coverage information (one update an order)", title_justify="left")
        for column in ("order", "says", "value"):
            table.add_column(column, overflow="fold")
        for action in actions:
            resource = action["resource"]
            name = f"{resource.get('resourceType')}/{resource.get('id')}"
            for info in read_coverage_information(resource):
                for part in info.parts:
                    table.add_row(name, part.url, value_in_words(part.json))
                    name = ""
        self.console.print(table)
