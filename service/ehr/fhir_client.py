"""FHIR client of one call: read and search within the call's limits.

Uses urllib3's pools, which follow no redirect, take no proxy or password from the environment and
store no cookie. Each request is one GET to a checked address with the call's token (CDS Hooks 2.0,
FHIR resource access).
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field
from http import HTTPStatus
from ssl import SSLContext
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import jiter
from urllib3 import BaseHTTPResponse, PoolManager, Timeout
from urllib3.exceptions import (
    ClosedPoolError,
    ConnectTimeoutError,
    DecodeError,
    HTTPError,
    ProtocolError,
    ReadTimeoutError,
)

from service import __version__
from service.ehr.allowlist import FhirBase, OutboundPolicy, bracketed
from service.ehr.authorities import tls_context
from service.ehr.fetch_report import Outcome
from service.ehr.fhir_query import FhirQuery, Read
from service.ehr.patient_check import is_of_server
from service.ehr.server_aliases import NO_ALIASES, ServerAliases
from service.errors import FetchFailed
from service.fhir.document import Document, without_nulls
from service.fhir.json_limits import values_in
from service.fhir.json_pieces import PIECE_BYTES, in_pieces
from service.fhir.nul import places_of_nul
from service.fhir.references import parse_literal

_CHUNK = 65_536
_MOST_READING = 1_000
_MOST_ADDRESSES = 3
MOST_CONNECTIONS = 64
"""Connections to one server that are kept: as many as requests of one client may be unanswered."""
_HEADERS = {
    "Accept": "application/fhir+json",
    "Accept-Encoding": "identity",
    "User-Agent": f"covercard/{__version__}",
}
_JSON = re.compile(r"(application|text)/([a-z.-]+\+)?json(\+[a-z]+)?", re.IGNORECASE)
"""Media types of FHIR JSON: application/fhir+json, before FHIR R3 application/json+fhir."""
_OUTCOMES: Mapping[int, Outcome] = {
    HTTPStatus.UNAUTHORIZED: Outcome.REJECTED_TOKEN,
    HTTPStatus.FORBIDDEN: Outcome.REFUSED,
    HTTPStatus.NOT_FOUND: Outcome.NOT_FOUND,
    HTTPStatus.GONE: Outcome.NOT_FOUND,
    HTTPStatus.BAD_REQUEST: Outcome.NOT_UNDERSTOOD,
    HTTPStatus.UNPROCESSABLE_ENTITY: Outcome.NOT_UNDERSTOOD,
    HTTPStatus.NOT_IMPLEMENTED: Outcome.NOT_UNDERSTOOD,
}


@dataclass(frozen=True, slots=True)
class Access:
    """A call's FHIR server with its token, and the base URLs allowed for its client.

    `allowed` is None in open mode. The token is sent to `server` only; it is None for a call
    without one, as calls of an open FHIR server are. `client` is the client's name.
    """

    server: str
    token: str | None = field(repr=False)
    allowed: frozenset[str] | None = None
    client: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one call: bytes, JSON values and resources in total, pages of each search."""

    max_bytes: int = 2 * 1024 * 1024
    max_pages: int = 3
    max_values: int = 100_000
    max_resources: int = 1_000


class FhirClients:
    """Factory of clients; calls share nothing but kept-alive connections.

    `tls` has the certificate authorities, by default the public ones; `aliases`, the other
    addresses of EHRs; `monotonic`, the clock of deadlines, in seconds. `costly` is asked once for
    each call what makes the blocks in which its large answers are read.
    """

    def __init__(
        self,
        policy: OutboundPolicy,
        limits: Limits,
        tls: SSLContext | None = None,
        aliases: ServerAliases = NO_ALIASES,
        monotonic: Callable[[], float] = time.monotonic,
        costly: Callable[[], Callable[[], AbstractContextManager[None]]] = lambda: nullcontext,
    ) -> None:
        self.costly = costly
        self._reading: dict[tuple[str, str], threading.Lock] = {}
        self.policy = policy
        self.limits = limits
        self.aliases = aliases
        self.monotonic = monotonic
        # Created once: reading the authorities takes longer than most calls.
        self.pools = PoolManager(
            num_pools=32,
            maxsize=MOST_CONNECTIONS,
            ssl_context=tls or tls_context(None),
            retries=False,
        )
        # Its debug lines contain URLs, and URLs contain ids of patients.
        logging.getLogger("urllib3").setLevel(logging.INFO)

    def client(self, access: Access) -> FhirClient:
        """The client of one call; FetchFailed (NOT_ALLOWED) for a server outside the allowlist."""
        base = self.policy.admit(access.server, access.allowed)
        token = access.token
        if token and not (token.isascii() and token.isprintable() and " " not in token):
            raise FetchFailed(Outcome.NOT_ALLOWED)  # not valid in a header line
        reading = self._reading_of((access.client, base.url))
        return FhirClient(self, base, token, self.aliases.bases_of(base), reading)

    def _reading_of(self, asked: tuple[str, str]) -> threading.Lock:
        """The lock of a client's EHR, whose large answers are read one at a time."""
        if len(self._reading) >= _MOST_READING:
            self._reading.clear()
        return self._reading.setdefault(asked, threading.Lock())


class FhirClient:
    """The FHIR server of one call. Safe for several threads."""

    def __init__(
        self,
        shared: FhirClients,
        base: FhirBase,
        token: str | None,
        bases: Sequence[FhirBase],
        reading: threading.Lock,
    ) -> None:
        self._reading = reading
        self.base = base
        self.bases = tuple(bases)
        self._shared = shared
        self._costly = shared.costly()
        self._token = token
        self._lock = threading.Lock()
        self._addresses: tuple[str, ...] | None = None
        self._bytes_left = shared.limits.max_bytes
        self._values_left = shared.limits.max_values

    @property
    def limits(self) -> Limits:
        """The limits of the call."""
        return self._shared.limits

    def documents(self, need: FhirQuery, deadline: float) -> list[Document]:
        """The result of a query: the resource, or all pages of the search.

        Each document is a JSON object, not validated further. Raises FetchFailed with the outcome.
        A search beyond the page limit fails: a part of its result proves nothing.
        """
        if isinstance(need, Read):
            return [self._get(self._read_url(need), deadline)]
        if not need.is_plain:
            raise FetchFailed(Outcome.NOT_ALLOWED)
        try:
            return self._search(need.type, need.params, deadline)
        except FetchFailed as refusal:
            plainer = need.plainer
            if refusal.outcome != Outcome.NOT_UNDERSTOOD or plainer == need.params:
                raise
        return self._search(need.type, plainer, deadline)

    def _search(
        self, kind: str, params: Sequence[tuple[str, str]], deadline: float
    ) -> list[Document]:
        """Every page of one search."""
        url: str | None = f"{self.base.url}/{kind}?{urlencode(params)}"
        pages: list[Document] = []
        while url:
            if len(pages) == self._shared.limits.max_pages:
                raise FetchFailed(Outcome.TOO_LARGE)
            pages.append(self._get(url, deadline))
            url = self._next(pages[-1].data, url)
        return pages

    def _read_url(self, need: Read) -> str:
        literal = parse_literal(need.reference)
        if literal is None or not is_of_server(literal.base, self.bases):
            raise FetchFailed(Outcome.NOT_ALLOWED)
        return f"{self.base.url}/{literal.local}"

    def _next(self, page: Mapping[str, Any], url: str) -> str | None:
        """The URL of the next page, which must be on the same server."""
        links = page.get("link")
        for link in links if isinstance(links, list) else ():
            if isinstance(link, Mapping) and link.get("relation") == "next":
                written = link.get("url")
                if written in (None, ""):
                    continue  # some servers write the link of the page that is not there
                if not isinstance(written, str):
                    raise FetchFailed(Outcome.NOT_FHIR)
                return self._on_this_server(written, url)
        return None

    def _on_this_server(self, written: str, url: str) -> str:
        """A page's link as a URL; FetchFailed (NOT_ALLOWED) if it leaves the server.

        A link to another address of the same EHR is followed at the base URL that the call names.
        """
        try:
            parts = urlsplit(urljoin(url, written))
            origin = (parts.scheme, parts.hostname, parts.port or _default_port(parts.scheme))
        except ValueError:
            raise FetchFailed(Outcome.NOT_ALLOWED) from None
        # Encoded slashes and dots: a server may decode them and leave the base path.
        plain = not ({"%", "\\"} & set(parts.path) or {".", ".."} & set(parts.path.split("/")))
        for base in self.bases:
            below = parts.path == base.path or parts.path.startswith(f"{base.path}/")
            here = (base.scheme, base.host, base.port)
            if origin == here and parts.username is None and plain and below:
                return f"{self.base.url}{parts.path.removeprefix(base.path)}?{parts.query}"
        raise FetchFailed(Outcome.NOT_ALLOWED)

    def _get(self, url: str, deadline: float) -> Document:
        with closing(self._send(url, deadline)) as response:
            status = response.status
            if status != HTTPStatus.OK:
                redirect = HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST
                otherwise = Outcome.NOT_ALLOWED if redirect else Outcome.ERROR
                raise FetchFailed(_OUTCOMES.get(status, otherwise))
            kind = response.headers.get("Content-Type", "application/json").partition(";")[0]
            if not _JSON.fullmatch(kind.strip()):
                raise FetchFailed(Outcome.NOT_FHIR)
            body = self._body(response, deadline)
        self._take_values(values_in(body))
        return Document(body, self._read(body, deadline))

    def _read(self, body: bytes, deadline: float) -> dict[str, Any]:
        """The object in an answer's body; a large one in turn.

        The call's own turn is another one's while it waits for its EHR, and eight answers at a
        time of each of its client's calls would else be read at once.
        """
        if len(body) <= PIECE_BYTES:
            return _json_object(body)
        if not self._reading.acquire(timeout=self._left(deadline)):
            raise FetchFailed(Outcome.TIMEOUT)
        try:
            with self._costly():
                return _json_object(body)
        finally:
            self._reading.release()

    def _send(self, url: str, deadline: float) -> BaseHTTPResponse:
        """The response's head, from the first address that answers.

        The connection is to a checked address. TLS asks for the server's name and verifies it in
        the certificate; connections are kept by address and name.
        """
        addresses = self._checked_addresses()[:_MOST_ADDRESSES]
        # The first address twice: the server may have closed a kept connection.
        attempts = [*addresses, addresses[0]]
        path = url.removeprefix(f"{self.base.scheme}://{self.base.authority}")
        headers = {**_HEADERS, "Host": self.base.authority}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        for number, address in enumerate(attempts):
            left = self._left(deadline)
            timeout = Timeout(left / min(len(attempts) - number, len(addresses)), left)
            try:
                return self._shared.pools.connection_from_host(
                    bracketed(address),
                    self.base.port,
                    self.base.scheme,
                    pool_kwargs={"server_hostname": self.base.host},
                ).urlopen(
                    "GET",
                    path,
                    headers=headers,
                    timeout=timeout,
                    redirect=False,
                    preload_content=False,
                )
            except ReadTimeoutError:
                raise FetchFailed(Outcome.TIMEOUT) from None
            except (ProtocolError, ConnectTimeoutError, ClosedPoolError):
                continue
            except (HTTPError, OSError):
                break
        self._left(deadline)
        raise FetchFailed(Outcome.ERROR)

    def _checked_addresses(self) -> tuple[str, ...]:
        """The server's checked addresses, resolved once a call."""
        with self._lock:
            if self._addresses is None:
                self._addresses = self._shared.policy.addresses(self.base)
            return self._addresses

    def _body(self, response: BaseHTTPResponse, deadline: float) -> bytes:
        chunks: list[bytes] = []
        try:
            # read1 returns available bytes, so that a dripping server meets its deadline.
            while chunk := response.read1(_CHUNK, decode_content=True):
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
        """Count bytes against the call's limit."""
        with self._lock:
            self._bytes_left -= size
            if self._bytes_left < 0:
                raise FetchFailed(Outcome.TOO_LARGE)

    def _take_values(self, count: int) -> None:
        """Count JSON values against the call's limit, before any of them is decoded."""
        with self._lock:
            self._values_left -= count
            if self._values_left < 0:
                raise FetchFailed(Outcome.TOO_LARGE)

    def _left(self, deadline: float) -> float:
        """Seconds until the deadline; FetchFailed (TIMEOUT) if it has passed."""
        left = deadline - self._shared.monotonic()
        if left <= 0:
            raise FetchFailed(Outcome.TIMEOUT)
        return left


def _default_port(scheme: str) -> int | None:
    return {"http": 80, "https": 443}.get(scheme)


def _parse(text: bytes) -> Any:
    return jiter.from_json(text, allow_inf_nan=False, catch_duplicate_keys=True, cache_mode="keys")


def _json_object(body: bytes) -> dict[str, Any]:
    """An unambiguous JSON object, by the same rules as for a call."""
    try:
        data = in_pieces(body, _parse)
    except ValueError:
        raise FetchFailed(Outcome.NOT_FHIR) from None
    if not isinstance(data, dict) or places_of_nul(data, body):
        raise FetchFailed(Outcome.NOT_FHIR)
    read: dict[str, Any] = without_nulls(data, body)
    return read
