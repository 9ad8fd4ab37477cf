"""Check of a call's fhirServer (CDS Hooks 2.0): a base URL, and no other client's.

A server that no client lists may be named, and is not asked. Ids of patients and orders are unique
within one server only: a call in the name of another client's server would be logged as that
client's patient.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import urlsplit

from service.crd.hook_request import HookRequest
from service.ehr.allowlist import read_base

_PLACE = "fhirServer"
_UNPRINTED = re.compile(r"[\s\x00-\x1f\x7f]")


class FhirServerCheck:
    """`of_clients` are the base URLs that clients list; `shared`, those that any client may name.

    Raises ValueError for one that is malformed.
    """

    def __init__(self, of_clients: Iterable[str] = (), shared: Iterable[str] = ()) -> None:
        self._owned = {read_base(url).url for url in of_clients}
        self._owned -= {read_base(url).url for url in shared}

    def check(self, request: HookRequest, own: frozenset[str] | None) -> None:
        """Raise the version's refusal for a wrong fhirServer of a call.

        `own` are the calling client's base URLs; None in open mode, which has no clients.
        """
        server = request.fhir_server
        if not server:
            return
        if not _is_base_url(server):
            raise request.version.refusal(
                "expected the base URL of a FHIR server, such as https://ehr.example.org/fhir,"
                " without user, query or fragment",
                _PLACE,
            )
        if own is not None and self._is_anothers(server, own):
            raise request.version.refusal(
                "expected a FHIR server of this client; this one is another client's (the operator"
                " lists a client's servers under fhir_servers in the clients file)",
                _PLACE,
            )

    def _is_anothers(self, server: str, own: frozenset[str]) -> bool:
        try:
            base = read_base(server).url
        except ValueError:
            return False  # no server is listed in this spelling
        return base in self._owned and base not in own


def _is_base_url(url: str) -> bool:
    # An EHR's calls name one server, thousands of times.
    return _read_as_base(url) if len(url) <= _MOST_KEPT else _read_as_base.__wrapped__(url)


_MOST_KEPT = 500
"""Characters of a base URL that is remembered."""


@lru_cache(maxsize=256)
def _read_as_base(url: str) -> bool:
    if _UNPRINTED.search(url) or {"?", "#", "\\"} & set(url):
        return False
    try:
        parts = urlsplit(url)
        return (
            parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
        )
    except ValueError:
        return False
