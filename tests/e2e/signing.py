"""Tokens as clients make them, and as attackers would."""

import base64
import hmac
import json
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from joserfc import jws
from joserfc.jwk import ECKey, Key, RSAKey

ALL = ["ES256", "ES384", "ES512", "RS256", "RS384", "PS384", "HS256", "HS384", "EdDSA"]


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass(frozen=True)
class Signer:
    """A client: its issuer and its private key."""

    issuer: str
    key: Key
    alg: str
    kid: str
    claims: dict[str, Any] = field(default_factory=dict)

    def public(self) -> dict[str, Any]:
        """The public key as a JWK."""
        return {**self.key.as_dict(private=False), "kid": self.kid, "use": "sig", "alg": self.alg}

    def good_claims(self, url: str) -> dict[str, Any]:
        now = int(time.time())
        return {
            "iss": self.issuer,
            "aud": url,
            "iat": now,
            "exp": now + 300,
            "jti": uuid.uuid4().hex * 2,
        }

    def token(self, url: str, /, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """A good token for a call of `url` but for what is given; a claim of None is left out."""
        merged = {**self.good_claims(url), **claims}
        payload = json.dumps({n: v for n, v in merged.items() if v is not None})
        return self.sign(payload, header)

    def sign(self, payload: str, header: dict[str, Any] | None = None) -> str:
        """The signed token with this payload, whatever it is."""
        merged = {"alg": self.alg, "typ": "JWT", "kid": self.kid, **(header or {})}
        protected = {n: v for n, v in merged.items() if v is not None}
        registry = jws.JWSRegistry(algorithms=ALL, strict_check_header=False)
        registry.max_header_length = registry.max_payload_length = 1_000_000
        return jws.serialize_compact(protected, payload, self.key, registry=registry)

    def call(self, url: str, /, **claims: Any) -> dict[str, str]:
        """The Authorization header of a good call of `url`."""
        return {"Authorization": f"Bearer {self.token(url, **claims)}"}


def changed(signed: str) -> str:
    """A signed text with another signature. Not the last characters are others: of the very last,
    some bits do not count, and what was put there may be what was there.
    """
    at = len(signed) - 12
    return f"{signed[:at]}{'A' if signed[at] != 'A' else 'B'}{signed[at + 1 :]}"


def ec_signer(issuer: str, curve: str = "P-384", alg: str = "ES384", kid: str = "ec-1") -> Signer:
    return Signer(issuer, ECKey.generate_key(curve), alg, kid)


def rsa_signer(issuer: str, kid: str = "rsa-1", bits: int = 2048) -> Signer:
    return Signer(issuer, RSAKey.generate_key(bits), "RS384", kid)


def with_hmac(token_claims: dict[str, Any], secret: bytes, kid: str, alg: str = "HS384") -> str:
    """A token signed with a symmetric key."""
    digest = {"HS256": "sha256", "HS384": "sha384"}[alg]
    head = b64(json.dumps({"alg": alg, "typ": "JWT", "kid": kid}).encode())
    signed = f"{head}.{b64(json.dumps(token_claims).encode())}"
    return f"{signed}.{b64(hmac.new(secret, signed.encode(), digest).digest())}"


def unsigned(token_claims: dict[str, Any], kid: str, alg: str = "none") -> str:
    """A token that says it needs no signature."""
    head = b64(json.dumps({"alg": alg, "typ": "JWT", "kid": kid}).encode())
    return f"{head}.{b64(json.dumps(token_claims).encode())}."


def write_clients(folder: Path, *entries: dict[str, Any]) -> Path:
    """A clients file with these entries."""
    file = folder / "clients.yaml"
    file.write_text(json.dumps({"clients": entries}))  # JSON is YAML too
    return file


def entry(signer: Signer) -> dict[str, Any]:
    """A client with its key in the file itself."""
    return {"issuer": signer.issuer, "jwks": {"keys": [signer.public()]}}
