"""Access tokens of SMART Backend Services: issued for five minutes, and checked without a look-up.

JWTs by RFC 9068, signed with a key of the service that all workers and instances share.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from service.auth.clients import Client
from service.auth.scopes import Scope, allows, understood
from service.errors import InsufficientScope, RejectedAccessToken, Unauthenticated

LIFETIME = 300
"""Seconds, as SMART Backend Services recommends."""
TYPE = "at+jwt"
_ALGORITHM = "HS256"


class AccessTokens:
    """Issue and check of access tokens.

    `clients` are by client_id; `key` are at least 32 random bytes; `issuer` is the service's public
    base URL; `audience` the base URL of what the tokens are for; `clock` gives the time with a time
    zone.
    """

    def __init__(
        self,
        clients: Mapping[str, Client],
        key: bytes,
        issuer: str,
        audience: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._clients = clients
        self._key = OctKey.import_key(key)
        self._issuer = issuer
        self._audience = audience
        self._clock = clock

    def issue(self, client_id: str, scopes: Iterable[Scope]) -> str:
        """A new token for a client of this id, with these scopes."""
        now = int(self._clock().timestamp())
        claims = {
            "iss": self._issuer,
            "sub": client_id,
            "client_id": client_id,
            "aud": self._audience,
            "scope": " ".join(scope.written for scope in scopes),
            "iat": now,
            "exp": now + LIFETIME,
            "jti": secrets.token_urlsafe(16),
        }
        return jwt.encode({"alg": _ALGORITHM, "typ": TYPE}, claims, self._key)

    def client_of(self, token: str, url: str, kind: str) -> Client:
        """The client that holds `token` for a call of `url`, an operation of a type of resource.

        Raises Unauthenticated for a token that this service did not issue, RejectedAccessToken with
        the reason for one that it did, InsufficientScope without the scope of the type.
        """
        claims = self._claims(token)
        client = self._clients.get(str(claims.get("client_id")))
        if client is None:
            raise RejectedAccessToken("client_id", "is no client of this service any more")
        if claims.get("aud") != self._audience or not url.startswith(f"{self._audience}/"):
            raise RejectedAccessToken("aud", "the token is for another address")
        if float(claims["exp"]) <= self._clock().timestamp():
            raise RejectedAccessToken("exp", "the token has expired")
        if not allows(understood(str(claims["scope"])), kind):
            raise InsufficientScope(f"system/{kind}.rs")
        return client

    def _claims(self, token: str) -> Mapping[str, str | float]:
        try:
            decoded = jwt.decode(token, self._key, algorithms=[_ALGORITHM])
        except (JoseError, ValueError, TypeError):
            raise Unauthenticated("signature", "is not of this service") from None
        if decoded.header.get("typ") != TYPE or decoded.claims.get("iss") != self._issuer:
            raise Unauthenticated("typ", "is no access token of this service")
        claims: Mapping[str, str | float] = decoded.claims
        return claims
