"""A PostgreSQL database in another encoding than Unicode is refused, with the repair."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.decision_log.instances import covercard
from tests.e2e.decision_log.postgres import Postgres
from tests.e2e.servers import refused_start


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_is_not_in_unicode_is_named_with_its_repair(
    server: Postgres, open_folder: Path, tmp_path: Path, encoding: str
) -> None:
    with server.connect("postgres") as connection:
        connection.execute("DROP DATABASE IF EXISTS narrow WITH (FORCE)")
        connection.execute(
            f"CREATE DATABASE narrow ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0"
        )
    url = server.url_of("narrow")
    said = f"the database is in {encoding}: make it with ENCODING 'UTF8' (TEMPLATE template0)"
    for words in (("db", "upgrade"), ("db", "check")):
        done = covercard(open_folder, *words, database_url=url)
        assert done.returncode != 0
        told = done.stdout + done.stderr
        assert said in told
        assert "unexpected" not in told
    assert said in refused_start(tmp_path, database_url=url)
