"""The address that the service listens on."""

from __future__ import annotations

import errno
import socket
import time
from typing import Any

from service.errors import ConfigurationError, NotNow

SECONDS_FOR_PORT = 5.0
"""For a service that is stopping and has not released the port yet."""

_LOOK_SECONDS = 0.1


def bound_socket(host: str, port: int, patience: float = SECONDS_FOR_PORT) -> socket.socket:
    """A socket bound to `host`, a name or an address, and `port`; it does not listen yet.

    Of a name's addresses the first of IPv4 is taken, or the first at all. Raises NotNow
    where this process cannot listen there, also `patience` seconds later, and ConfigurationError
    for a name that is none.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            return _bound(host, port)
        except UnicodeError:  # a name that is none in DNS, told before anybody is asked for it
            raise ConfigurationError(
                f"COVERCARD_HOST: {host} is neither an address nor the name of a host"
            ) from None
        except OSError as error:
            if error.errno == errno.EADDRINUSE and time.monotonic() < deadline:
                time.sleep(_LOOK_SECONDS)
                continue
            why = error.strerror or type(error).__name__
            raise NotNow(
                f"COVERCARD_HOST, COVERCARD_PORT: cannot listen on {host}:{port} ({why.lower()})"
            ) from None


def _bound(host: str, port: int) -> socket.socket:
    found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    family, _, _, _, address = min(found, key=lambda f: f[0] != socket.AF_INET)
    return _new(family, address, shared=False)


def begin_to_listen(bound: socket.socket, backlog: int) -> None:
    """Listen on a bound socket, and let this user's further ones share its port from now on.

    Until here the port is for one alone: a second service would share it with the first, each
    answering half of the calls. Raises NotNow where another service came first.
    """
    try:
        bound.listen(backlog)
    except OSError as error:
        raise NotNow(
            f"COVERCARD_HOST, COVERCARD_PORT: cannot listen on {shown_address(bound)}"
            f" ({(error.strerror or type(error).__name__).lower()})"
        ) from None
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def another_listener(family: int, address: Any, backlog: int) -> socket.socket:
    """A further listener at the address of the first: the kernel spreads connections over them.

    Of one listener that several workers share, one takes nearly all. Raises OSError.
    """
    another = _new(family, address, shared=True)
    another.listen(backlog)
    return another


def _new(family: int, address: Any, *, shared: bool) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shared))
        # Inherited by the connections: an answer does not wait for the last one's receipt.
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def shown_address(bound: socket.socket) -> str:
    """The address of a bound socket as in a URL: `127.0.0.1:8642`, `[::1]:8642`."""
    host, port = bound.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
