"""Client key sets (RFC 7517), given by the operator or read from a pinned URL.

Of clients only public keys for ES384 and RS384 are used, each under its key id and its own
algorithm; symmetric keys are ignored.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec
import structlog
from joserfc.jwk import ECKey, RSAKey

from service.errors import Unavailable
from service.shown_text import shown_url

log = structlog.get_logger(__name__)

REFRESH_AT_MOST_EVERY = 60
"""Least seconds between two fetches of one key set."""

FRESH_FOR = 3600
"""Seconds after which a key set is refetched, to drop withdrawn keys."""

KEEP_FOR = 86_400
"""Seconds for which the last keys stay in use while their URL is down."""

FIRST_WAIT = 2.0
"""Seconds that a call waits for a key set that has never been read."""

MOST_KEYS = 50
"""Keys read of one set."""

MOST_KEYS_OF_AN_ID = 4
"""Keys tried for one key id."""

_MOST_WAITING = 2
"""Calls that wait for one key set."""

MOST_WAITING_IN_ALL = 4
"""Calls that wait for any key set: several hosts that hang must not take every token check."""

_NOT_READ = "key set not read, the last one stays"

_SMALLEST_RSA = 2048
_LARGEST_RSA = 8192
"""Bits: the time to check a signature grows with the square of it."""
_LARGEST_EXPONENT = 32
"""Bits: that time grows with it, too; a public exponent of as many bits as the modulus takes two
hundred times as long as the usual one (65537).
"""

CLIENT_ALGORITHMS = ("RS384", "ES384")
"""What CDS clients sign with."""

_OF_CURVES = {"P-256": "ES256", "P-384": "ES384"}

PublicKey = ECKey | RSAKey
Keys = Mapping[tuple[str, str], Sequence[PublicKey]]
"""Keys by (kid, alg); several only while a client rotates them."""


class KeySource(Protocol):
    """Source of a client's keys."""

    @property
    def url(self) -> str | None:
        """The key set's URL; None for keys in the clients file."""

    @property
    def away(self) -> bool:
        """Whether the last fetch of the key set failed."""

    def find(self, kid: str, alg: str) -> Sequence[PublicKey]:
        """The keys with this id for this algorithm; none is an empty sequence.

        Raises Unavailable if there are none that may be trusted now: never read, or too long ago.
        """


def read_key_set(key_set: object, algorithms: Sequence[str] = CLIENT_ALGORITHMS) -> Keys:
    """The usable public keys of a JWK Set (RFC 7517). Raises ValueError if it is not one.

    `algorithms` are those that keys are wanted for; an RSA key that names none is for the first of
    them. Of the first MOST_KEYS entries; of those with one id and algorithm the first
    MOST_KEYS_OF_AN_ID. An entry that is no usable key is left out; the others stay.
    """
    listed = key_set.get("keys") if isinstance(key_set, dict) else None
    if not isinstance(listed, list):
        raise ValueError('not a JSON Web Key Set: expected an object with a list "keys"')
    keys: dict[tuple[str, str], list[PublicKey]] = {}
    for jwk in listed[:MOST_KEYS]:
        kid = jwk.get("kid") if isinstance(jwk, dict) else None
        if not isinstance(kid, str) or not _for_verifying(jwk):
            continue
        found = _public_key(jwk, algorithms)
        if found is not None:
            alg, key = found
            same = keys.setdefault((kid, alg), [])
            if len(same) < MOST_KEYS_OF_AN_ID:
                same.append(key)
    return keys


def _for_verifying(jwk: Mapping[str, Any]) -> bool:
    operations = jwk.get("key_ops", ["verify"])
    # Some clients publish the private half beside the public one: a key for "sign" is ignored.
    for_verifying = operations is None or (isinstance(operations, list) and "verify" in operations)
    return for_verifying and jwk.get("use", "sig") == "sig"


def _public_key(jwk: Mapping[str, Any], algorithms: Sequence[str]) -> tuple[str, PublicKey] | None:
    """The algorithm and the public half of a key; None if it is of another kind or broken."""
    try:
        if jwk.get("kty") == "EC":
            alg = _OF_CURVES.get(str(jwk.get("crv")), "")
            if alg in algorithms and jwk.get("alg", alg) == alg:
                return alg, ECKey.import_key({n: jwk[n] for n in ("kty", "crv", "x", "y")})
        if jwk.get("kty") == "RSA":
            of_rsa = [alg for alg in algorithms if alg.startswith("RS")]
            alg = jwk.get("alg", of_rsa[0])
            if alg in of_rsa:
                key = RSAKey.import_key({n: jwk[n] for n in ("kty", "n", "e")})
                return (alg, key) if _is_of_usual_size(key) else None
    except Exception:
        # cryptography raises an open list of errors for odd numbers; one odd key must not lose the
        # others.
        return None
    return None


def _is_of_usual_size(key: RSAKey) -> bool:
    public = key.public_key
    exponent = public.public_numbers().e.bit_length()
    return _SMALLEST_RSA <= public.key_size <= _LARGEST_RSA and exponent <= _LARGEST_EXPONENT


class FixedKeys:
    """Keys in the clients file."""

    url = None
    away = False

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def find(self, kid: str, alg: str) -> Sequence[PublicKey]:
        return self._keys.get((kid, alg), ())


class FetchedKeys:
    """Cached JSON Web Key Set at a pinned URL, refreshed in the background.

    Calls do not wait for a fetch, except for the first: until the URL has answered once,
    `_MOST_WAITING` calls wait at most `first_wait` seconds each; other calls get Unavailable. The
    set is refetched after FRESH_FOR seconds and for an unknown key id, at most once in
    REFRESH_AT_MOST_EVERY seconds. While the URL fails, the last keys stay in use for `keep_for`
    seconds; after that none of them is trusted.

    `fetch` takes the URL and gives bytes within a time of its own, or raises KeySetUnreachable;
    `seconds` is a monotonic clock; `waiting` are the places for waiting calls of all key sets.
    """

    def __init__(
        self,
        url: str,
        fetch: Callable[[str], bytes],
        seconds: Callable[[], float],
        *,
        keep_for: float = KEEP_FOR,
        first_wait: float = FIRST_WAIT,
        waiting: threading.BoundedSemaphore | None = None,
        algorithms: Sequence[str] = CLIENT_ALGORITHMS,
    ) -> None:
        self._algorithms = algorithms
        self.url = url
        self._fetch = fetch
        self._seconds = seconds
        self._keep_for = keep_for
        self._first_wait = first_wait
        self._lock = threading.Lock()
        self._waiting = threading.BoundedSemaphore(_MOST_WAITING)
        self._waiting_in_all = waiting or threading.BoundedSemaphore(MOST_WAITING_IN_ALL)
        self._idle = threading.Event()
        self._idle.set()
        self._keys: Keys = {}
        self._tried: float | None = None
        self._read: float | None = None

    @property
    def away(self) -> bool:
        tried = self._tried
        return self._idle.is_set() and tried is not None and self._read != tried

    def find(self, kid: str, alg: str) -> Sequence[PublicKey]:
        found = self._keys.get((kid, alg), ())
        if not found or self._age() >= FRESH_FOR:
            self._refresh()
            if self._read is None:
                self._wait_for_the_first()
            found = self._keys.get((kid, alg), ())
        if self._age() >= self._keep_for:
            raise Unavailable("this client's keys cannot be read now", REFRESH_AT_MOST_EVERY)
        if not found and not self._idle.is_set():
            # The client may have changed its keys: the answer is later, not no.
            raise Unavailable("this client's keys are being read", retry_after=1)
        return found

    def _age(self) -> float:
        """Seconds since the last successful fetch; infinite before the first."""
        return float("inf") if self._read is None else self._seconds() - self._read

    def _wait_for_the_first(self) -> None:
        with contextlib.ExitStack() as places:
            for place in (self._waiting, self._waiting_in_all):
                if not place.acquire(blocking=False):
                    raise Unavailable("this client's keys are being read", retry_after=1)
                places.callback(place.release)
            self._idle.wait(self._first_wait)

    def _refresh(self) -> None:
        """Start a fetch, unless one is running or was tried a moment ago."""
        with self._lock:
            now = self._seconds()
            recent = self._tried is not None and now - self._tried < REFRESH_AT_MOST_EVERY
            if recent or not self._idle.is_set():
                return
            self._idle.clear()
            self._tried = now
        reading = threading.Thread(target=self._read_now, args=(now,), name="key-set", daemon=True)
        try:
            reading.start()
        except RuntimeError:  # no thread is to be had
            log.warning(_NOT_READ, url=shown_url(self.url), why="the system has no more threads")
            self._idle.set()

    def _read_now(self, now: float) -> None:
        try:
            self._keys = read_key_set(msgspec.json.decode(self._fetch(self.url)), self._algorithms)
            self._read = now
        except (KeySetUnreachable, ValueError) as error:
            log.warning(_NOT_READ, url=shown_url(self.url), why=str(error))
        except Exception:
            log.exception(_NOT_READ, url=shown_url(self.url))
        finally:
            self._idle.set()


class KeySetUnreachable(Exception):
    """A key set's URL returned no key set; the message is the reason."""
