"""Which FHIR servers are called, and at which addresses; nothing else is, whatever a call names.

A base URL must be listed, or in open mode lead to this machine. Its host is resolved once, the
addresses are checked, and those very addresses are connected to: a name that resolves to something
else the second time is not asked a second time.
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

from service.ehr.fetch_report import Outcome
from service.errors import FetchFailed

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolver = Callable[[str, int], Sequence[str]]
"""Host name and port → addresses; OSError where there are none."""

_BASE = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>(?:/[A-Za-z0-9._~!$&'()*+,;=:@-]+)*)/?",
    re.IGNORECASE,
)
_PORTS = {"http": 80, "https": 443}
_NAT64 = IPv6Network("64:ff9b::/96")
# What `is_global` does not know or takes for global: site-local and IPv4-compatible IPv6, the
# protocol range in which one cloud keeps its metadata, and another cloud's host agent.
_NEVER_PUBLIC: tuple[Network, ...] = (
    IPv6Network("fec0::/10"),
    IPv6Network("::/96"),
    IPv6Network("64:ff9b:1::/48"),
    IPv4Network("192.0.0.0/24"),
    IPv4Network("168.63.129.16/32"),
)


@dataclass(frozen=True, slots=True)
class Base:
    """A FHIR base URL, taken apart. `path` has no trailing slash; `host` no brackets."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """Host and port as in a Host header: the port where it is not the scheme's own."""
        host = bracketed(self.host)
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"

    @property
    def literal(self) -> Address | None:
        """The address, where the host is one."""
        try:
            return ip_address(self.host)
        except ValueError:
            return None

    @property
    def on_loopback(self) -> bool:
        """Whether the host, as written, is this machine."""
        return self.host == "localhost" or (self.literal is not None and self.literal.is_loopback)


def parse_base(url: str) -> Base:
    """A FHIR base URL in its one spelling; ValueError says what it must look like.

    Neither user, query, fragment, percent-encoding, nor a path that climbs; a host in other letters
    than ASCII is written as its punycode.
    """
    match = _BASE.fullmatch(url)
    if match is None or {".", ".."} & set(match["path"].split("/")):
        raise ValueError("expected a FHIR base URL such as https://ehr.example.org/fhir")
    scheme = match["scheme"].lower()
    port = int(match["port"] or _PORTS[scheme])
    if not 0 < port < 65536:
        raise ValueError("expected a port from 1 to 65535")
    base = Base(scheme, match["host"].strip("[]").lower(), port, match["path"])
    if match["host"].startswith("[") and not isinstance(base.literal, IPv6Address):
        raise ValueError("expected an IPv6 address in the brackets")
    if scheme == "http" and not base.on_loopback:
        raise ValueError("expected https://; http:// is for this machine only")
    return base


def bracketed(host: str) -> str:
    """A host as it is written in a URL."""
    return f"[{host}]" if ":" in host else host


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host by the system's resolver, in its order, each once."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class OutboundPolicy:
    """The rule for calls to FHIR servers.

    `servers` are base URLs that any client may name; `networks` (CIDR) hold addresses that are
    called although they are not public. ValueError if one of them is not what it should be.
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

    def admit(self, url: str, allowed: frozenset[str] | None) -> Base:
        """The server that a call may send us to; FetchFailed (NOT_ALLOWED) for any other.

        `allowed` are the base URLs configured for the calling client, None in open mode, where
        nobody knows who calls and any server on this machine is let by.
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

    def addresses(self, base: Base) -> tuple[str, ...]:
        """The server's addresses that may be connected to, in the resolver's order.

        FetchFailed: ERROR if the name does not resolve, NOT_ALLOWED if no address is let by.
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

    def _permits(self, written: str, base: Base) -> bool:
        # A zone ("fe80::1%eth0") names a link: nothing beyond it is an EHR.
        if "%" in written:
            return False
        address = ip_address(written)
        if base.on_loopback:
            return address.is_loopback
        if address == base.literal:
            return True  # an operator listed this very address
        address = _unwrapped(address)
        return _in(address, self._networks) or _is_public(address)


def _spelled_once(servers: Iterable[str]) -> frozenset[str]:
    return frozenset(parse_base(s).url for s in servers)


def _unwrapped(address: Address) -> Address:
    """The IPv4 address that an IPv4-mapped IPv6 address (::ffff:a.b.c.d) is."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _is_public(address: Address) -> bool:
    """Whether an address is one of the open internet, and so is each that it leads to."""
    return (
        address.is_global
        and not address.is_multicast
        and not _in(address, _NEVER_PUBLIC)
        and all(_is_public(inner) for inner in _embedded(address))
    )


def _embedded(address: Address) -> Iterator[IPv4Address]:
    """IPv4 addresses that a gateway would go on to: NAT64 and 6to4."""
    if isinstance(address, IPv6Address):
        if address in _NAT64:
            yield IPv4Address(int(address) & 0xFFFFFFFF)
        if address.sixtofour is not None:
            yield address.sixtofour


def _in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address.version == n.version and address in n for n in networks)
