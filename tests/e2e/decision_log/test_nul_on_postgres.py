"""NUL, which PostgreSQL refuses and SQLite keeps: what callers and readers get is the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import FIXTURES, fixture_text_today
from tests.e2e.decision_log.instances import covercard
from tests.e2e.decision_log.postgres import Postgres
from tests.e2e.readers import ReaderBrowser, readers_file
from tests.e2e.servers import Server, running

ORDER_SIGN = "/cds-services/order-sign-crd"
PACKAGE = "/fhir/Questionnaire/$questionnaire-package"
SEARCHES = [
    {"patient": "ann\0", "order": ""},
    {"patient": "", "order": "\0"},
    {"assertion_id": "cc\0"},
    {"call": "\0", "position": "0"},
]


def bodies() -> list[tuple[str, dict[str, Any]]]:
    """Calls with NUL in a name or a text, each with its path."""
    text = fixture_text_today(FIXTURES / "order-sign" / "mrs-medicare-advantage.json")
    call = json.loads(text)
    context = {"name": "context", "valueString": "cc\0"}
    return [
        (ORDER_SIGN, call | {"a\0": 1}),
        (ORDER_SIGN, call | {"hookInstance": "a\0"}),
        (ORDER_SIGN, call | {"prefetch": {**call["prefetch"], "\0": None}}),
        (f"{ORDER_SIGN}/feedback", {"feedback": [{"card": "\0"}]}),
        (PACKAGE, {"resourceType": "Parameters", "parameter": [context]}),
    ]


def answers(server: Server) -> list[tuple[int, Any]]:
    """What callers get, and then what a reader gets, without what differs by request."""
    found: list[tuple[int, Any]] = []
    for path, body in bodies():
        reply = requests.post(server.base + path, json=body, timeout=30)
        found.append((reply.status_code, reply.json()))
    reader = ReaderBrowser(server)
    reader.sign_in()
    for form in SEARCHES:
        shown = reader.submit(**form)
        nothing = "No decision" in shown.text
        found.append((shown.status_code, nothing))
    return found


@pytest.mark.threat("unreadable-record")
def test_nul_gets_the_same_answer_on_postgresql_as_on_sqlite(
    server: Postgres, open_folder: Path, tmp_path: Path
) -> None:
    with server.connect("postgres") as connection:
        connection.execute("DROP DATABASE IF EXISTS nul WITH (FORCE)")
        connection.execute("CREATE DATABASE nul")
    url = server.url_of("nul")
    assert covercard(open_folder, "db", "upgrade", database_url=url).returncode == 0
    readers = readers_file(tmp_path)
    with running(tmp_path, readers_file=readers, database_url=url) as on_postgres:
        there = answers(on_postgres)
        assert on_postgres.lines("unexpected error") == []
    with running(tmp_path, readers_file=readers) as on_sqlite:
        assert answers(on_sqlite) == there
    assert [status for status, _ in there] == [400] * len(bodies()) + [200] * len(SEARCHES)
    assert [nothing for _, nothing in there[len(bodies()) :]] == [True] * len(SEARCHES)
