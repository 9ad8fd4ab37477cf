"""An access token by OAuth 2.0's client credentials (RFC 6749 §4.4), kept until it expires."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from ssl import SSLContext
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from service.errors import PayerDataUnavailable

_SPARE_SECONDS = 30
_MOST_BYTES = 65_536
_DEFAULT_LIFE = 300


@dataclass(frozen=True, slots=True)
class Credentials:
    """Client credentials of a token request. The secret is sent to `token_url` only."""

    token_url: str
    client_id: str
    secret: str = field(repr=False)
    scope: str = ""


class _TlsAdapter(HTTPAdapter):
    """Connections with a TLS context of one's own: its authorities, its strictness."""

    def __init__(self, tls: SSLContext) -> None:
        self._tls = tls
        super().__init__()

    def init_poolmanager(self, *args: Any, **more: Any) -> None:
        super().init_poolmanager(*args, **more, ssl_context=self._tls)

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Verification is the context's, without the public authorities beside its own."""


class ClientCredentials:
    """The token of one client. Several threads may ask at once; one of them fetches."""

    def __init__(
        self,
        credentials: Credentials,
        tls: SSLContext | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._credentials = credentials
        self._clock = monotonic
        self._lock = threading.Lock()
        self._token = ""
        self._until = 0.0
        self._session = requests.Session()
        # Neither proxies nor passwords from the environment.
        self._session.trust_env = False
        if tls is not None:
            self._session.mount("https://", _TlsAdapter(tls))

    def token(self, deadline: float) -> str:
        """A token that is valid now; PayerDataUnavailable if none is given until the deadline."""
        if not self._lock.acquire(timeout=max(deadline - self._clock(), 0)):
            raise PayerDataUnavailable("token: timeout")
        try:
            if self._clock() >= self._until:
                self._fetch(deadline)
            return self._token
        finally:
            self._lock.release()

    def forget(self, token: str) -> None:
        """A token that was refused is asked for anew."""
        with self._lock:
            if token == self._token:
                self._until = 0.0

    def _fetch(self, deadline: float) -> None:
        left = deadline - self._clock()
        if left <= 0:
            raise PayerDataUnavailable("token: timeout")
        asked = self._credentials
        data = {"grant_type": "client_credentials"}
        if asked.scope:
            data["scope"] = asked.scope
        try:
            with self._session.post(
                asked.token_url,
                data=data,
                auth=(asked.client_id, asked.secret),
                headers={"Accept": "application/json"},
                timeout=left,
                allow_redirects=False,
                stream=True,
            ) as reply:
                status, body = reply.status_code, reply.raw.read(_MOST_BYTES, decode_content=True)
        except requests.Timeout:
            raise PayerDataUnavailable("token: timeout") from None
        except (requests.RequestException, OSError) as error:
            raise PayerDataUnavailable(f"token: {type(error).__name__}") from None
        if status != HTTPStatus.OK:
            raise PayerDataUnavailable(f"token: status {status}")
        self._keep(body)

    def _keep(self, body: bytes) -> None:
        import msgspec

        try:
            answer = msgspec.json.decode(body, type=_Token)
        except msgspec.DecodeError:
            raise PayerDataUnavailable("token: not a token") from None
        life = answer.expires_in if answer.expires_in is not None else _DEFAULT_LIFE
        self._token = answer.access_token
        self._until = self._clock() + max(life - _SPARE_SECONDS, life / 2)


@dataclass(frozen=True, slots=True)
class _Token:
    access_token: str = field(repr=False)
    expires_in: float | None = None
