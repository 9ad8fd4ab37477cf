"""GET a key set from the URL that the operator pinned, and from nowhere else.

No redirect is followed, no proxy or netrc of the environment is used, TLS is verified, and what
comes back is bounded in size and time.
"""

from __future__ import annotations

import time

import requests

from service.auth.key_sets import KeySetUnreachable

LARGEST = 262_144
"""Bytes; a key set of a hundred keys is a third of it."""

_TIMEOUT = (2, 2)
"""Seconds to connect, and between two packets: calls wait for it."""

_DEADLINE = 4.0
"""Seconds for the whole answer."""


def fetch_key_set(url: str) -> bytes:
    """The body at `url`. Raises KeySetUnreachable unless it is a 200 within the bounds."""
    with requests.Session() as session:
        session.trust_env = False
        try:
            return _read(session, url, time.monotonic() + _DEADLINE)
        except requests.RequestException as error:
            raise KeySetUnreachable(type(error).__name__) from error


def _read(session: requests.Session, url: str, deadline: float) -> bytes:
    headers = {"Accept": "application/json"}
    with session.get(
        url, headers=headers, timeout=_TIMEOUT, allow_redirects=False, stream=True
    ) as reply:
        if reply.status_code != requests.codes.ok:
            raise KeySetUnreachable(f"answered {reply.status_code}")
        body = bytearray()
        for chunk in reply.iter_content(8192):
            body += chunk
            if len(body) > LARGEST:
                raise KeySetUnreachable(f"larger than {LARGEST} bytes")
            if time.monotonic() > deadline:
                raise KeySetUnreachable("took too long")
        return bytes(body)
