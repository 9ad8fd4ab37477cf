"""Limits of visitors: callers of open pages and forms, told apart by their address.

They are apart from the limits of calls: a flood of visitors takes nothing of the calls' places, and
one address nothing of another's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

from flask import g, request

from service.auth.client_share import MinuteCounts
from service.auth.places import Places
from service.errors import TooManyCalls

if TYPE_CHECKING:
    from flask import Blueprint

_NETWORK_BITS = 64
"""Of an IPv6 address: a subscriber has the addresses of a whole such network."""

_WITH_PORT = re.compile(r"^(?:\[([0-9a-f:.]+)\]|([0-9.]+))(?::[0-9]{1,5})?$", re.IGNORECASE)


def visitor() -> str:
    """The current caller's address, without a port that a proxy tells; of IPv6 its network."""
    return _told_apart_as(request.remote_addr or "")


@lru_cache(maxsize=1024)
def _told_apart_as(written: str) -> str:
    try:
        address = ip_address(_WITH_PORT.sub(r"\1\2", written))
    except ValueError:
        return written
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(IPv6Address(int(address) >> _NETWORK_BITS << _NETWORK_BITS))
    return str(address)


@dataclass(frozen=True, slots=True)
class VisitorLimits:
    """Limits of one group of pages: places, and requests a minute of one address."""

    places: Places
    per_minute: int
    counts: MinuteCounts

    def count(self, address: str) -> None:
        """Count a request. Raises TooManyCalls above the number of a minute."""
        if self.counts.of((address,)) >= self.per_minute:
            raise TooManyCalls(
                f"at most {self.per_minute} requests a minute",
                self.counts.seconds_left(),
                limit="requests a minute",
            )
        self.counts.add((address,))


def limit_visitors(blueprint: Blueprint, limits: VisitorLimits) -> None:
    """Limit the requests of a blueprint, before its views and before any body is read."""

    @blueprint.before_request
    def admit() -> None:
        take_place(limits)

    @blueprint.teardown_request
    def leave(_: BaseException | None) -> None:
        give_back_place()


def take_place(limits: VisitorLimits) -> None:
    """Count the current request and take a place for it.

    Raises TooManyCalls (429) for a visitor above its limits, Unavailable (503) if all places are
    taken.
    """
    address = visitor()
    limits.count(address)
    limits.places.take(address)
    g.visitor_place = lambda: limits.places.give_back(address)


def give_back_place() -> None:
    """Give back the place of the current request, if it has one."""
    give_back = g.pop("visitor_place", None)
    if give_back is not None:
        give_back()
