"""Reader sessions: a signed cookie value, valid in each worker and instance."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hmac import compare_digest

from itsdangerous import BadData, URLSafeSerializer

from service.auth.readers import Reader, Readers
from service.auth.replay_detection import ReplayStore

IDLE = timedelta(minutes=15)
"""Time to the end of a session after its last use."""
LONGEST = timedelta(hours=8)
"""Time to the end of a session after its begin."""

_ENDED = "sessions of the decisions page"
"""Issuer of ended sessions in the replay store; no client has this name."""


@dataclass(frozen=True, slots=True)
class Session:
    """A session. `form_token`, in each of its forms, is unknown to other sites (CSRF token)."""

    reader: Reader
    form_token: str
    begun: datetime

    def allows_form(self, token: str) -> bool:
        return compare_digest(self.form_token.encode(), token.encode("utf-8", "replace"))


class Sessions:
    """Begin, verification and end of sessions. `clock` gives the time with a time zone.

    `ended` records ended sessions for all workers and instances. A session names its reader and is
    signed with the reader's key: removing the reader or changing its secret invalidates it.
    """

    def __init__(self, readers: Readers, ended: ReplayStore, clock: Callable[[], datetime]) -> None:
        self._readers = readers
        self._ended = ended
        self._clock = clock

    def begin(self, name: str, secret: str) -> Session | None:
        """A new session; None for a wrong name or secret."""
        reader = self._readers.who(name, secret)
        if reader is None:
            return None
        return Session(reader, secrets.token_urlsafe(24), self._clock())

    def written(self, session: Session) -> str:
        """The session as signed text, with its last use now."""
        now = self._clock()
        told = [session.form_token, session.begun.timestamp(), now.timestamp()]
        name = session.reader.name.encode().hex()
        return f"{name}.{_signer(session.reader).dumps(told)}"

    def found(self, text: str) -> Session | None:
        """The session of a signed text; None if it is invalid, ended or idle too long.

        Raises Unavailable if the record of ended sessions fails.
        """
        name, _, signed = text.partition(".")
        try:
            reader = self._readers.named(bytes.fromhex(name).decode())
        except ValueError:
            return None
        if reader is None:
            return None
        try:
            form_token, begun, used = _signer(reader).loads(signed)
        except BadData:
            return None
        now = self._clock()
        session = Session(reader, form_token, datetime.fromtimestamp(begun, now.tzinfo))
        idle = now - datetime.fromtimestamp(used, now.tzinfo)
        if idle > IDLE or now - session.begun > LONGEST:
            return None
        return None if self._ended.used(_ENDED, session.form_token) else session

    def end(self, session: Session) -> None:
        """End each copy of a session for good. Raises Unavailable."""
        self._ended.use(_ENDED, session.form_token, session.begun + LONGEST)


def _signer(reader: Reader) -> URLSafeSerializer:
    return URLSafeSerializer(
        reader.key,
        salt=b"session",
        signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
    )
