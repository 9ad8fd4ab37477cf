"""Untrusted text, escaped for a card's Markdown.

It is shown as characters: no link, no markup, no HTML, no bidirectional reordering.
"""

from __future__ import annotations

import re
import unicodedata

LIMIT = 80

_MARKUP = re.compile(r"([\\`*_{}\[\]()#+\-.!|~:/=])")
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_SPACE = re.compile(r"\s+")


def as_text(text: str) -> str:
    """At most 80 characters of `text` on one line, escaped for Markdown and its HTML."""
    visible = "".join(" " if unicodedata.category(c) in _UNSEEN else c for c in text)
    line = _SPACE.sub(" ", visible).strip()
    if len(line) > LIMIT:
        line = line[: LIMIT - 1].rstrip() + "…"
    # GFM makes a mail link of a bare address even with escaped characters.
    line = line.replace("@", " at ")
    escaped = _MARKUP.sub(r"\\\1", line)
    return "".join(_HTML.get(c, c) for c in escaped)


_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories of invisible or reordering characters: controls, formats, bidi marks."""
