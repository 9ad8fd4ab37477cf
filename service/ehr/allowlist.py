"""Outbound allowlist (SSRF protection): only configured servers, only at checked addresses.

A base URL must be listed, or in open mode be on this machine. Its host is resolved once, the
addresses are checked, and connections go to these addresses: a later DNS answer has no effect.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from service.addresses import is_loopback, is_loopback_address
from service.ehr.fetch_report import Outcome
from service.errors import FetchFailed

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolver = Callable[[str, int], Sequence[str]]
"""Addresses of a host name and port; OSError without any."""

_BASE = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>(?:/[A-Za-z0-9._~!$&'()*+,;=:@-]+)*)/?",
    re.IGNORECASE,
)
_PORTS = {"http": 80, "https": 443}
_NAT64 = IPv6Network("64:ff9b::/96")
# Ranges that `is_global` misses: site-local and IPv4-compatible IPv6, the protocol range of one
# cloud's metadata service, and another cloud's host agent.
_NEVER_PUBLIC: tuple[Network, ...] = (
    IPv6Network("fec0::/10"),
    IPv6Network("::/96"),
    IPv6Network("64:ff9b:1::/48"),
    IPv4Network("192.0.0.0/24"),
    IPv4Network("168.63.129.16/32"),
)


@dataclass(frozen=True, slots=True)
class FhirBase:
    """A parsed FHIR base URL. `path` has no trailing slash, `host` no brackets."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """Host and port as in a Host header, without the scheme's default port."""
        host = bracketed(self.host)
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"

    @property
    def literal(self) -> Address | None:
        """The address, if the host is a literal one."""
        try:
            return ip_address(self.host)
        except ValueError:
            return None

    @property
    def on_loopback(self) -> bool:
        """Whether the host, as written, is loopback."""
        return is_loopback(self.host)


def parse_base(url: str) -> FhirBase:
    """The normalized FHIR base URL of a server to call. Raises ValueError with the expected form.

    User, query, fragment, percent-encoding and dot segments are refused, and http:// outside this
    machine; a non-ASCII host becomes punycode.
    """
    base = read_base(url)
    if base.scheme == "http" and not base.on_loopback:
        raise ValueError("expected https://; http:// is for this machine only")
    return base


def read_base(url: str) -> FhirBase:
    """The normalized FHIR base URL of a server that is named and not called: http:// is allowed."""
    match = _BASE.fullmatch(url)
    if match is None or {".", ".."} & set(match["path"].split("/")):
        raise ValueError("expected a FHIR base URL such as https://ehr.example.org/fhir")
    scheme = match["scheme"].lower()
    port = int(match["port"] or _PORTS[scheme])
    if not 0 < port < 65536:
        raise ValueError("expected a port from 1 to 65535")
    base = FhirBase(scheme, match["host"].strip("[]").lower(), port, match["path"])
    if match["host"].startswith("[") and not isinstance(base.literal, IPv6Address):
        raise ValueError("expected an IPv6 address in the brackets")
    return base


def bracketed(host: str) -> str:
    """A host in URL syntax."""
    return f"[{host}]" if ":" in host else host


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host by the system's resolver, in its order, without duplicates."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class OutboundPolicy:
    """The allowlist of FHIR servers.

    `servers` are base URLs for all clients; `networks` (CIDR), allowed non-public networks. Raises
    ValueError for a malformed one.
    """

    def __init__(
        self,
        servers: Iterable[str] = (),
        networks: Iterable[str] = (),
        resolver: Resolver = resolve,
    ) -> None:
        self._servers = frozenset(parse_base(s).url for s in servers)
        self._networks: tuple[Network, ...] = tuple(ip_network(n) for n in networks)
        self._resolve = resolver

    def admit(self, url: str, allowed: frozenset[str] | None) -> FhirBase:
        """The allowed server of a call; FetchFailed (NOT_ALLOWED) for any other.

        `allowed` are the base URLs of the calling client; None in open mode, which allows any
        server on this machine.
        """
        try:
            base = parse_base(url)
        except ValueError:
            raise FetchFailed(Outcome.NOT_ALLOWED) from None
        if allowed is None and base.on_loopback:
            return base
        if base.url in self._servers | _spelled_once(allowed or ()):
            return base
        raise FetchFailed(Outcome.NOT_ALLOWED)

    def addresses(self, base: FhirBase) -> tuple[str, ...]:
        """The server's allowed addresses, in the resolver's order.

        FetchFailed: ERROR if the name does not resolve, NOT_ALLOWED without an allowed address.
        """
        if base.literal is not None:
            found: Sequence[str] = [str(base.literal)]
        else:
            try:
                found = self._resolve(base.host, base.port)
            except (OSError, UnicodeError):
                raise FetchFailed(Outcome.ERROR) from None
        permitted = tuple(a for a in found if self._permits(a, base))
        if not permitted:
            raise FetchFailed(Outcome.NOT_ALLOWED)
        return permitted

    def _permits(self, written: str, base: FhirBase) -> bool:
        # A zone ("fe80::1%eth0") names a local link: no EHR is there.
        if "%" in written:
            return False
        address = ip_address(written)
        if base.on_loopback:
            return is_loopback_address(address)
        if address == base.literal:
            return True  # an operator listed this address
        address = _unwrapped(address)
        return _in(address, self._networks) or _is_public(address)


def _spelled_once(servers: Iterable[str]) -> frozenset[str]:
    return frozenset(parse_base(s).url for s in servers)


def _unwrapped(address: Address) -> Address:
    """The IPv4 address of an IPv4-mapped IPv6 address (::ffff:a.b.c.d)."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _is_public(address: Address) -> bool:
    """Whether an address, and each address embedded in it, is public."""
    return (
        address.is_global
        and not address.is_multicast
        and not _in(address, _NEVER_PUBLIC)
        and all(_is_public(inner) for inner in _embedded(address))
    )


def _embedded(address: Address) -> Iterator[IPv4Address]:
    """IPv4 addresses behind a gateway: NAT64 and 6to4."""
    if isinstance(address, IPv6Address):
        if address in _NAT64:
            yield IPv4Address(int(address) & 0xFFFFFFFF)
        if address.sixtofour is not None:
            yield address.sixtofour


def _in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address.version == n.version and address in n for n in networks)
