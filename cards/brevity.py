"""The part of a card's text that is read at a glance: few words, in a fixed order, before "More".

A clinician looks at a card for three seconds. What does not fit stands after "More".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

WORDS_AT_A_GLANCE = 60
MORE = "**More**"
"""The heading of the rest, on a line of its own."""


class Line(NamedTuple):
    """A paragraph of the first part.

    `label` goes before it, in bold ("Do"); `keep` says how long it stays: of too many words the
    line with the lowest value goes first, of equal ones the last.
    """

    text: str
    label: str = ""
    keep: int = 0

    @property
    def written(self) -> str:
        """The paragraph in Markdown."""
        return f"**{self.label}:** {self.text}" if self.label else self.text


def at_a_glance(
    lines: Iterable[Line], limit: int = WORDS_AT_A_GLANCE
) -> tuple[Sequence[str], Sequence[str]]:
    """The paragraphs that fit, in their order, and those that are left for after "More"."""
    kept = [line for line in lines if line.text.strip()]
    left: list[Line] = []
    while len(kept) > 1 and sum(_words(line) for line in kept) > limit:
        _, neg = min((line.keep, -i) for i, line in enumerate(kept))
        left.insert(0, kept.pop(-neg))
    return [line.written for line in kept], [line.written for line in left]


def _words(line: Line) -> int:
    return len(line.written.split())


def words_before_more(detail: str) -> int:
    """Number of words that a card's detail has before "More"."""
    return len(detail.partition(MORE)[0].split())
