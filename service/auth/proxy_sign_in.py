"""OpenID Connect sign-in at a proxy: ID tokens that it forwards, verified here, and their roles.

The proxy (oauth2-proxy, say) signs people in and sends their ID token with each request. Its
signature, issuer, audience and lifetime are checked here (OpenID Connect Core 3.1.3.7): a request
that goes around the proxy, or a header that somebody writes, opens nothing.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from service.auth.clients import check_address
from service.auth.fetch_key_set import fetch_key_set
from service.auth.key_sets import FetchedKeys, FixedKeys, KeySource, read_key_set
from service.auth.operator_files import finding, read_yaml
from service.auth.readers import Reader
from service.auth.sessions import Session
from service.auth.tokens import LEEWAY, check_signature, parts_of, seconds_claim, text_claim
from service.errors import LibraryError, Unauthenticated

ALGORITHMS = ("RS256", "ES256", "RS384", "ES384")
"""The accepted algorithms; RS256 is what OpenID providers sign with unless told otherwise."""

_EXAMPLE = "see examples/pages-oidc.example.yaml"
_LONGEST_NAME = 120


class Role(StrEnum):
    """A right to pages of the decision log. Readers of the readers file have all of them."""

    READER = "reader"
    """Decisions, found by patient, order or id."""
    AUTHOR = "author"
    """Feedback on cards by policy and reason, without patients."""
    AUDITOR = "auditor"
    """Both."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A person whom the provider signed in: the session of a request, and the roles."""

    session: Session
    roles: frozenset[Role]


class _Roles(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    reader: list[str] = []
    author: list[str] = []
    auditor: list[str] = []


class _SignInFile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    issuer: str = Field(min_length=1)
    audience: str = Field(min_length=1)
    jwks_url: str | None = None
    jwks_file: str | None = None
    name_claim: str = "preferred_username"
    roles_claim: str = "groups"
    roles: _Roles

    @model_validator(mode="after")
    def _one_source_of_keys(self) -> _SignInFile:
        if (self.jwks_url is None) == (self.jwks_file is None):
            raise ValueError("expected jwks_url or jwks_file, one of them")
        if self.jwks_url is not None:
            check_address(self.jwks_url)
        if not (self.roles.reader or self.roles.author or self.roles.auditor):
            raise ValueError("expected a group for at least one of reader, author, auditor")
        return self


class ProxySignIn:
    """Verification of the ID tokens of one provider. `clock` gives the time with a time zone."""

    def __init__(self, told: _SignInFile, keys: KeySource, clock: Callable[[], datetime]) -> None:
        self._told = told
        self._keys = keys
        self._clock = clock

    def of(self, authorization: str) -> SignedIn:
        """The person of an Authorization header.

        Raises Unauthenticated with the failed claim; Unavailable if the keys cannot be read now.
        """
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated(None, "no token")
        token = token.strip()
        header, claims = parts_of(token)
        alg, kid = header.get("alg"), header.get("kid")
        if alg not in ALGORITHMS:
            raise Unauthenticated("alg", f"must be one of {', '.join(ALGORITHMS)}")
        if "crit" in header or "b64" in header:
            raise Unauthenticated("crit", "asks for what is not known here")
        keys = self._keys.find(kid, alg) if isinstance(kid, str) else ()
        if not keys:
            raise Unauthenticated("kid", "names no key of the provider for this algorithm")
        check_signature(token, keys, ALGORITHMS)
        self._check(claims)
        return SignedIn(self._session(token, claims), self._roles(claims))

    def _check(self, claims: Mapping[str, Any]) -> None:
        if text_claim(claims, "iss") != self._told.issuer:
            raise Unauthenticated("iss", "is not the provider")
        told = claims.get("aud")
        audiences = told if isinstance(told, list) else [told]
        if self._told.audience not in audiences:
            raise Unauthenticated("aud", "is not this service's proxy")
        if len(audiences) > 1 and claims.get("azp") != self._told.audience:
            raise Unauthenticated("azp", "is not this service's proxy")
        now = self._clock().timestamp()
        if seconds_claim(claims, "exp") <= now - LEEWAY:
            raise Unauthenticated("exp", "has passed")
        if seconds_claim(claims, "iat") > now + LEEWAY:
            raise Unauthenticated("iat", "lies in the future")
        if "nbf" in claims and seconds_claim(claims, "nbf") > now + LEEWAY:
            raise Unauthenticated("nbf", "lies in the future")
        text_claim(claims, "sub")

    def _session(self, token: str, claims: Mapping[str, Any]) -> Session:
        """A session whose form token other sites cannot know.

        It is of the provider's session where the token names it, else of the token itself: a page
        that was loaded before the proxy renewed the token is then to be loaded again.
        """
        own = claims.get("sid")
        secret = own if isinstance(own, str) and len(own) >= 16 else token
        form_token = hashlib.sha256(f"covercard form\n{claims['sub']}\n{secret}".encode())
        begun = datetime.fromtimestamp(seconds_claim(claims, "iat"), UTC)
        return Session(Reader(self._name(claims), b""), form_token.hexdigest(), begun)

    def _name(self, claims: Mapping[str, Any]) -> str:
        """The person in the access log: the claim of the file, else the subject."""
        told = claims.get(self._told.name_claim)
        name = told if isinstance(told, str) and told.strip() else str(claims["sub"])
        plain = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
        return plain[:_LONGEST_NAME]

    def _roles(self, claims: Mapping[str, Any]) -> frozenset[Role]:
        told = claims.get(self._told.roles_claim)
        groups = {g for g in (told if isinstance(told, list) else [told]) if isinstance(g, str)}
        by_role = self._told.roles.model_dump()
        return frozenset(role for role in Role if groups & set(by_role[role.value]))


def load_proxy_sign_in(
    path: Path,
    clock: Callable[[], datetime],
    fetch: Callable[[str], bytes] = fetch_key_set,
    seconds: Callable[[], float] = time.monotonic,
) -> ProxySignIn:
    """The provider of a file. Raises LibraryError with everything that is wrong."""
    try:
        told = _SignInFile.model_validate(read_yaml(path, "COVERCARD_PAGES_OIDC_FILE"))
    except ValidationError as error:
        wrong = error.errors(include_input=False, include_context=False)
        raise LibraryError([finding(path, e["loc"], e["msg"], _EXAMPLE) for e in wrong]) from None
    keys: KeySource
    if told.jwks_url is not None:
        keys = FetchedKeys(told.jwks_url, fetch, seconds, algorithms=ALGORITHMS)
    else:
        try:
            content = (path.parent / str(told.jwks_file)).read_bytes()
            found = read_key_set(msgspec.json.decode(content), ALGORITHMS)
        except (OSError, ValueError):
            found = {}
        if not found:
            problem = "has no usable public key, or cannot be read"
            raise LibraryError([finding(path, ("jwks_file",), problem, _EXAMPLE)])
        keys = FixedKeys(found)
    return ProxySignIn(told, keys, clock)
