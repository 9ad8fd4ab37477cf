"""Path of a field in JSON or YAML, and how it is written in messages."""

from __future__ import annotations

FieldPath = tuple[str | int, ...]
"""Names and positions from the root: ("context", "entry", 2)."""


def written_path(path: FieldPath) -> str:
    """("context", "entry", 2) as "context.entry[2]"; the root as ""."""
    written = ""
    for step in path:
        written += f"[{step}]" if isinstance(step, int) else f".{step}"
    return written.removeprefix(".")
