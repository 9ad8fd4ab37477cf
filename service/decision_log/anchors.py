"""Anchors: the end of a chain, told to the log and to a place outside of the installation.

Whoever changes rows and segments together cannot change what was told elsewhere before.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime

import msgspec
import structlog

from service.decision_log.chain_writer import ChainEnd
from service.decision_log.frames import chain_name
from service.errors import ConfigurationError

DEADLINE = 3.0
"""Seconds for a post, from the connection to the answer's headers."""

_TIMEOUT = (2, 2)
"""Seconds to connect, and between two packets."""

log = structlog.get_logger(__name__)


class Anchor(msgspec.Struct, frozen=True):
    """The record that a chain ended with at a time (ISO 8601, UTC); `hash` in hexadecimal."""

    chain: str
    sequence: int
    hash: str
    at: str


_encode = msgspec.json.Encoder().encode
_read_lines = msgspec.json.Decoder(Anchor).decode_lines


class Anchors:
    """Teller of anchors. `place` is a file that they are appended to, an http(s) URL that they are
    posted to, or empty for nowhere; `in_log`: they are log lines too.
    """

    def __init__(self, place: str = "", *, in_log: bool = True, deadline: float = DEADLINE) -> None:
        self._place = place
        self._in_log = in_log
        self._deadline = deadline

    def tell(self, end: ChainEnd) -> str | None:
        """Tell an anchor. The reason if the place did not take it, which is logged; else None."""
        moment = datetime.fromtimestamp(end.at / 1e6, UTC).isoformat(timespec="milliseconds")
        anchor = Anchor(chain_name(end.chain), end.sequence, end.hash.hex(), moment)
        if self._in_log:
            log.info("anchor", chain=anchor.chain, sequence=anchor.sequence, hash=anchor.hash)
        if not self._place:
            return None
        try:
            if self._place.startswith(("http://", "https://")):
                _post(self._place, _encode(anchor), self._deadline)
            else:
                _append(self._place, _encode(anchor) + b"\n")
        except OSError as error:
            reason = error.strerror or type(error).__name__
        except _NotTaken as error:
            reason = str(error)
        else:
            return None
        log.error("an anchor cannot be told", setting="COVERCARD_RECORDS_ANCHOR", reason=reason)
        return reason


def read_anchors(lines: bytes) -> list[Anchor]:
    """The anchors in a file's lines. Raises ConfigurationError for lines that are none."""
    try:
        return _read_lines(lines)
    except msgspec.DecodeError as error:
        raise ConfigurationError(f"the file of anchors has a line that is none ({error})") from None


def _append(file: str, line: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(file, flags, 0o600)
    try:
        os.write(descriptor, line)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _NotTaken(Exception):
    """The server of the place has not taken an anchor."""


def _post(url: str, body: bytes, deadline: float) -> None:
    """Post to the configured URL and no other: no redirect, no proxy or netrc of the environment.

    The answer's body is not read.
    """
    import requests

    from service.http_deadline import DeadlineAdapter

    with requests.Session() as session, DeadlineAdapter(deadline) as adapter:
        session.trust_env = False
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        try:
            with session.post(
                url,
                data=body,
                headers={"Content-Type": "application/json"},
                timeout=_TIMEOUT,
                allow_redirects=False,
                stream=True,
            ) as reply:
                status = reply.status_code
        except (requests.RequestException, OSError, ValueError) as error:
            raise _NotTaken("took too long" if adapter.expired else type(error).__name__) from error
        if adapter.expired:
            raise _NotTaken("took too long")
    if not 200 <= status < 300:
        raise _NotTaken(f"answered {status}")
