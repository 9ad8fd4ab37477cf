"""An embedded source on a PostgreSQL server, and a way to import into it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.database.table_revisions import upgrade
from service.payer_data.payer_tables import MIGRATIONS
from tests.e2e.decision_log.conftest import open_folder, server
from tests.e2e.decision_log.postgres import Postgres
from tests.unit.payer_data.conftest import Import, importer, source

__all__ = ["open_folder", "server", "source"]


@pytest.fixture
def url(server: Postgres) -> Iterator[str]:
    """A new database with the tables of the embedded source."""
    with server.connect("postgres") as connection:
        connection.execute("DROP DATABASE IF EXISTS payer WITH (FORCE)")
        connection.execute("CREATE DATABASE payer")
    url = server.url_of("payer")
    upgrade(url, MIGRATIONS)
    yield url


@pytest.fixture
def put(url: str, tmp_path: Path) -> Import:
    """Imports a text as a file of a kind."""
    return importer(url, tmp_path)
