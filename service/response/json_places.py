"""JSON with places: written once, and filled for each call with the values of its own.

The writer of an answer is handed a stand-in wherever a value differs from call to call; where the
stand-in is found again in what it has written, there is a place.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

_MARK = secrets.token_hex(8)
"""No text has it by chance, and nobody can send it."""

_encode = msgspec.json.Encoder().encode


def in_json(texts: Sequence[str]) -> list[bytes]:
    """Each text as it is written within a JSON string: escaped, without the quotes; one or more."""
    # Within a string a quote is escaped, so '","' stands between two strings only.
    return _encode(texts)[2:-2].split(b'","')


class JsonWithPlaces(NamedTuple):
    """A bytes format with "%b" at each place; `places` tells the number of each one's value."""

    format: bytes
    places: tuple[int, ...]

    def filled(self, values: Sequence[bytes]) -> bytes:
        """The JSON with these values, each escaped by `in_json`."""
        return self.format % tuple(map(values.__getitem__, self.places))


class StandIns:
    """The stand-ins of one text, each with the number of its value."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self._made = 0

    def value(self, number: int, prefix: str = "", written: Callable[[str], str] = str) -> str:
        """A stand-in for the value of this number, which begins with `prefix`.

        `written` is how texts write the value, if not as it is.
        """
        made = self.nothing(prefix)
        self.known(number, written(made))
        return made

    def known(self, number: int, text: str) -> None:
        """Take a text that stands nowhere else for the value of this number."""
        (written,) = in_json([text])
        self._numbers[written] = number

    def nothing(self, prefix: str = "") -> str:
        """A stand-in for a value that is not written anywhere."""
        self._made += 1
        # Colons and hyphens are what the escaping of Markdown changes: where it is a surprise, the
        # stand-in is not found.
        return f"{prefix}stand-in:{_MARK}:{self._made}:"

    def found_in(self, written: bytes) -> JsonWithPlaces | None:
        """The JSON with its places.

        None where a stand-in was written otherwise than as it is, or one that stands for nothing
        at all: then the text depends on the value itself.
        """
        each = b"|".join(map(re.escape, self._numbers))
        parts = re.split(b"(" + each + b")", written) if each else [written]
        fixed = parts[::2]
        if any(_MARK.encode() in part for part in fixed):
            return None
        places = tuple(self._numbers[stand_in] for stand_in in parts[1::2])
        return JsonWithPlaces(b"%b".join(p.replace(b"%", b"%%") for p in fixed), places)
