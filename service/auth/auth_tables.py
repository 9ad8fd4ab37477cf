"""Tables of authentication in the shared database; they contain no patient data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
)

from service.database.table_revisions import Migrations, upgrade
from service.errors import StoreUnavailable

AUTH = Migrations(Path(__file__).parent / "migrations", "auth_version", "0002")
"""With the newest revision in `migrations/versions`, as a test verifies."""

metadata = MetaData()

used_tokens = Table(
    "used_tokens",
    metadata,
    Column("issuer", String(255), primary_key=True),
    Column("jti_sha256", String(64), primary_key=True),
    Column("expires_at", BigInteger, nullable=False, index=True),
    Column("request_sha256", String(64)),
    Column("repeatable_until", BigInteger),
    Column("repeats", Integer),
)
"""Used tokens until they are pruned; times in seconds since 1970.

The last three are of calls that came through a proxy that names its requests
(service.auth.replay_detection): by which its repetition is told, until when that is accepted, and
how often it was. A former version leaves them empty: its calls are not repeated.
"""

client_calls = Table(
    "client_calls",
    metadata,
    Column("issuer", String(255), primary_key=True),
    Column("minute", BigInteger, primary_key=True),
    Column("calls", Integer, nullable=False),
)
"""Number of a client's calls in a minute (minutes since 1970)."""


class SharedTables:
    """Access to the tables. An SQLite file gets them here; an operator migrates PostgreSQL."""

    def __init__(self, engine: Engine) -> None:
        self.dialect = engine.dialect.name
        self._engine = engine
        self._prepared = self.dialect != "sqlite"
        with suppress(StoreUnavailable):  # a file that cannot be written now may be later
            self._prepare()

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction.

        Raises SQLAlchemyError or StoreUnavailable if the database is unavailable or refuses.
        """
        self._prepare()
        with self._engine.begin() as connection:
            yield connection

    def _prepare(self) -> None:
        if not self._prepared:
            upgrade(self._engine.url.render_as_string(hide_password=False), AUTH)
            self._prepared = True
