"""An operator at night learns what to mend, and the log no secret."""

import errno

import psycopg
import pytest
from sqlalchemy.exc import OperationalError

from service.database.database_errors import trouble, what_next
from service.database.table_revisions import revision
from service.decision_log.log_revision import DECISION_LOG
from service.errors import StoreUnavailable


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ('connection to "10.0.0.5" failed: Connection refused', "nothing listens there"),
        ('FATAL: password authentication failed for user "x"', "its user or password is refused"),
        ('FATAL: database "x" does not exist', "the database or the user does not exist"),
        ("FATAL: the database system is starting up", "it is starting"),
        ("connection timeout expired", "it does not answer"),
        ('FATAL: too many connections for role "x"', "it has too many connections"),
        ('FATAL: role "x" is not permitted to log in', "its user or password is refused"),
        ("disk I/O error", "its disk is full, or fails"),  # SQLite, without room for its -shm file
    ],
)
def test_what_keeps_the_database_away_is_told_in_our_own_words(message: str, words: str) -> None:
    error = psycopg.OperationalError(message)
    wrapped = OperationalError("SELECT", {}, error)
    wrapped.__cause__ = error
    assert trouble(error) == trouble(wrapped) == f"OperationalError: {words}"


@pytest.mark.parametrize(
    ("error", "words", "then"),
    [
        (psycopg.errors.InsufficientPrivilege(), "its user has not the right", "db grant"),
        (psycopg.errors.ReadOnlySqlTransaction(), "it takes no rows", "that can be written to"),
        (psycopg.errors.QueryCanceled(), "it has cancelled the statement", "statement_timeout"),
        (psycopg.errors.DiskFull(), "its disk is full", "make room there"),
        (psycopg.errors.AdminShutdown(), "AdminShutdown 57P01", "start it, or correct"),
    ],
)
def test_what_a_server_refuses_is_told_with_what_to_do(
    error: psycopg.Error, words: str, then: str
) -> None:
    away = StoreUnavailable(trouble(error))
    away.__cause__ = error
    assert words in str(away)
    assert then in what_next(away)


def test_of_any_other_message_nothing_is_told() -> None:
    error = psycopg.DataError('invalid input: "Marigold Quistgaard"')
    assert trouble(error) == "DataError"


def test_of_a_file_it_is_what_the_system_says() -> None:
    error = PermissionError(errno.EACCES, "Permission denied", "/srv/covercard/log.sqlite3")
    assert trouble(error) == "PermissionError: Permission denied"


def test_a_database_that_is_not_there_is_told_without_its_password() -> None:
    with pytest.raises(StoreUnavailable) as away:
        revision("postgresql+psycopg://covercard:opensesame@127.0.0.1:9/covercard", DECISION_LOG)
    assert str(away.value) == "OperationalError: nothing listens there"
