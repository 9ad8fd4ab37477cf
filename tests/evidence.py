"""Evidence: the tests behind the rows of docs/threat-model.md and docs/forms.md.

A test claims a row with `@pytest.mark.threat("<id>")` or `@pytest.mark.form_rule("<id>")`. The
markers are read from the source: no test is collected. `make documents` writes the list at the end
of each document.
"""

from __future__ import annotations

import ast
import functools
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- tests: begin -->\n", "<!-- tests: end -->\n"
_ROW = re.compile(r"^\| `([a-z0-9-]+)` \|", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Claim:
    """A test that claims a row; `file` is relative to the project's root."""

    row: str
    file: str
    test: str


@dataclass(frozen=True, slots=True)
class Document:
    """A document with a table of rows, and the name of the marker that claims them."""

    path: Path
    marker: str

    def rows(self) -> list[str]:
        """The ids of the rows that need a test, in order."""
        text = self.path.read_text("utf-8")
        tables = [t for t in text.split("\n\n") if t.startswith("| id |")]
        return [row for table in tables for row in _ROW.findall(table)]

    def as_written(self) -> str:
        """The list of tests as the document has it."""
        return self.path.read_text("utf-8").split(BEGIN, 1)[1].split(END, 1)[0]

    def as_claimed(self) -> str:
        """The list of tests as the markers have it: a line a row, in the order of the rows."""
        by_row: dict[str, list[Claim]] = {row: [] for row in self.rows()}
        for claim in claims(self.marker):
            by_row.setdefault(claim.row, []).append(claim)
        return "".join(
            f"- `{row}`: {', '.join(self._link(c) for c in sorted(found, key=_place))}\n"
            for row, found in by_row.items()
        )

    def write(self) -> None:
        text = self.path.read_text("utf-8")
        before, rest = text.split(BEGIN, 1)
        self.path.write_text(
            f"{before}{BEGIN}{self.as_claimed()}{END}{rest.split(END, 1)[1]}", "utf-8"
        )

    def _link(self, claim: Claim) -> str:
        return f"[{claim.test.removeprefix('test_')}](../{claim.file})"


def _place(claim: Claim) -> tuple[str, str]:
    return claim.file, claim.test


THREATS = Document(ROOT / "docs" / "threat-model.md", "threat")
FORM_RULES = Document(ROOT / "docs" / "forms.md", "form_rule")
DOCUMENTS = (THREATS, FORM_RULES)


@functools.cache
def claims(marker: str) -> tuple[Claim, ...]:
    """Every claim of a marker, of all tests of the project."""
    return tuple(_read(marker))


def _read(marker: str) -> Iterator[Claim]:
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        text = file.read_text("utf-8")
        if f"mark.{marker}(" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                for row in _claimed(node, marker):
                    yield Claim(row, file.relative_to(ROOT).as_posix(), node.name)


def _claimed(node: ast.FunctionDef, marker: str) -> Iterator[str]:
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == (
            f"pytest.mark.{marker}"
        ):
            for argument in decorator.args:
                yield ast.literal_eval(argument)


if __name__ == "__main__":
    for document in DOCUMENTS:
        document.write()
        print(document.path.relative_to(ROOT), file=sys.stderr)
