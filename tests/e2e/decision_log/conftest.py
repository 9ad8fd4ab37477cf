"""What the proof runs on: PostgreSQL, nginx, instances, and a place for its numbers."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.decision_log.postgres import Postgres, PostgresMissing, postgres
from tests.e2e.servers import free_port

NUMBERS: list[str] = []
"""Lines that are printed when the tests have ended."""


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if NUMBERS:
        terminalreporter.section("every answer that a client received is in the log exactly once")
        for line in NUMBERS:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Path]:
    """A folder that other users may enter; pytest's own are closed to them."""
    folder = Path(tempfile.mkdtemp(prefix="covercard-tests-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def server(open_folder: Path) -> Iterator[Postgres]:
    """A PostgreSQL server with an empty database."""
    try:
        with postgres(open_folder / "postgres", free_port()) as running:
            yield running
    except PostgresMissing as reason:
        pytest.skip(str(reason))
