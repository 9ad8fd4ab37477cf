"""Limits of sign-ins: attempts a minute by address and by name, never for all readers together.

Counted like calls, in one worker or for all. The keys are the attacker's to choose, so they are
counted in so many buckets: memory and rows are bounded, and an unknown name is counted like a known
one.
"""

from __future__ import annotations

import hashlib

from service.auth.clients import Client
from service.auth.rate_limit import CallCounts, CallLimit

_BUCKETS = 65_536
_DIGEST_BYTES = 8


class SignInLimits:
    """At most `of_address` attempts a minute from one address, `of_name` for one name.

    An address is refused first: it alone cannot keep a reader from signing in elsewhere.
    """

    def __init__(self, of_address: int, of_name: int, counts: CallCounts) -> None:
        if of_name <= of_address:
            raise ValueError("one address could lock a name")
        self._of_address = CallLimit(of_address, counts)
        self._of_name = CallLimit(of_name, counts)

    def count_address(self, address: str) -> None:
        """Count an attempt, before anything of it is read. Raises TooManyCalls."""
        self._of_address.count(_bucket("address", address))

    def count_name(self, name: str) -> None:
        """Count an attempt with this name. Raises TooManyCalls."""
        self._of_name.count(_bucket("name", name))


def _bucket(kind: str, key: str) -> Client:
    digest = hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=_DIGEST_BYTES).digest()
    bucket = int.from_bytes(digest) % _BUCKETS
    # No issuer of a client begins so: it is a URL.
    return Client(issuer=f"sign-in by {kind} {bucket}", name="sign-in")
