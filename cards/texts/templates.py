"""The templates of the cards' details: Jinja, written beside this as `<name>.md.j2`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from cards.untrusted import as_text

FOLDER = Path(__file__).parent
ENDING = ".md.j2"

_BLANK_LINES = re.compile(r"\n{3,}")


@dataclass(frozen=True, slots=True)
class Template:
    """One template: its name without ending, and the type of each variable that it is given."""

    name: str
    variables: Mapping[str, Any]


def environment(folder: Path = FOLDER) -> Environment:
    """The environment of templates; an undefined name is an error.

    The output is Markdown: text of a request goes through `untrusted`; policies and notices are the
    payer's own files and need no escaping.
    """
    made = Environment(
        loader=FileSystemLoader(folder),
        autoescape=False,  # noqa: S701
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters["untrusted"] = as_text
    return made


def without_gaps(written: str) -> str:
    """Markdown with one blank line at most between two paragraphs."""
    return _BLANK_LINES.sub("\n\n", written.strip())
