"""POST /cds-services/<id>/feedback, as EHRs use it."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.bootstrap.app import RECORDER, create_app
from service.database.engines import database_file, open_engine
from service.decision_log.policy_stats import policy_stats
from service.decision_log.queries import TimeSpan
from service.settings import Settings
from tests.conftest import NOW, in_folder, settle

Read = Callable[[str], dict[str, Any]]
URL = "/cds-services/order-sign-crd"
AT = "2026-11-22T16:00:00Z"


@pytest.fixture
def own(tmp_path: Path) -> Settings:
    return in_folder(tmp_path)


@pytest.fixture
def http(own: Settings) -> Iterator[FlaskClient]:
    app = create_app(own, clock=lambda: NOW)
    yield app.test_client()
    app.extensions[RECORDER].stop()


@pytest.fixture
def answer(http: FlaskClient, fixture: Read) -> dict[str, Any]:
    reply = http.post(URL, json=fixture("order-sign/mrs-medicare-advantage"))
    told: dict[str, Any] = reply.get_json()
    return told


def accepted(card: dict[str, Any]) -> dict[str, Any]:
    suggestions = [{"id": s["uuid"]} for s in card["suggestions"]]
    return {
        "card": card["uuid"],
        "outcome": "accepted",
        "acceptedSuggestions": suggestions,
        "outcomeTimestamp": AT,
    }


def overridden(card: dict[str, Any]) -> dict[str, Any]:
    reason = card["overrideReasons"][0]
    return {
        "card": card["uuid"],
        "outcome": "overridden",
        "overrideReason": {"reason": reason, "userComment": "asked the plan by telephone"},
        "outcomeTimestamp": AT,
    }


def kept(own: Settings, http: FlaskClient) -> list[tuple[str, str, str | None]]:
    settle(http)
    with sqlite3.connect(database_file(own.database_url)) as log:
        found = log.execute("SELECT card_uuid, outcome, reason_code FROM feedback ORDER BY outcome")
        return list(found)


@pytest.mark.requirement("cds-hooks-2.0:148")
def test_feedback_is_kept_and_tied_to_the_decision(
    http: FlaskClient, answer: dict[str, Any], own: Settings
) -> None:
    policy, notice = answer["cards"]
    reply = http.post(f"{URL}/feedback", json={"feedback": [overridden(policy), accepted(notice)]})
    assert (reply.status_code, reply.get_json()) == (200, {"received": 2})
    code = policy["overrideReasons"][0]["code"]
    assert kept(own, http) == [
        (notice["uuid"], "accepted", None),
        (policy["uuid"], "overridden", code),
    ]
    settle(http)
    with open_engine(own.database_url).connect() as connection:
        (found,) = policy_stats(connection, TimeSpan())
    assert (found.policy_id, found.accepted, found.forms_started) == ("mr-spectroscopy", 1, 1)
    assert found.overridden == {code: 1}


def test_the_same_feedback_twice_is_kept_once(
    http: FlaskClient, answer: dict[str, Any], own: Settings
) -> None:
    feedback = {"feedback": [accepted(answer["cards"][1])]}
    assert [http.post(f"{URL}/feedback", json=feedback).status_code for _ in range(2)] == [200, 200]
    assert len(kept(own, http)) == 1


def test_feedback_on_a_card_that_nobody_knows_is_kept(http: FlaskClient, own: Settings) -> None:
    item = {"card": "unknown", "outcome": "overridden", "outcomeTimestamp": AT}
    assert http.post(f"{URL}/feedback", json={"feedback": [item]}).status_code == 200
    assert kept(own, http) == [("unknown", "overridden", None)]


def test_wrong_feedback_is_refused_with_its_place_and_nothing_of_it_is_kept(
    http: FlaskClient, answer: dict[str, Any], own: Settings
) -> None:
    items = [accepted(answer["cards"][1]), {"card": "x", "outcome": "accepted"}]
    reply = http.post(f"{URL}/feedback", json={"feedback": items})
    assert reply.status_code == 400
    outcome = reply.get_json()
    assert outcome["resourceType"] == "OperationOutcome"
    places = [place for issue in outcome["issue"] for place in issue["expression"]]
    assert places == ["feedback[1].outcomeTimestamp", "feedback[1].acceptedSuggestions"]
    assert kept(own, http) == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"feedback": {}}', b'{"feedback": "x"}'])
def test_what_is_no_feedback_is_a_400(http: FlaskClient, body: bytes) -> None:
    reply = http.post(f"{URL}/feedback", data=body, content_type="application/json")
    assert reply.status_code == 400
    assert reply.get_json()["resourceType"] == "OperationOutcome"


def test_feedback_for_a_service_that_is_not_there_is_a_404(http: FlaskClient) -> None:
    reply = http.post("/cds-services/nothing-here/feedback", json={"feedback": []})
    assert reply.status_code == 404
