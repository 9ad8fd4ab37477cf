"""SMART Backend Services: an access token for a client's signed assertion (private_key_jwt).

The client signs with the keys that the clients file pins; each assertion counts once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from service.auth.access_tokens import LIFETIME, AccessTokens
from service.auth.client_share import FailedTokens
from service.auth.clients import Client, TrustedClient
from service.auth.replay_detection import UsedTokens, accepted
from service.auth.scopes import understood
from service.auth.tokens import (
    LEEWAY,
    LONGEST_JTI,
    check_signature,
    parts_of,
    seconds_claim,
    signing_keys,
    text_claim,
)
from service.errors import OAuthRefusal, Unauthenticated

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
GRANT_TYPE = "client_credentials"
_REFUSED = "the client assertion is not valid"


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """An access token with its granted scopes, for `client`."""

    client: Client
    token: str
    scope: str
    lifetime: int = LIFETIME


class BackendServices:
    """The use case of the token endpoint.

    `clients` are by client_id; `used` records accepted assertions, `failed` counts the others;
    `clock` gives the time with a time zone.
    """

    def __init__(
        self,
        clients: Mapping[str, TrustedClient],
        tokens: AccessTokens,
        used: UsedTokens,
        failed: FailedTokens,
        clock: Callable[[], datetime],
    ) -> None:
        self._clients = clients
        self._tokens = tokens
        self._used = used
        self._failed = failed
        self._clock = clock

    def token(
        self,
        form: Mapping[str, Sequence[str]],
        url: str,
        address: str,
        request: str | None = None,
    ) -> IssuedToken:
        """An access token for the token request in `form`, sent to `url` from `address`.

        `request` is the digest of the trusted proxy's request, None without one.
        Raises OAuthRefusal; TooManyCalls after too many invalid assertions; Unavailable if the
        client's keys or the record of used assertions are unavailable.
        """
        grant = _one(form, "grant_type")
        if grant == "authorization_code":
            raise OAuthRefusal("invalid_grant", "no authorization code is ever issued here")
        if grant != GRANT_TYPE:
            raise OAuthRefusal("unsupported_grant_type", f"expected grant_type={GRANT_TYPE}")
        if _one(form, "client_assertion_type") != ASSERTION_TYPE:
            raise OAuthRefusal("invalid_request", f"expected {ASSERTION_TYPE}")
        trusted = self._authenticated(_one(form, "client_assertion"), url, address, request)
        scopes = understood(_one(form, "scope"))
        if not scopes or trusted.client_id is None:
            raise OAuthRefusal("invalid_scope", "expected scopes such as system/Questionnaire.rs")
        return IssuedToken(
            trusted.client,
            self._tokens.issue(trusted.client_id, scopes),
            " ".join(scope.written for scope in scopes),
        )

    def _authenticated(
        self, assertion: str, url: str, address: str, request: str | None
    ) -> TrustedClient:
        client_id = ""
        try:
            header, claims = parts_of(assertion)
            trusted = self._clients.get(text_claim(claims, "iss"))
            if trusted is None:
                self._failed.check(client_id, address)
                raise Unauthenticated("iss", "is no client_id of this service")
            client_id = trusted.client_id or ""
            self._failed.check(client_id, address)
            check_signature(assertion, signing_keys(header, trusted))
            self._check(claims, client_id, url, request)
        except Unauthenticated as error:
            self._failed.add(client_id, address)
            raise OAuthRefusal("invalid_client", _REFUSED, error.why) from None
        return trusted

    def _check(
        self, claims: Mapping[str, Any], client_id: str, url: str, request: str | None
    ) -> None:
        """Check the claims of SMART's client-confidential-asymmetric; iat may be absent."""
        if text_claim(claims, "sub") != client_id:
            raise Unauthenticated("sub", "must be the client_id, as iss is")
        audience = claims.get("aud")
        if url not in (audience if isinstance(audience, list) else [audience]):
            raise Unauthenticated("aud", "must be the token endpoint")
        now, expires = self._clock().timestamp(), seconds_claim(claims, "exp")
        if expires <= now - LEEWAY:
            raise Unauthenticated("exp", "has passed")
        if expires > now + LIFETIME + LEEWAY:
            raise Unauthenticated("exp", f"must be at most {LIFETIME} seconds ahead")
        jti = text_claim(claims, "jti")
        if not 0 < len(jti) <= LONGEST_JTI:
            raise Unauthenticated("jti", f"must have 1 to {LONGEST_JTI} characters")
        forget_after = datetime.fromtimestamp(expires + LEEWAY, UTC)
        # Apart from the tokens of the hooks, whose issuer may be the same word.
        accepted(self._used, f"client_id {client_id}", jti, forget_after, request)


def _one(form: Mapping[str, Sequence[str]], name: str) -> str:
    """A parameter's only value (RFC 6749 §3.2: none may be repeated)."""
    values = form.get(name, ())
    if len(values) != 1 or not values[0]:
        raise OAuthRefusal("invalid_request", f"expected the parameter {name} once")
    return values[0]
