"""Client tokens (CDS Hooks 2.0, Security): signature, issuer, audience, lifetime and replay.

An error names the failed claim and never quotes the token.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import jiter
from joserfc import jws
from joserfc.errors import JoseError

from service.auth.client_share import FailedTokens, SpentShares
from service.auth.clients import Client, TrustedClient
from service.auth.key_sets import PublicKey
from service.auth.replay_detection import UsedTokens, accepted
from service.errors import Unauthenticated

ALGORITHMS = ("ES384", "RS384")
"""The accepted algorithms, asymmetric and recommended by CDS Hooks 2.0."""

LONGEST_TOKEN = 8192
"""Characters."""

DEFAULT_LIFETIME = 300
"""Seconds from iat to exp: five minutes, as CDS Hooks 2.0 suggests; it sets no maximum."""

LEEWAY = 30
"""Allowed clock skew in seconds."""

_ROUNDING = 2
"""Seconds: some clients read their clock separately for iat and exp."""

LONGEST_JTI = 256

_LATEST = 1e12
"""Seconds since 1970, beyond the calendar's end."""


class _Registry(jws.JWSRegistry):
    max_header_length = LONGEST_TOKEN
    max_payload_length = LONGEST_TOKEN


class TokenChecker:
    """Verification of client tokens.

    `clients` by issuer; `used` records accepted tokens, `failed` counts the others, `spent` has the
    clients of which no more are looked at in this minute; `clock` gives the time with a time zone.
    """

    def __init__(
        self,
        clients: Mapping[str, TrustedClient],
        used: UsedTokens,
        failed: FailedTokens,
        spent: SpentShares,
        clock: Callable[[], datetime],
        lifetime: int = DEFAULT_LIFETIME,
    ) -> None:
        self._lifetime = lifetime
        self._clients = clients
        self._used = used
        self._failed = failed
        self._spent = spent
        self._clock = clock

    def client_of(self, token: str, url: str, address: str, request: str | None = None) -> Client:
        """The client that signed `token` for a call of `url`, sent from `address`.

        `request` is the digest of the trusted proxy's request, None without one.
        Raises Unauthenticated with the failed claim; TooManyCalls after too many of these, and
        where the client has had its share of this minute;
        Unavailable if the client's keys or the record of used tokens are unavailable.
        """
        issuer = ""
        try:
            header, claims = parts_of(token)
            trusted = self._clients.get(text_claim(claims, "iss"))
            if trusted is None:
                # Names that are no client's count together: there are as many as one likes.
                self._failed.check(issuer, address)
                raise Unauthenticated("iss", "is no client of this service")
            issuer = trusted.client.issuer
            self._failed.check(issuer, address)
            self._spent.check(trusted.client, address)
            check_signature(token, signing_keys(header, trusted))
            self._check_claims(claims, url, request)
        except Unauthenticated:
            self._failed.add(issuer, address)
            raise
        return trusted.client

    def _check_claims(self, claims: Mapping[str, Any], url: str, request: str | None) -> None:
        audience = claims.get("aud")
        if url not in (audience if isinstance(audience, list) else [audience]):
            raise Unauthenticated("aud", "must be the URL that is called")
        now = self._clock().timestamp()
        issued, expires = seconds_claim(claims, "iat"), seconds_claim(claims, "exp")
        if issued > now + LEEWAY:
            raise Unauthenticated("iat", "lies in the future")
        if expires <= now - LEEWAY:
            raise Unauthenticated("exp", "has passed")
        if not 0 < expires - issued <= self._lifetime + _ROUNDING:
            raise Unauthenticated("exp", f"must be at most {self._lifetime} seconds after iat")
        if "nbf" in claims and seconds_claim(claims, "nbf") > now + LEEWAY:
            raise Unauthenticated("nbf", "lies in the future")
        jti = text_claim(claims, "jti")
        if not 0 < len(jti) <= LONGEST_JTI:
            raise Unauthenticated("jti", f"must have 1 to {LONGEST_JTI} characters")
        forget_after = datetime.fromtimestamp(expires + LEEWAY, UTC)
        accepted(self._used, text_claim(claims, "iss"), jti, forget_after, request)


def parts_of(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims, not yet verified."""
    if len(token) > LONGEST_TOKEN:
        raise Unauthenticated("token", f"is longer than {LONGEST_TOKEN} characters")
    segments = token.split(".")
    if len(segments) != 3 or not token.isascii():
        raise Unauthenticated("token", "is no signed JWT in three parts")
    return _json_object(segments[0], "header"), _json_object(segments[1], "payload")


def _json_object(segment: str, part: str) -> dict[str, Any]:
    try:
        raw = base64.b64decode(segment + "=" * (-len(segment) % 4), altchars=b"-_", validate=True)
        # Two parsers would read different values of a duplicate claim.
        value = jiter.from_json(
            raw, allow_inf_nan=False, catch_duplicate_keys=True, cache_mode="none"
        )
    except (binascii.Error, ValueError):
        raise Unauthenticated(part, "is not JSON with each name once, in base64url") from None
    if not isinstance(value, dict):
        raise Unauthenticated(part, "is no JSON object")
    return value


def signing_keys(header: Mapping[str, Any], trusted: TrustedClient) -> Sequence[PublicKey]:
    """The keys that the header refers to, all of this client."""
    alg = header.get("alg")
    if alg not in ALGORITHMS:
        raise Unauthenticated("alg", "must be ES384 or RS384")
    if str(header.get("typ", "JWT")).upper() != "JWT":
        raise Unauthenticated("typ", "must be JWT")
    if "crit" in header or "b64" in header:
        raise Unauthenticated("crit", "asks for what is not known here")
    jku = header.get("jku")
    if jku is not None and trusted.keys.url is not None and jku != trusted.keys.url:
        raise Unauthenticated("jku", "is not the key set that was agreed with this client")
    kid = header.get("kid")
    keys = trusted.keys.find(kid, alg) if isinstance(kid, str) else ()
    if not keys:
        raise Unauthenticated("kid", "names no key of this client for this algorithm")
    return keys


def check_signature(
    token: str, keys: Sequence[PublicKey], algorithms: Sequence[str] = ALGORITHMS
) -> None:
    """Raise Unauthenticated unless one of the keys signed the token."""
    registry = _Registry(algorithms=list(algorithms), strict_check_header=False)
    for key in keys:
        try:
            jws.deserialize_compact(token, key, registry=registry)
        except (JoseError, ValueError, TypeError):
            continue
        return
    raise Unauthenticated("signature", "does not fit")


def text_claim(claims: Mapping[str, Any], name: str) -> str:
    """A claim that must be text. Raises Unauthenticated."""
    value = claims.get(name)
    if not isinstance(value, str):
        raise Unauthenticated(name, "is missing" if value is None else "must be text")
    return value


def seconds_claim(claims: Mapping[str, Any], name: str) -> float:
    """A claim that must be a time, in seconds since 1970. Raises Unauthenticated."""
    value = claims.get(name)
    if value is None:
        raise Unauthenticated(name, "is missing")
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _LATEST:
        raise Unauthenticated(name, "must be a number of seconds since 1970")
    return float(value)
