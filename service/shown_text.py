"""Text that may be shown: without control characters for a terminal, a CSV or a log, and URLs
without secrets.

A call, a file or another server may send control sequences of a terminal (ESC, CSI, OSC), and
characters that reorder or hide text.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_CONTROLS = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 without tab and line feed, DEL, C1
    "\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f"  # invisible, breaking, bidirectional
    "\ud800-\udfff\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
)
_UNSHOWN = re.compile(f"[{_CONTROLS}]")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def shown(text: str) -> str:
    """The text with a replacement character for each control; tabs and line feeds stay."""
    return _UNSHOWN.sub(_REPLACEMENT, text)


def shown_json(text: str) -> str:
    """JSON text with its controls as escapes: the same values, safe to show."""
    return _UNSHOWN.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[n : n + 2].hex()}" for n in range(0, len(units), 2))


def shown_url(url: str) -> str:
    """A URL without user, password, query and fragment, each of which may hold a secret."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(no URL)"
    return shown(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}")
