"""A record of an answer is small: with request and answer, trace and rows, 6 KB on average."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from statistics import mean

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from service.bootstrap.app import RECORDER, create_app
from service.crd.hooks import SERVICES
from service.database.engines import open_engine
from service.decision_log import queries
from service.decision_log.queries import TimeSpan
from service.decision_log.rows import CardRow, LogEntry, encode_entry
from service.decision_log.tables import card
from service.settings import Settings
from tests.conftest import FIXTURES, NOW, fixture_text, in_folder

MOST_BYTES_ON_AVERAGE = 6 * 1024
SERVICE_OF_HOOK = {s.hook: s.id for s in SERVICES}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return in_folder(tmp_path_factory.mktemp("records"))


@pytest.fixture(scope="module")
def http(own: Settings) -> Iterator[FlaskClient]:
    app = create_app(own, clock=lambda: NOW)
    yield app.test_client()
    app.extensions[RECORDER].stop()


def requests() -> Iterator[dict[str, object]]:
    """Every hook request of the fixtures."""
    for file in sorted(Path(FIXTURES).glob("*/*.json")):
        request = json.loads(fixture_text(file))
        if isinstance(request, dict) and request.get("hook") in SERVICE_OF_HOOK:
            yield request


def test_an_answers_record_is_at_most_6_kb_on_average_over_the_fixtures(
    http: FlaskClient, own: Settings
) -> None:
    asked = list(requests())
    for request in asked:
        http.post(f"/cds-services/{SERVICE_OF_HOOK[str(request['hook'])]}", json=request)
    http.application.extensions[RECORDER].stop()
    sizes = []
    with open_engine(own.database_url).connect() as connection:
        for call in queries.all_calls(connection, TimeSpan()):
            of_call = select(card).where(card.c.call_id == call.row.call_id)
            cards = [CardRow(*row) for row in connection.execute(of_call)]
            entry = LogEntry([call.row], list(call.determinations), cards)
            sizes.append(len(encode_entry(entry)))
    assert len(sizes) == len(asked) > 30
    assert mean(sizes) <= MOST_BYTES_ON_AVERAGE
