"""Tables of authentication in the shared database; they contain no patient data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    inspect,
    make_url,
)
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError, SQLAlchemyError
from sqlalchemy.schema import CreateIndex, CreateTable

from service.errors import ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPIConnection

metadata = MetaData()

used_tokens = Table(
    "used_tokens",
    metadata,
    Column("issuer", String(255), primary_key=True),
    Column("jti_sha256", String(64), primary_key=True),
    Column("expires_at", BigInteger, nullable=False, index=True),
)
"""Used tokens, insert-only until pruned; `expires_at` in seconds since 1970."""

client_calls = Table(
    "client_calls",
    metadata,
    Column("issuer", String(255), primary_key=True),
    Column("minute", BigInteger, primary_key=True),
    Column("calls", Integer, nullable=False),
)
"""Number of a client's calls in a minute (minutes since 1970)."""


def open_engine(url: str, connections: int) -> Engine:
    """An engine for these tables with at most `connections` connections, opened on demand.

    Raises ConfigurationError if the URL names no supported database.
    """
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            Path(parsed.database or "").parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            engine = create_engine(url, hide_parameters=True, connect_args={"timeout": 10})
            event.listen(engine, "connect", _quick)
            return engine
        return create_engine(
            url,
            hide_parameters=True,
            pool_pre_ping=True,
            pool_size=min(5, connections),
            max_overflow=connections,
            connect_args={"connect_timeout": 2},
        )
    except (SQLAlchemyError, OSError, ImportError) as error:
        kind = type(error).__name__
        raise ConfigurationError(f"COVERCARD_DATABASE_URL: cannot be used ({kind})") from None


def _quick(connection: DBAPIConnection, _record: object) -> None:
    # A power failure loses tokens that expire within five minutes anyway.
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


class SharedTables:
    """Access to the tables; missing ones are created on the first use."""

    def __init__(self, engine: Engine) -> None:
        self.dialect = engine.dialect.name
        self._engine = engine
        self._made = False

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction. Raises SQLAlchemyError if the database is unavailable or refuses."""
        if not self._made:
            _make(self._engine)
            self._made = True
        with self._engine.begin() as connection:
            yield connection


def _make(engine: Engine) -> None:
    """Create missing tables, also while other instances do the same."""
    if engine.dialect.name == "sqlite":
        with suppress(OperationalError), engine.connect() as connection:
            # Stored in the file; an instance that holds the lock now sets it.
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
    try:
        with engine.begin() as connection:
            for table in metadata.sorted_tables:
                connection.execute(CreateTable(table, if_not_exists=True))
                for index in table.indexes:
                    connection.execute(CreateIndex(index, if_not_exists=True))
    except (IntegrityError, ProgrammingError):
        # PostgreSQL fails if another instance created them between check and creation.
        if not set(inspect(engine).get_table_names()).issuperset(metadata.tables):
            raise
