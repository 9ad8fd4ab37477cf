"""An operator at night learns what to mend, and the log no secret."""

import errno

import psycopg
import pytest
from sqlalchemy.exc import OperationalError

from service.database.database_errors import trouble
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
    ],
)
def test_what_keeps_the_database_away_is_told_in_our_own_words(message: str, words: str) -> None:
    error = psycopg.OperationalError(message)
    wrapped = OperationalError("SELECT", {}, error)
    wrapped.__cause__ = error
    assert trouble(error) == trouble(wrapped) == f"OperationalError: {words}"


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
