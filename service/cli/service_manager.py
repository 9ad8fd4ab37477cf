"""Notifications to the service manager (sd_notify(3)): ready to answer, and still answering.

systemd starts a service of `Type=notify` with the address of a datagram socket in NOTIFY_SOCKET;
with `WatchdogSec=` it restarts the service unless it hears of it in time.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import MutableMapping
from dataclasses import dataclass

from service.errors import ConfigurationError

_SIGNS_IN_WATCHDOG_TIME = 4
"""A slow answer or two within the time of the watchdog do not end the service."""
_LOOK_SECONDS = 0.1
_ANSWER_SECONDS = 5.0
_REQUEST = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_UNSPECIFIED = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (asked at, not listened on)


@dataclass(frozen=True, slots=True)
class ServiceManager:
    """The manager's socket, and the seconds of its watchdog; None: it has none."""

    address: str
    watchdog_seconds: float | None = None

    def tell(self, state: str) -> None:
        """Send one notification, such as `READY=1`. Raises OSError."""
        # A leading @ stands for a name in Linux' abstract namespace.
        address = f"\0{self.address[1:]}" if self.address[0] == "@" else self.address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.connect(address)
            out.sendall(state.encode())

    def begin(self, host: str, port: int) -> None:
        """Tell that the start is under way, and from now on what the service at `host` and `port`
        does: `READY=1` at its first answer, then, with a watchdog, `WATCHDOG=1` while it answers.

        Raises ConfigurationError if the manager cannot be reached.
        """
        try:
            self.tell("STATUS=Starting")
        except OSError as error:
            why = (error.strerror or type(error).__name__).lower()
            raise ConfigurationError(
                f"NOTIFY_SOCKET: cannot send to {self.address} ({why}); unset it where no service"
                " manager started this service"
            ) from None
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        address = str(found[4][0])
        place = (_UNSPECIFIED.get(address, address), port)
        threading.Thread(
            target=self._watch, args=(found[0], place), name="service-manager", daemon=True
        ).start()

    def _watch(self, family: int, place: tuple[str, int]) -> None:
        """Workers are forked beside this thread: it takes no lock that one of them could need, so
        it resolves no name, writes no log and imports nothing.
        """
        while not _answers(family, place, _ANSWER_SECONDS):
            time.sleep(_LOOK_SECONDS)
        self._tell_if_there("READY=1\nSTATUS=Answering")
        if self.watchdog_seconds is None:
            return
        interval = self.watchdog_seconds / _SIGNS_IN_WATCHDOG_TIME
        while True:
            begun = time.monotonic()
            if _answers(family, place, interval):
                self._tell_if_there("WATCHDOG=1")
            time.sleep(max(interval - (time.monotonic() - begun), 0.0))

    def _tell_if_there(self, state: str) -> None:
        # The manager acts on silence; without a manager no one is there to be told.
        with contextlib.suppress(OSError):
            self.tell(state)


def service_manager(variables: MutableMapping[str, str], process: int) -> ServiceManager | None:
    """The manager that started this process, if it asks to be notified.

    Its variables are taken out of `variables`: they are not for the processes that this one starts.
    Raises ConfigurationError for an address that is no socket's.
    """
    address = variables.pop("NOTIFY_SOCKET", "")
    microseconds = variables.pop("WATCHDOG_USEC", "")
    watched = variables.pop("WATCHDOG_PID", "")
    if not address:
        return None
    if address[0] not in "/@":
        raise ConfigurationError("NOTIFY_SOCKET: must begin with / or @")
    watching = microseconds.isdecimal() and int(microseconds) > 0
    seconds = int(microseconds) / 1e6 if watching and watched in ("", str(process)) else None
    return ServiceManager(address, seconds)


def _answers(family: int, place: tuple[str, int], seconds: float) -> bool:
    """Whether `GET /livez` gets 200 within some seconds for each step."""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as connection:
            connection.settimeout(seconds)
            connection.connect(place)
            connection.sendall(_REQUEST)
            return b" 200 " in connection.recv(64)
    except OSError:
        return False
