"""Normal form of member numbers and names, for comparison."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_SEPARATORS = re.compile(r"[^0-9A-Z]+")
_APOSTROPHES = re.compile(r"['’`´]")
_NOT_LETTERS = re.compile(r"[\W_]+")
_UMLAUTS = re.compile(r"([aou])e")
_LETTERS = str.maketrans(
    {"ß": "ss", "æ": "a", "ø": "o", "œ": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i"}
)
"""Letters that Unicode does not take apart into a letter and an accent."""

Words = tuple[frozenset[str], frozenset[str]]
_TITLES = frozenset({"dr", "mr", "mrs", "ms", "miss", "jr", "sr", "ii", "iii", "iv", "md"})


def plain_number(written: str) -> str:
    """A number without case, blanks and separators, which printed cards have and files do not.

    Empty for separators alone.
    """
    number = written.upper().replace("-", "").replace(" ", "")
    # Most numbers have no other separators, and files have millions of numbers.
    return number if number.isalnum() and number.isascii() else _SEPARATORS.sub("", number)


def name_words(written: str) -> frozenset[str]:
    """The words of a name without case, accents, apostrophes and titles, in no order.

    Letters that are written as one or as two are one: Müller, Mueller and Muller are the same.
    """
    return (_known_words if len(written) <= _LONGEST_KEPT else _words)(written)


_LONGEST_KEPT = 200
"""Characters of a name that is remembered: callers write them."""


def _words(written: str) -> frozenset[str]:
    decomposed = unicodedata.normalize("NFKD", written.lower().translate(_LETTERS))
    bare = "".join(c for c in decomposed if not unicodedata.combining(c)).casefold()
    words = _NOT_LETTERS.split(_APOSTROPHES.sub("", bare))
    return frozenset(_UMLAUTS.sub(r"\1", w) for w in words if w and w not in _TITLES)


_known_words = lru_cache(maxsize=4096)(_words)


def in_one_script(one: frozenset[str], other: frozenset[str]) -> Words:
    """The words of both names that can be compared: those in Latin letters, else the others.

    A name in one script says nothing against the same name in another.
    """
    latin = frozenset(filter(str.isascii, one)), frozenset(filter(str.isascii, other))
    return latin if all(latin) else (one - latin[0], other - latin[1])
