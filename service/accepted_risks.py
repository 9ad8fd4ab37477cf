"""Risks that an operator must say aloud: settings that leave the service open or without bounds.

The start is refused for each, unless `COVERCARD_ACCEPTED_RISKS` has its name; then it is warned of.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Network, ip_address, ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from service.settings import Settings

LARGEST: Mapping[str, int] = {
    "max_body_bytes": 16_777_216,
    "calls_per_minute": 1_000_000,
    "max_json_values": 2_000_000,
    "max_resources": 20_000,
    "max_orders": 2_000,
    "max_references": 4_000,
    "bytes_per_minute": 17_179_869_184,
    "refused_bytes_per_minute": 17_179_869_184,
    "failed_tokens_per_minute": 10_000,
    "fetch_max_bytes": 67_108_864,
    "keys_max_age": 2_592_000,
}
"""The largest value of a limit that still is one, by setting."""

_ZERO_IS_NONE = frozenset({"calls_per_minute"})
"""Limits that 0 takes away; of the others it is the smallest."""

_WIDEST_V4, _WIDEST_V6 = 8, 7
"""Prefix lengths of the widest private networks: 10.0.0.0/8 and fc00::/7."""


def _all_addresses(settings: Settings) -> Iterator[str]:
    if _is_every_address(settings.host):
        yield (
            "COVERCARD_HOST: every address of this machine, without TLS; name one address, or"
            " accept it where only a proxy with TLS reaches the port"
        )


def _is_every_address(host: str) -> bool:
    # By the reader of addresses that the socket is bound with: it takes "0" and "0x0", too.
    try:
        found = socket.getaddrinfo(host.strip("[]"), None, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        return host == ""
    addresses = [ip_address(where[0]) for *_, where in found]
    return any((getattr(a, "ipv4_mapped", None) or a).is_unspecified for a in addresses)


def _wide_networks(settings: Settings) -> Iterator[str]:
    for written in settings.fhir_networks.split():
        network = ip_network(written)
        widest = _WIDEST_V4 if isinstance(network, IPv4Network) else _WIDEST_V6
        if network.prefixlen < widest:
            yield (
                f"COVERCARD_FHIR_NETWORKS: {network} is wider than any private network; list the"
                " networks of the EHRs"
            )


def _unbounded_limits(settings: Settings) -> Iterator[str]:
    for name, largest in LARGEST.items():
        value: int = getattr(settings, name)
        if value == 0 and name in _ZERO_IS_NONE:
            yield f"COVERCARD_{name.upper()}: 0 is no limit; set one of at most {largest}"
        elif value > largest:
            yield f"COVERCARD_{name.upper()}: {value} is no limit; set one of at most {largest}"


RISKS: Mapping[str, Callable[[Settings], Iterator[str]]] = {
    "all-addresses": _all_addresses,
    "wide-networks": _wide_networks,
    "unbounded-limits": _unbounded_limits,
}
"""By name: the messages of a risk, each with the setting and its repair."""


def refused_risks(settings: Settings) -> Iterator[str]:
    """The messages of the risks that are run and not accepted."""
    for name, messages in RISKS.items():
        if name not in settings.accepted:
            for message in messages(settings):
                yield f"{message} (to accept it: {name} in COVERCARD_ACCEPTED_RISKS)"


def accepted_risks(settings: Settings) -> Iterator[tuple[str, str]]:
    """(name, message) of the risks that are run and accepted."""
    for name in sorted(settings.accepted):
        for message in RISKS[name](settings):
            yield name, message
