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

_TIMEOUT_SECONDS = 5

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

    def __init__(self, place: str = "", *, in_log: bool = True) -> None:
        self._place = place
        self._in_log = in_log

    def tell(self, end: ChainEnd) -> None:
        """Tell an anchor; a place that fails is logged, and gets the next one."""
        moment = datetime.fromtimestamp(end.at / 1e6, UTC).isoformat(timespec="milliseconds")
        anchor = Anchor(chain_name(end.chain), end.sequence, end.hash.hex(), moment)
        if self._in_log:
            log.info("anchor", chain=anchor.chain, sequence=anchor.sequence, hash=anchor.hash)
        if not self._place:
            return
        try:
            if self._place.startswith(("http://", "https://")):
                _post(self._place, _encode(anchor))
            else:
                _append(self._place, _encode(anchor) + b"\n")
        except OSError as error:
            log.error("an anchor cannot be told", reason=type(error).__name__)


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


def _post(url: str, body: bytes) -> None:
    import requests

    reply = requests.post(
        url,
        data=body,
        headers={"Content-Type": "application/json"},
        timeout=_TIMEOUT_SECONDS,
        allow_redirects=False,
    )
    reply.raise_for_status()
