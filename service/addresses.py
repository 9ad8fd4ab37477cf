"""Loopback addresses."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address


def is_loopback_address(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is loopback; IPv4-mapped ones (::ffff:127.0.0.1) are not.

    Python unwraps these since 3.13 and did not before.
    """
    return address.is_loopback and getattr(address, "ipv4_mapped", None) is None


def is_loopback(host: str) -> bool:
    """Whether a host name or address, with or without brackets, is loopback."""
    try:
        return is_loopback_address(ip_address(host.strip("[]")))
    except ValueError:
        return host.lower() == "localhost"
