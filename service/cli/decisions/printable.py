"""Text of strangers on a terminal and in spreadsheets: shown as characters, never obeyed."""

from __future__ import annotations

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def printable(text: str) -> str:
    """Without control characters, which terminals obey, and marks that reorder what follows."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def csv_cell(value: object) -> object:
    """A cell that no spreadsheet takes for a formula: such text gets an apostrophe before it."""
    if isinstance(value, str) and value.lstrip(" ").startswith(_FORMULA):
        return f"'{value}"
    return value
