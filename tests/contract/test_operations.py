"""/livez, /readyz and /metrics: for whoever runs the service, and about no patient."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from service.auth.clients import Client, TrustedClient
from service.bootstrap.app import RECORDER, create_app
from service.decision_log.recorder import Health
from service.decision_log.records_folder import Waiting
from service.policies.policy_store import PolicyStore
from service.web.metrics import Metrics
from service.web.operations import (
    Check,
    HealthFinding,
    State,
    clients_check,
    operations_blueprint,
    policies_check,
    records_check,
)
from tests.conftest import NOW, in_folder
from tests.policies import SOUND

Read = Callable[[str], dict[str, Any]]
URL = "/cds-services/order-sign-crd"
WELL = Health()


@pytest.fixture
def http(tmp_path: Path) -> Iterator[FlaskClient]:
    app = create_app(in_folder(tmp_path), clock=lambda: NOW)
    yield app.test_client()
    app.extensions[RECORDER].stop()


def ready(*checks: Check) -> tuple[int, Any]:
    """What /readyz says of these checks."""
    app = Flask(__name__)
    app.register_blueprint(operations_blueprint(checks, Metrics(), lambda: WELL))
    reply = app.test_client().get("/readyz")
    return reply.status_code, reply.get_json()


def measured(http: FlaskClient) -> dict[str, float]:
    """The samples of /metrics by name and labels."""
    lines = http.get("/metrics").get_data(as_text=True).splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def test_the_process_is_alive(http: FlaskClient) -> None:
    assert http.get("/livez").get_json() == {"status": "alive"}


def test_a_service_in_order_is_ready_and_an_overdue_review_is_a_warning(tmp_path: Path) -> None:
    library = {"policies_dir": SOUND, "payers_file": SOUND / "payers.yaml"}
    app = create_app(in_folder(tmp_path, **library), clock=lambda: NOW)
    reply = app.test_client().get("/readyz")
    app.extensions[RECORDER].stop()
    told = reply.get_json()
    assert (reply.status_code, told["status"]) == (200, "ready")
    assert told["checks"]["records"]["store"] == "up"
    assert told["checks"]["policies"]["in_force"] == 1
    assert told["warnings"] == ["example-scan 2024-01-01: review was due 2025-01; effect: warn"]


class Keys:
    """A client's keys, away or not."""

    url = "https://ehr.example.org/jwks"

    def __init__(self, *, away: bool) -> None:
        self.away = away

    def find(self, kid: str, alg: str) -> tuple[()]:
        return ()


@pytest.mark.parametrize(("away", "state"), [(False, "ready"), (True, "degraded")])
def test_a_key_set_that_cannot_be_read_is_told_without_naming_the_client(
    away: bool, state: str
) -> None:
    clients = [TrustedClient(Client(f"https://{n}", n), Keys(away=away)) for n in ("a", "b")]
    code, told = ready(clients_check(clients))
    assert (code, told["status"]) == (200, state)
    assert told["checks"]["clients"] == {
        "status": state,
        "asked_for": True,
        "clients": 2,
        "key_sets_away": 2 if away else 0,
    }


def test_a_client_whose_keys_anyone_has_is_a_warning() -> None:
    demo = TrustedClient(Client("https://demo", "demo"), Keys(away=False), demo=True)
    assert ready(clients_check([demo]))[1]["warnings"] == [
        "a client is trusted whose keys anyone has"
    ]


def test_that_no_client_is_asked_for_is_told(http: FlaskClient) -> None:
    assert http.get("/readyz").get_json()["checks"]["clients"]["asked_for"] is False


@pytest.mark.parametrize(
    ("health", "status", "state"),
    [
        (WELL, 200, "ready"),
        (Health(waiting=Waiting(900, 0.2)), 200, "ready"),
        (Health("away", Waiting(900, 3.0)), 200, "degraded"),
        (Health(waiting=Waiting(set_aside=1)), 200, "degraded"),
        (Health(lost=3), 200, "degraded"),
        (Health(refusing=True), 503, "failing"),
        (Health("away", refusing=True), 503, "failing"),
    ],
)
def test_records_degrade_where_the_rows_do_not_follow_and_fail_where_no_segment_takes_them(
    health: Health, status: int, state: str
) -> None:
    code, told = ready(records_check(lambda: health))
    assert (code, told["status"]) == (status, state)
    assert told["checks"]["records"]["waiting_bytes"] == health.waiting.bytes


def test_without_a_policy_in_force_the_service_fails() -> None:
    code, told = ready(policies_check(PolicyStore([]), lambda: date(2026, 1, 1)))
    assert (code, told["status"]) == (503, "failing")


def test_the_service_is_as_ready_as_the_worst_of_its_checks() -> None:
    code, told = ready(
        Check("keys", lambda: HealthFinding(State.DEGRADED, {"known": 0}, ("no keys yet",))),
        Check("other", lambda: HealthFinding(State.READY)),
    )
    assert (code, told["status"]) == (200, "degraded")
    assert told["checks"]["keys"] == {"status": "degraded", "known": 0}
    assert told["warnings"] == ["no keys yet"]


def test_calls_cards_and_feedback_are_counted(http: FlaskClient, fixture: Read) -> None:
    request = fixture("order-sign/mrs-medicare-advantage")
    answer = http.post(URL, json=request).get_json()
    http.post(URL, json={})
    item = {
        "card": answer["cards"][0]["uuid"],
        "outcome": "overridden",
        "outcomeTimestamp": "2026-11-22T16:00:00Z",
    }
    http.post(f"{URL}/feedback", json={"feedback": [item]})
    found = measured(http)
    by = 'client="anyone",hook="order-sign"'
    assert found[f'covercard_calls_total{{{by},outcome="answered",version="2.0"}}'] == 1
    assert found[f'covercard_calls_total{{{by},outcome="refused",version=""}}'] == 1
    assert found['covercard_call_seconds_count{hook="order-sign"}'] == 2
    assert found['covercard_cards_total{policy="mr-spectroscopy",topic="claim"}'] == 1
    assert found['covercard_feedback_total{outcome="overridden"}'] == 1
    assert found["covercard_store_up"] == 1
    assert found["covercard_segments_written"] == 1


def test_nothing_of_a_patient_or_a_request_is_in_any_metric(
    http: FlaskClient, fixture: Read
) -> None:
    http.post(URL, json=fixture("order-sign/mrs-medicare-advantage"))
    http.post("/cds-services/someone-ann/feedback", json={"feedback": []})
    lines = http.get("/metrics").get_data(as_text=True).splitlines()
    # The figures themselves may have the digits of a code.
    told = "\n".join(line if line.startswith("#") else line.rpartition(" ")[0] for line in lines)
    for never in ("ann", "mrs-brain", "76390", "someone"):
        assert never not in told


def test_how_queries_to_ehrs_ended_is_counted() -> None:
    metrics = Metrics()
    metrics.fetch("timeout")
    text = metrics.exposition(lambda: WELL).decode()
    assert 'covercard_fetches_total{outcome="timeout"} 1.0' in text


def test_metrics_are_of_one_application_only() -> None:
    first, second = Metrics(), Metrics()
    first.feedback("accepted")
    assert "accepted" not in second.exposition(lambda: WELL).decode()


def test_a_day_that_counts_for_policies_is_a_day_of_the_services_own_zone(tmp_path: Path) -> None:
    settings = in_folder(tmp_path, time_zone="Pacific/Kiritimati")
    app = create_app(settings, clock=lambda: datetime(2023, 9, 30, 12, tzinfo=UTC))
    told = app.test_client().get("/readyz").get_json()
    assert told["checks"]["policies"]["in_force"] == 1
