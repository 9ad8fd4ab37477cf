"""Database errors for operators: the type, and the harmless part of the message.

Messages of databases are not passed on: they may quote values, and the password of a mistyped URL
may appear as its host.
"""

from __future__ import annotations

from collections.abc import Mapping

_KNOWN: Mapping[str, str] = {
    "connection refused": "nothing listens there",
    "password authentication failed": "its user or password is refused",
    "not permitted to log in": "its user or password is refused",
    "no password supplied": "no password is given",
    "no pg_hba.conf entry": "its rules let this machine or user not in",
    "translate host name": "its host name is not known",
    "failed to resolve host": "its host name is not known",
    "timeout expired": "it does not answer",
    "no route to host": "its host cannot be reached",
    "network is unreachable": "its host cannot be reached",
    "too many clients": "it has too many connections",
    "too many connections": "it has too many connections",
    "remaining connection slots": "it has too many connections",
    "starting up": "it is starting",
    "shutting down": "it is stopping",
    "in recovery mode": "it is recovering",
    "root certificate file": "the file of its sslrootcert does not exist",
    "does not support ssl": "it has no TLS, which the URL asks for",
    "invalid sslmode": "its URL has a wrong option",
    "invalid connection option": "its URL has a wrong option",
    "does not exist": "the database or the user does not exist",
    "certificate verify failed": "its certificate is not trusted",
    "server closed the connection": "it has hung up",
    "disk is full": "its disk is full",
    "disk i/o error": "its disk is full, or fails",
    "file is not a database": "it is no SQLite database, or is damaged",
    "malformed": "it is damaged",
    "readonly database": "it cannot be written to",
    "unable to open database file": "it cannot be opened",
}

_BY_STATE: Mapping[str, tuple[str, str]] = {
    "42501": (
        "its user has not the right",
        "run `covercard db grant` with that user's name, or this with the URL of the tables' owner",
    ),
    "25006": (
        "it takes no rows: it is a replica, or set to be read only",
        "name the server that can be written to, or end default_transaction_read_only",
    ),
    "57014": (
        "it has cancelled the statement",
        "raise statement_timeout for this user",
    ),
    "53100": ("its disk is full", "make room there"),
}
"""SQLSTATE → what it means here, and what to do."""

NEXT = "start it, or correct COVERCARD_DATABASE_URL"
"""The repair of a database that cannot be reached."""

DAMAGED = (
    "is no SQLite database, or is damaged: keep it, move it away with the -wal file beside it, and"
    " run `covercard db restore` with a backup"
)


def is_damaged(error: BaseException) -> bool:
    """Whether SQLite finds its file damaged, or no database."""
    code = getattr(error, "sqlite_errorname", "")
    return str(code).startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT"))


def is_of_other_tables(error: BaseException) -> bool:
    """Whether a database refuses a statement for the tables that it has, or has not."""
    cause = error.__cause__ or error
    state = str(getattr(cause, "sqlstate", None) or "")
    if state.startswith("42"):  # syntax error or access rule violation
        return state != "42501"  # insufficient privilege
    return getattr(cause, "sqlite_errorname", "") == "SQLITE_ERROR"


def trouble(error: BaseException) -> str:
    """The error's type, its SQLSTATE or errno text, and a known cause from its message."""
    cause = error.__cause__ or error
    words = [type(cause).__name__]
    state = getattr(cause, "sqlstate", None)
    if isinstance(state, str):
        words.append(state)
    if isinstance(cause, OSError):
        why = cause.strerror
    elif isinstance(state, str) and state in _BY_STATE:
        why, _ = _BY_STATE[state]
    elif type(cause).__name__ in ("DatabaseError", "ProgrammingError") or any(
        kind.__name__ == "OperationalError" for kind in type(cause).__mro__
    ):
        why = known_cause(str(cause))
    else:
        why = None
    return " ".join(words) + (f": {why}" if why else "")


def what_next(error: BaseException) -> str:
    """The repair of a database's error, or one that was raised from it."""
    cause: BaseException | None = error
    while cause is not None:
        state = getattr(cause, "sqlstate", None)
        if isinstance(state, str) and state in _BY_STATE:
            return _BY_STATE[state][1]
        cause = cause.__cause__
    return NEXT


def known_cause(message: str) -> str | None:
    """The cause that a database's message tells, in own words; None if it is unknown."""
    said = message.lower()
    return next((words for phrase, words in _KNOWN.items() if phrase in said), None)
