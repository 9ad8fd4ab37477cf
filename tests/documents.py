"""The project's documents as data: tables, links, anchors and example commands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parent.parent
_CODE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Document:
    """A Markdown document of the project."""

    path: Path

    @cached_property
    def text(self) -> str:
        return self.path.read_text("utf-8")

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @cached_property
    def prose(self) -> str:
        """The text without its blocks of code."""
        return _CODE.sub("", self.text)

    def code(self, language: str) -> list[str]:
        """The blocks of code in a language."""
        return [block for found, block in _CODE.findall(self.text) if found == language]

    def links(self) -> list[str]:
        """The targets of links and pictures inside the project, as written."""
        return [t for t in _LINK.findall(self.prose) if not re.match(r"[a-z]+:", t)]

    @cached_property
    def anchors(self) -> frozenset[str]:
        """What its headings are called in links, by the rule of the usual Markdown sites."""
        made: dict[str, int] = {}
        for heading in _HEADING.findall(self.prose):
            plain = re.sub(r"\[([^\]]*)\]\([^)]*\)|[`*]", r"\1", heading).lower()
            name = re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-")
            made[name] = made.get(name, -1) + 1
        return frozenset(
            n if not k else f"{n}-{k}" for n, top in made.items() for k in range(top + 1)
        )

    def rows(self, first_column: str) -> list[list[str]]:
        """The rows of every table whose first column has this heading: a list of cells each."""
        found: list[list[str]] = []
        for table in re.findall(r"(?:^\|.*\n)+", self.prose, flags=re.MULTILINE):
            heading, _, *lines = [_cells(line) for line in table.splitlines()]
            if heading[0] == first_column:
                found.extend(lines)
        return found

    def first_cells(self, first_column: str) -> list[str]:
        """What stands in backquotes in the first cells of these rows."""
        return [
            name for row in self.rows(first_column) for name in re.findall(r"`([^`]+)`", row[0])
        ]

    def commands(self) -> Iterator[str]:
        """The commands in blocks of shell code, pipelines whole; continued lines are joined."""
        for block in self.code("sh"):
            for line in block.replace("\\\n", " ").replace("|\n", "| ").splitlines():
                if line.strip() and not line.lstrip().startswith("#"):
                    yield line.strip()


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]


def document(name: str) -> Document:
    """A document by its path from the project's root."""
    return Document(ROOT / name)


DOCUMENTS = tuple(
    Document(path)
    for path in sorted(
        [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "fhir_fixtures").glob("*.md")]
    )
)
"""Every document of the project."""
