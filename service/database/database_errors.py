"""Database errors for operators: the type, and the harmless part of the message.

Messages of databases are not passed on: they may quote values, and the password of a mistyped URL
may appear as its host.
"""

from __future__ import annotations

from collections.abc import Mapping

_KNOWN: Mapping[str, str] = {
    "connection refused": "nothing listens there",
    "password authentication failed": "its user or password is refused",
    "no password supplied": "no password is given",
    "no pg_hba.conf entry": "its rules let this machine or user not in",
    "translate host name": "its host name is not known",
    "failed to resolve host": "its host name is not known",
    "timeout expired": "it does not answer",
    "no route to host": "its host cannot be reached",
    "network is unreachable": "its host cannot be reached",
    "too many clients": "it has too many connections",
    "remaining connection slots": "it has too many connections",
    "starting up": "it is starting",
    "shutting down": "it is stopping",
    "in recovery mode": "it is recovering",
    "does not exist": "the database or the user does not exist",
    "certificate verify failed": "its certificate is not trusted",
    "server closed the connection": "it has hung up",
    "disk is full": "its disk is full",
    "file is not a database": "it is no SQLite database, or is damaged",
    "malformed": "it is damaged",
    "readonly database": "it cannot be written to",
    "unable to open database file": "it cannot be opened",
}


NEXT = "start it, or correct COVERCARD_DATABASE_URL"
"""What to do about a database that cannot be reached."""

DAMAGED = (
    "is no SQLite database, or is damaged: keep it, move it away with the -wal file beside it, and"
    " run `covercard db restore` with a backup"
)


def is_damaged(error: BaseException) -> bool:
    """Whether SQLite finds its file damaged, or no database."""
    code = getattr(error, "sqlite_errorname", "")
    return str(code).startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT"))


def trouble(error: BaseException) -> str:
    """The error's type, its SQLSTATE or errno text, and a known cause from its message."""
    cause = error.__cause__ or error
    words = [type(cause).__name__]
    state = getattr(cause, "sqlstate", None)
    if isinstance(state, str):
        words.append(state)
    if isinstance(cause, OSError):
        why = cause.strerror
    elif type(cause).__name__ == "DatabaseError" or any(
        kind.__name__ == "OperationalError" for kind in type(cause).__mro__
    ):
        why = _known(str(cause).lower())
    else:
        why = None
    return " ".join(words) + (f": {why}" if why else "")


def _known(message: str) -> str | None:
    return next((words for phrase, words in _KNOWN.items() if phrase in message), None)
