"""FHIR references: absolute, relative, contained, urn:uuid and versioned, down to "Type/id"."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urlsplit

_LITERAL = re.compile(
    r"(?:(?P<base>https?://[^?#]+?)/)?"
    r"(?P<type>[A-Z][A-Za-z]{1,63})/(?P<id>[A-Za-z0-9\-._]{1,128})"
    r"(?:/_history/(?P<version>[A-Za-z0-9\-.]{1,64}))?"
)


class Literal(NamedTuple):
    """A parsed literal reference; `base` is None for a relative one."""

    base: str | None
    type: str
    id: str
    version: str | None

    @property
    def local(self) -> str:
        return f"{self.type}/{self.id}"


def parse_literal(reference: str) -> Literal | None:
    """Parse a relative or absolute literal reference.

    None for others: contained ("#a"), urn:uuid, queries, dot segments ("../metadata"). Ids with an
    underscore are accepted, since EHRs send them.
    """
    match = _LITERAL.fullmatch(reference.strip())
    if match is None or set(match["id"]) <= {"."}:
        return None
    return Literal(match["base"], match["type"], match["id"], match["version"])


def host_of(url: str) -> str | None:
    """The host of a URL in lower case, or None."""
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
