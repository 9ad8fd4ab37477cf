"""Normal form of member numbers and names, for comparison."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_SEPARATORS = re.compile(r"[^0-9A-Z]+")
_APOSTROPHES = re.compile(r"['’`´]")
_NOT_LETTERS = re.compile(r"[^a-z0-9]+")
_TITLES = frozenset({"dr", "mr", "mrs", "ms", "miss", "jr", "sr", "ii", "iii", "iv", "md"})


def plain_number(written: str) -> str:
    """A number without case, blanks and separators, which printed cards have and files do not.

    Empty for separators alone.
    """
    return _SEPARATORS.sub("", written.upper())


@lru_cache(maxsize=4096)
def name_words(written: str) -> frozenset[str]:
    """The words of a name without case, accents, apostrophes and titles, in no order."""
    decomposed = unicodedata.normalize("NFKD", written)
    bare = "".join(c for c in decomposed if not unicodedata.combining(c)).lower()
    words = _NOT_LETTERS.split(_APOSTROPHES.sub("", bare))
    return frozenset(w for w in words if w and w not in _TITLES)
