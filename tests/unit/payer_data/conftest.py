"""An embedded source on SQLite, and a way to import into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from service.database.table_revisions import upgrade
from service.payer_data.embedded import open_embedded
from service.payer_data.importing import ImportReport, import_file
from service.payer_data.payer_tables import MIGRATIONS
from service.payer_data.port import PayerData
from service.payer_data.record_files import RecordReader
from service.payer_data.record_rows import KINDS
from service.policies.program_table import load_programs
from tests.unit.payer_data.people import PAYER

OTHER_PAYER = "http://example.org/payers|example-payer"
AT = datetime(2026, 11, 22, 15, 30, tzinfo=UTC)

Import = Callable[..., ImportReport]


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A new database with the tables of the embedded source."""
    url = f"sqlite:///{tmp_path}/payer-data.sqlite3"
    upgrade(url, MIGRATIONS)
    return url


@pytest.fixture
def source(url: str) -> Iterator[PayerData]:
    """The embedded source."""
    source = open_embedded(url)
    yield source
    source.close()


@pytest.fixture
def put(url: str, tmp_path: Path) -> Import:
    """Imports a text as a file of a kind."""
    return importer(url, tmp_path)


def importer(url: str, folder: Path) -> Import:
    def put(kind: str, text: str, suffix: str = ".csv", **options: Any) -> ImportReport:
        path = folder / f"{kind}{suffix}"
        path.write_text(text, "utf-8")
        payers = {p: p for p in (PAYER, OTHER_PAYER)}
        reader = RecordReader(KINDS[kind], payers, load_programs(), PAYER)
        given: dict[str, Any] = {"whole": True, "most_refused": 0, "at": AT, **options}
        return import_file(url, path, KINDS[kind], reader, **given)

    return put
