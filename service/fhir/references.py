"""FHIR references: absolute, relative, contained, urn:uuid and versioned, down to "Type/id"."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

_LITERAL = re.compile(
    r"(?:(?P<base>https?://[^?#]+?)/)?"
    r"(?P<type>[A-Z][A-Za-z]{1,63})/(?P<id>[A-Za-z0-9\-._]{1,128})"
    r"(?:/_history/(?P<version>[A-Za-z0-9\-.]{1,64}))?"
)


_LONGEST = 4_096
"""Characters: of a megabyte the search takes 20 milliseconds, in which no other call computes."""


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

    None for others: contained ("#a"), urn:uuid, queries, dot segments ("../metadata"), and those
    longer than any server's. Ids with an underscore are accepted, since EHRs send them.
    """
    if len(reference) > _LONGEST:
        return None
    match = _LITERAL.fullmatch(reference.strip())
    if match is None:
        return None
    found = Literal(*match.groups())
    return found if found.id.strip(".") else None


def host_of(url: str) -> str | None:
    """The host of a URL in lower case, or None."""
    # All URLs of a server have one beginning: it is parsed once, and no resource's id is kept.
    path = url.find("/", url.find("//") + len("//"))
    server = url if path < 0 else url[:path]
    return _host(server) if len(server) <= _MOST_KEPT else _host.__wrapped__(server)


_MOST_KEPT = 300
"""Characters of a server's address: a host name has 253 at most."""


@lru_cache(maxsize=256)
def _host(server: str) -> str | None:
    try:
        return urlsplit(server).hostname
    except ValueError:
        return None
