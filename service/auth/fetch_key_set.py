"""Key set retrieval (JWK Set URL): GET the URL that the operator pinned, and no other.

No redirect is followed, no proxy or netrc of the environment is used, TLS is verified, and the
answer is bounded in size and time, its headers included.
"""

from __future__ import annotations

import requests

from service.auth.key_sets import KeySetUnreachable
from service.http_deadline import DeadlineAdapter

LARGEST = 262_144
"""Bytes; a key set of a hundred keys is a third of it."""

DEADLINE = 5.0
"""Seconds for the whole exchange, from the connection to the last byte."""

_TIMEOUT = (2, 2)
"""Seconds to connect, and between two packets."""

_PLAIN = frozenset({"", "identity"})


def fetch_key_set(url: str, deadline: float = DEADLINE) -> bytes:
    """The body at `url`. Raises KeySetUnreachable unless it is a 200 within the bounds."""
    with requests.Session() as session, DeadlineAdapter(deadline) as adapter:
        session.trust_env = False
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        try:
            body = _read(session, url)
        except (requests.RequestException, OSError, ValueError) as error:
            # A connection closed by the deadline fails in its current operation.
            why = "took too long" if adapter.expired else type(error).__name__
            raise KeySetUnreachable(why) from error
        if adapter.expired:
            # Headers cut off by the closing look complete.
            raise KeySetUnreachable("took too long")
        return body


def _read(session: requests.Session, url: str) -> bytes:
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    with session.get(
        url, headers=headers, timeout=_TIMEOUT, allow_redirects=False, stream=True
    ) as reply:
        if reply.status_code != requests.codes.ok:
            raise KeySetUnreachable(f"answered {reply.status_code}")
        if reply.headers.get("Content-Encoding", "").strip().lower() not in _PLAIN:
            # A few bytes could decompress to gigabytes.
            raise KeySetUnreachable("is encoded, which was not asked for")
        body = bytearray()
        for chunk in reply.iter_content(8192):
            body += chunk
            if len(body) > LARGEST:
                raise KeySetUnreachable(f"larger than {LARGEST} bytes")
        return bytes(body)
