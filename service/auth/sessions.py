"""A reader's session: a signed text that its browser keeps, valid in every worker and instance."""

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
"""A session ends so long after its last use …"""
LONGEST = timedelta(hours=8)
"""… and so long after its begin, however much it is used."""

_ENDED = "sessions of the decisions page"
"""Under this name, which no client has, the store of used tokens keeps sessions that were ended."""


@dataclass(frozen=True, slots=True)
class Session:
    """`form_token` stands in each form of the session: another site cannot know it."""

    reader: Reader
    form_token: str
    begun: datetime

    def allows_form(self, token: str) -> bool:
        return compare_digest(self.form_token.encode(), token.encode("utf-8", "replace"))


class Sessions:
    """Begins sessions, finds them again and ends them. `clock` gives the time with a time zone.

    `ended` remembers the sessions that were ended, for all workers and instances.

    A session says whose it is and is signed with that reader's key: without the reader, or with
    another secret, it is none.
    """

    def __init__(self, readers: Readers, ended: ReplayStore, clock: Callable[[], datetime]) -> None:
        self._readers = readers
        self._ended = ended
        self._clock = clock

    def begin(self, name: str, secret: str) -> Session | None:
        """A new session; None if name and secret are no reader's."""
        reader = self._readers.who(name, secret)
        if reader is None:
            return None
        return Session(reader, secrets.token_urlsafe(24), self._clock())

    def written(self, session: Session) -> str:
        """The session as a text, used just now."""
        now = self._clock()
        told = [session.form_token, session.begun.timestamp(), now.timestamp()]
        name = session.reader.name.encode().hex()
        return f"{name}.{_signer(session.reader).dumps(told)}"

    def found(self, text: str) -> Session | None:
        """The session of a text; None if it is none of ours, has ended or was not used.

        Raises Unavailable if it cannot be told whether it has ended.
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
        """End a session for good, whoever has a copy of it. Raises Unavailable."""
        self._ended.first_use(_ENDED, session.form_token, session.begun + LONGEST)


def _signer(reader: Reader) -> URLSafeSerializer:
    return URLSafeSerializer(
        reader.key,
        salt=b"session",
        signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
    )
