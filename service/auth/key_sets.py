"""The public keys of a client: from its JSON Web Key Set, given by the operator or at a pinned URL.

Only keys for ES384 and RS384 are kept, only their public half, each under its key id and algorithm:
a key cannot be used with another algorithm than its own, and a symmetric key is never a key here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec
import structlog
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from service.errors import Unavailable

log = structlog.get_logger(__name__)

REFRESH_AT_MOST_EVERY = 60
"""Seconds between two fetches of one key set, whatever the tokens say."""

FRESH_FOR = 3600
"""Seconds after which a key set is fetched again, so that a withdrawn key does not stay trusted."""

_SMALLEST_RSA = 2048

PublicKey = ECKey | RSAKey
Keys = Mapping[tuple[str, str], Sequence[PublicKey]]
"""(kid, alg) → the keys with that id; more than one only while a client changes them."""


class KeySource(Protocol):
    """Where a client's keys come from."""

    @property
    def url(self) -> str | None:
        """The key set's URL, or None if the operator gave the keys themselves."""

    @property
    def away(self) -> bool:
        """Whether the key set could not be read when it was last asked for."""

    def find(self, kid: str, alg: str) -> Sequence[PublicKey]:
        """The keys with this id for this algorithm; none is an empty sequence.

        Raises Unavailable if the keys have never been had and cannot be had now.
        """


def read_key_set(key_set: object) -> Keys:
    """The usable public keys of a JWK Set (RFC 7517). Raises ValueError if it is not one."""
    listed = key_set.get("keys") if isinstance(key_set, dict) else None
    if not isinstance(listed, list):
        raise ValueError('not a JSON Web Key Set: expected an object with a list "keys"')
    keys: dict[tuple[str, str], list[PublicKey]] = {}
    for jwk in listed:
        kid = jwk.get("kid") if isinstance(jwk, dict) else None
        if not isinstance(kid, str) or not _for_verifying(jwk):
            continue
        found = _public_key(jwk)
        if found is not None:
            alg, key = found
            keys.setdefault((kid, alg), []).append(key)
    return keys


def _for_verifying(jwk: Mapping[str, Any]) -> bool:
    operations = jwk.get("key_ops")
    # Some clients publish the private half beside the public one: one with "sign" is left out.
    return jwk.get("use", "sig") == "sig" and (operations is None or "verify" in operations)


def _public_key(jwk: Mapping[str, Any]) -> tuple[str, PublicKey] | None:
    """The algorithm and the public half of a key; None if it is of another kind or broken."""
    try:
        if jwk.get("kty") == "EC" and jwk.get("crv") == "P-384" and _is_for(jwk, "ES384"):
            return "ES384", ECKey.import_key({n: jwk[n] for n in ("kty", "crv", "x", "y")})
        if jwk.get("kty") == "RSA" and _is_for(jwk, "RS384"):
            key = RSAKey.import_key({n: jwk[n] for n in ("kty", "n", "e")})
            return ("RS384", key) if key.public_key.key_size >= _SMALLEST_RSA else None
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    return None


def _is_for(jwk: Mapping[str, Any], alg: str) -> bool:
    return bool(jwk.get("alg", alg) == alg)


class FixedKeys:
    """Keys that the operator gave."""

    url = None
    away = False

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def find(self, kid: str, alg: str) -> Sequence[PublicKey]:
        return self._keys.get((kid, alg), ())


class FetchedKeys:
    """Keys at a pinned URL: fetched when first needed, again for an unknown kid and each hour.

    However many tokens name unknown keys, the URL is asked at most once a minute; while it is down
    the last keys stay in use. `fetch` takes the URL and gives bytes or raises KeySetUnreachable;
    `seconds` is a monotonic clock.
    """

    def __init__(
        self, url: str, fetch: Callable[[str], bytes], seconds: Callable[[], float]
    ) -> None:
        self.url = url
        self._fetch = fetch
        self._seconds = seconds
        self._refreshing = threading.Lock()
        self._keys: Keys = {}
        self._tried: float | None = None
        self._read: float | None = None

    @property
    def away(self) -> bool:
        return self._tried is not None and self._read != self._tried

    def find(self, kid: str, alg: str) -> Sequence[PublicKey]:
        found = self._keys.get((kid, alg), ())
        if not found:
            with self._refreshing:
                self._refresh()
        elif self._is_old() and self._refreshing.acquire(blocking=False):
            # One call pays for the refresh, the others go on with the keys at hand.
            try:
                self._refresh()
            finally:
                self._refreshing.release()
        if self._read is None:
            raise Unavailable("this client's keys cannot be read now", REFRESH_AT_MOST_EVERY)
        return self._keys.get((kid, alg), ())

    def _is_old(self) -> bool:
        return self._read is None or self._seconds() - self._read >= FRESH_FOR

    def _refresh(self) -> None:
        now = self._seconds()
        if self._tried is not None and now - self._tried < REFRESH_AT_MOST_EVERY:
            return
        self._tried = now
        try:
            self._keys = read_key_set(msgspec.json.decode(self._fetch(self.url)))
            self._read = now
        except (KeySetUnreachable, ValueError) as error:
            log.warning("key set not read, the last one stays", url=self.url, why=str(error))


class KeySetUnreachable(Exception):
    """A key set's URL gave no key set; says why."""
