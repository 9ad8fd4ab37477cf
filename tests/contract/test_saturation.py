"""What is in flight and what is refused is visible; what is refused keeps little."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, g
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from service.auth.client_share import MinuteCounts
from service.bootstrap.app import RECORDER, create_app
from service.bootstrap.threads import most_threads
from service.database.engines import open_engine
from service.decision_log import queries
from service.decision_log.queries import LoggedCall, TimeSpan
from service.settings import Settings
from service.shared_counts import SharedCounts
from service.web.metrics import OF_THE_LIVING, Metrics
from tests.conftest import NOW, applications, in_folder, settle
from tests.contract.test_order_sign import Read

URL = "/cds-services/order-sign-crd"
SPENT = 20_000


@pytest.fixture
def own(tmp_path: Path) -> Settings:
    return in_folder(tmp_path, refused_bytes_per_minute=SPENT)


@pytest.fixture
def app(own: Settings, one_minute: None) -> Iterator[Flask]:
    app = create_app(own, clock=lambda: NOW)
    yield app
    app.extensions[RECORDER].stop()


@pytest.fixture
def http(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def logged(own: Settings, http: FlaskClient) -> Callable[[], list[LoggedCall]]:
    def read() -> list[LoggedCall]:
        settle(http)
        with open_engine(own.database_url).connect() as connection:
            return list(queries.all_calls(connection, TimeSpan()))

    return read


Logged = Callable[[], list[LoggedCall]]


def measured(http: FlaskClient) -> dict[tuple[str, ...], float]:
    """Each sample by its name and the values of its labels."""
    text = http.get("/metrics").get_data(as_text=True)
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def wrong(call: dict[str, Any], size: int) -> dict[str, Any]:
    """A call that is refused, of about this size."""
    call["context"]["patientId"] = 1
    call["prefetch"]["filler"] = "x" * size
    return call


@pytest.mark.threat("refused-calls")
def test_of_a_large_refused_call_the_answer_is_kept_and_not_the_body(
    http: FlaskClient, fixture: Read, logged: Logged
) -> None:
    call = fixture("order-sign/mrs-medicare-advantage")
    reply = http.post(URL, json=wrong(call, 70_000))
    assert reply.status_code == 422
    (kept,) = logged()
    assert kept.kept.request is None
    assert kept.kept.answer == reply.get_data()


@pytest.mark.threat("refused-calls")
def test_after_its_share_of_a_minute_a_clients_refused_calls_are_counted_only(
    http: FlaskClient, fixture: Read, logged: Logged
) -> None:
    call = wrong(fixture("order-sign/mrs-medicare-advantage"), 1_000)
    size = len(json.dumps(call))
    for _ in range(12):
        assert http.post(URL, json=call).status_code == 422
    kept = len(logged())
    assert 1 <= kept <= SPENT // size
    seen = measured(http)
    assert seen["covercard_refusals_not_kept_total", "anyone"] == 12 - kept
    assert seen["covercard_refusals_total", "anyone", "UnprocessableRequest"] == 12
    good = fixture("order-sign/mrs-medicare-advantage")
    assert http.post(URL, json=good).status_code == 200
    assert len(logged()) == kept + 1


@pytest.mark.threat("saturation")
def test_what_is_in_flight_is_seen_beside_the_most_of_it(
    app: Flask, http: FlaskClient, own: Settings
) -> None:
    seen: dict[tuple[str, ...], float] = {}
    _, calls = applications(app)

    @calls.before_request
    def look() -> None:
        if "place" in g:
            scrape = threading.Thread(target=lambda: seen.update(measured(app.test_client())))
            scrape.start()
            scrape.join()

    http.post(URL, json={})
    assert seen["covercard_in_flight", "working"] == 1
    assert seen["covercard_in_flight", "waiting"] == 0
    assert seen["covercard_in_flight", "open"] == 2
    assert seen["covercard_places", "working"] == own.max_concurrent_calls
    assert seen["covercard_places", "waiting"] == own.max_waiting_calls
    assert seen["covercard_places", "open"] == most_threads(own)
    after = measured(http)
    assert after["covercard_in_flight", "working"] == 0
    assert after["covercard_in_flight", "open"] == 1


@pytest.mark.threat("saturation")
@pytest.mark.parametrize(
    ("send", "reason"),
    [
        (
            lambda http: http.post(URL, data=b"{", content_type="application/json"),
            "MalformedRequest",
        ),
        (
            lambda http: http.post(URL, data=b"{}", content_type="text/plain"),
            "UnsupportedMediaType",
        ),
        (lambda http: http.post("/cds-services/none", json={}), "UnknownService"),
        (lambda http: http.get("/nowhere"), "HTTP 404"),
        (lambda http: http.delete("/cds-services"), "HTTP 405"),
    ],
)
def test_each_refusal_is_counted_with_its_reason(
    http: FlaskClient, send: Callable[[FlaskClient], Any], reason: str
) -> None:
    assert send(http).status_code >= 400
    counted = {
        name[-1]: value
        for name, value in measured(http).items()
        if name[0] == "covercard_refusals_total"
    }
    assert counted == {reason: 1}


@pytest.mark.threat("saturation")
def test_what_a_worker_that_is_gone_had_in_flight_is_forgotten_and_not_its_counts() -> None:
    shared = SharedCounts(2, OF_THE_LIVING)
    metrics = Metrics(shared)
    for region in (0, 1):
        shared.take(region)
        metrics.count("open", 3)
        metrics.fetch("timeout")
    shared.leave(0)
    text = metrics.exposition(lambda: _healthy()).decode()
    assert 'covercard_in_flight{state="open"} 3.0' in text
    assert 'covercard_fetches_total{outcome="timeout"} 2.0' in text
    shared.take(0)
    metrics.fetch("timeout")
    text = metrics.exposition(lambda: _healthy()).decode()
    assert 'covercard_fetches_total{outcome="timeout"} 3.0' in text


def test_reasons_are_of_a_fixed_set_and_no_label_tells_what_a_caller_sent() -> None:
    metrics = Metrics()
    metrics.refusal("hospital", "calls a minute")
    metrics.not_kept("hospital")
    text = metrics.exposition(lambda: _healthy()).decode()
    assert 'covercard_refusals_total{client="hospital",reason="calls a minute"} 1.0' in text


def _healthy() -> Any:
    from service.decision_log.recorder import Health

    return Health()


def test_counts_of_refused_bytes_begin_anew_each_minute() -> None:
    now = 0.0
    counts = MinuteCounts(lambda: now)
    counts.add(("hospital",), SPENT)
    now = 60.0
    assert counts.of(("hospital",)) == 0
