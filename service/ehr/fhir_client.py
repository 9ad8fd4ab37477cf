"""Reading from the FHIR server of one call: by reference or by search, within the call's limits.

Below requests' Session on purpose: that is the part which follows redirects, takes proxies and
passwords from the environment and keeps cookies. What is left is one GET, to an address that was
checked, with the token of this call (CDS Hooks 2.0, FHIR resource access).
"""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import jiter
import requests
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.exceptions import DecodeError, HTTPError, ReadTimeoutError

from service import __version__
from service.ehr.allowlist import Base, OutboundPolicy, bracketed
from service.ehr.fetch_report import Outcome
from service.ehr.fhir_query import FhirQuery, Read
from service.ehr.patient_check import is_of_server
from service.errors import ConfigurationError, FetchFailed
from service.fhir.document import Document
from service.fhir.references import parse_literal

_CHUNK = 65_536
_MOST_ADDRESSES = 3
_HEADERS = {
    "Accept": "application/fhir+json",
    "Accept-Encoding": "identity",
    "User-Agent": f"covercard/{__version__}",
}
_OUTCOMES: Mapping[int, Outcome] = {
    HTTPStatus.UNAUTHORIZED: Outcome.REJECTED_TOKEN,
    HTTPStatus.FORBIDDEN: Outcome.REFUSED,
    HTTPStatus.NOT_FOUND: Outcome.NOT_FOUND,
    HTTPStatus.GONE: Outcome.NOT_FOUND,
}


@dataclass(frozen=True, slots=True)
class Access:
    """What a call gives us of its EHR, and the base URLs that its client may name.

    `allowed` is None in open mode. The token is sent to `server` and nowhere else.
    """

    server: str
    token: str = field(repr=False)
    allowed: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that one call reads: bytes in all, pages of each search."""

    max_bytes: int = 2 * 1024 * 1024
    max_pages: int = 3


class FhirClients:
    """Makes the client of each call; connections are kept alive between calls, nothing else is.

    `authorities` is a PEM file of certificate authorities to trust in place of the public ones
    (ConfigurationError if it holds none); `monotonic` a clock in seconds, on which deadlines are.
    """

    def __init__(
        self,
        policy: OutboundPolicy,
        limits: Limits,
        authorities: Path | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.policy = policy
        self.limits = limits
        self.monotonic = monotonic
        # Made once: reading the authorities takes longer than most calls.
        self.adapter = _PinnedAdapter(_tls_context(authorities))
        # Its debug lines hold URLs, and URLs hold the ids of patients.
        logging.getLogger("urllib3").setLevel(logging.INFO)

    def client(self, access: Access) -> FhirClient:
        """The client of one call; FetchFailed (NOT_ALLOWED) if it may not go where it is sent."""
        base = self.policy.admit(access.server, access.allowed)
        if not (access.token.isascii() and access.token.isprintable() and " " not in access.token):
            raise FetchFailed(Outcome.NOT_ALLOWED)  # it would not fit into one header line
        return FhirClient(self, base, access.token)


class FhirClient:
    """The EHR of one call. Its methods may be called from several threads."""

    def __init__(self, shared: FhirClients, base: Base, token: str) -> None:
        self.base = base
        self._shared = shared
        self._token = token
        self._lock = threading.Lock()
        self._addresses: tuple[str, ...] | None = None
        self._bytes_left = shared.limits.max_bytes

    def documents(self, need: FhirQuery, deadline: float) -> list[Document]:
        """What answers a need: the resource read, or every page of the search.

        Each document is a JSON object; nothing more is known of it. FetchFailed says how it ended
        if not well. A search with more pages than are read has failed: half of it says nothing.
        """
        if isinstance(need, Read):
            return [self._get(self._read_url(need), deadline)]
        if not need.is_plain:
            raise FetchFailed(Outcome.NOT_ALLOWED)
        url: str | None = f"{self.base.url}/{need.type}?{urlencode(need.params)}"
        pages: list[Document] = []
        while url:
            if len(pages) == self._shared.limits.max_pages:
                raise FetchFailed(Outcome.TOO_LARGE)
            pages.append(self._get(url, deadline))
            url = self._next(pages[-1].data, url)
        return pages

    def _read_url(self, need: Read) -> str:
        literal = parse_literal(need.reference)
        if literal is None or not is_of_server(literal.base, self.base):
            raise FetchFailed(Outcome.NOT_ALLOWED)
        return f"{self.base.url}/{literal.local}"

    def _next(self, page: Mapping[str, Any], url: str) -> str | None:
        """The URL of the page after this one, which must be on the same server."""
        links = page.get("link")
        for link in links if isinstance(links, list) else ():
            if isinstance(link, Mapping) and link.get("relation") == "next":
                written = link.get("url")
                if not isinstance(written, str):
                    raise FetchFailed(Outcome.NOT_FHIR)
                return self._on_this_server(written, url)
        return None

    def _on_this_server(self, written: str, url: str) -> str:
        """A link of a page as a URL; FetchFailed (NOT_ALLOWED) if it leads off the server."""
        try:
            parts = urlsplit(urljoin(url, written))
            origin = (parts.scheme, parts.hostname, parts.port or _default_port(parts.scheme))
        except ValueError:
            raise FetchFailed(Outcome.NOT_ALLOWED) from None
        here = (self.base.scheme, self.base.host, self.base.port)
        # Encoded slashes and dots: what they mean is the server's to say, and it may climb by them.
        plain = not ({"%", "\\"} & set(parts.path) or {".", ".."} & set(parts.path.split("/")))
        below = parts.path == self.base.path or parts.path.startswith(f"{self.base.path}/")
        if origin != here or parts.username is not None or not (plain and below):
            raise FetchFailed(Outcome.NOT_ALLOWED)
        origin_url = f"{self.base.scheme}://{self.base.authority}"
        return f"{origin_url}{parts.path}?{parts.query}"

    def _get(self, url: str, deadline: float) -> Document:
        with closing(self._send(url, deadline)) as response:
            status = response.status_code
            if status != HTTPStatus.OK:
                redirect = HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST
                otherwise = Outcome.NOT_ALLOWED if redirect else Outcome.ERROR
                raise FetchFailed(_OUTCOMES.get(status, otherwise))
            kind = response.headers.get("Content-Type", "application/json").partition(";")[0]
            if not kind.strip().lower().endswith("json"):
                raise FetchFailed(Outcome.NOT_FHIR)
            body = self._body(response, deadline)
        return Document(body, _json_object(body))

    def _send(self, url: str, deadline: float) -> requests.Response:
        """The answer's head, from the first of the server's addresses that answers."""
        addresses = self._checked_addresses()[:_MOST_ADDRESSES]
        # Once more to the first: a kept connection may have been closed by the server meanwhile.
        attempts = [*addresses, addresses[0]]
        path = url.removeprefix(f"{self.base.scheme}://{self.base.authority}")
        headers = {
            **_HEADERS,
            "Host": self.base.authority,
            "Authorization": f"Bearer {self._token}",
        }
        for number, address in enumerate(attempts):
            left = self._left(deadline)
            pinned = f"{self.base.scheme}://{bracketed(address)}:{self.base.port}{path}"
            timeout = (left / min(len(attempts) - number, len(addresses)), left)
            try:
                request = requests.Request("GET", pinned, headers=headers).prepare()
                return self._shared.adapter.send(request, stream=True, timeout=timeout)
            except requests.exceptions.SSLError:
                break
            except requests.ReadTimeout:
                raise FetchFailed(Outcome.TIMEOUT) from None
            except requests.ConnectionError:
                continue
            except (requests.RequestException, HTTPError, OSError):
                break
        self._left(deadline)
        raise FetchFailed(Outcome.ERROR)

    def _checked_addresses(self) -> tuple[str, ...]:
        """The server's addresses: looked up once a call, checked, and kept."""
        with self._lock:
            if self._addresses is None:
                self._addresses = self._shared.policy.addresses(self.base)
            return self._addresses

    def _body(self, response: requests.Response, deadline: float) -> bytes:
        chunks: list[bytes] = []
        try:
            # read1 returns what is there: a server that drips is noticed between two drops.
            while chunk := response.raw.read1(_CHUNK, decode_content=True):
                self._take(len(chunk))
                chunks.append(chunk)
                self._left(deadline)
        except ReadTimeoutError:
            raise FetchFailed(Outcome.TIMEOUT) from None
        except DecodeError:
            raise FetchFailed(Outcome.NOT_FHIR) from None
        except (HTTPError, OSError):
            raise FetchFailed(Outcome.ERROR) from None
        return b"".join(chunks)

    def _take(self, size: int) -> None:
        """Count bytes against those that the call may read."""
        with self._lock:
            self._bytes_left -= size
            if self._bytes_left < 0:
                raise FetchFailed(Outcome.TOO_LARGE)

    def _left(self, deadline: float) -> float:
        """Seconds until the deadline; FetchFailed (TIMEOUT) if it has passed."""
        left = deadline - self._shared.monotonic()
        if left <= 0:
            raise FetchFailed(Outcome.TIMEOUT)
        return left


class _PinnedAdapter(HTTPAdapter):
    """Sends to a URL whose host is an address, for the server that the Host header names.

    TLS asks for that server's name, and the certificate is verified against it.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__(pool_connections=32, pool_maxsize=16)

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> Any:
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        if host["scheme"] == "http":
            return host, {}
        name = urlsplit(f"//{request.headers['Host']}").hostname
        return host, {"ssl_context": self._context, "server_hostname": name}

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Nothing to set: the context verifies, and has its authorities."""


def _tls_context(authorities: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=authorities or DEFAULT_CA_BUNDLE_PATH)
    except OSError as error:
        raise ConfigurationError(
            f"{authorities}: expected a PEM file of certificate authorities: {error}"
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _default_port(scheme: str) -> int | None:
    return {"http": 80, "https": 443}.get(scheme)


def _json_object(body: bytes) -> dict[str, Any]:
    """JSON that has one meaning, as for a call of ours: what comes in is read by one rule."""
    try:
        data = jiter.from_json(
            body, allow_inf_nan=False, catch_duplicate_keys=True, cache_mode="keys"
        )
    except ValueError:
        raise FetchFailed(Outcome.NOT_FHIR) from None
    if not isinstance(data, dict):
        raise FetchFailed(Outcome.NOT_FHIR)
    return data
