"""Text that came with a request, made safe to stand in a card's Markdown.

It must show as what it is, characters: no link, no markup, no HTML, no reordering of what follows.
"""

from __future__ import annotations

import re
import unicodedata

LIMIT = 80

_MARKUP = re.compile(r"([\\`*_{}\[\]()#+\-.!|~:/=])")
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_SPACE = re.compile(r"\s+")


def as_text(text: str) -> str:
    """At most 80 characters of `text` on one line, escaped for Markdown and the HTML made of it."""
    visible = "".join(" " if unicodedata.category(c) in _UNSEEN else c for c in text)
    line = _SPACE.sub(" ", visible).strip()
    if len(line) > LIMIT:
        line = line[: LIMIT - 1].rstrip() + "…"
    # GFM turns a bare address into a mail link even when its characters are escaped.
    line = line.replace("@", " at ")
    escaped = _MARKUP.sub(r"\\\1", line)
    return "".join(_HTML.get(c, c) for c in escaped)


_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that show nothing or reorder text: controls, formats, bidi marks."""
