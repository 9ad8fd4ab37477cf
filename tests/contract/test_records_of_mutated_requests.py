"""Whatever a client has sent, who looks into the log sees it: no call hides itself or others."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from datetime import UTC
from typing import Any

import msgspec
import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from rich.console import Console
from sqlalchemy import Connection

from service.bootstrap.app import RECORDER, create_app
from service.cli.decisions.decision_page import DecisionPage
from service.cli.decisions.log_shapes import call_json, csv_rows
from service.database.engines import open_engine
from service.decision_log.decision_detail import by_place, call_detail
from service.decision_log.display import body_text
from service.decision_log.metrics_model import metric_record
from service.decision_log.queries import LoggedCall
from service.policies.answer_texts import load_texts
from service.settings import Settings
from service.web.response_view import ShownAnswer, order_changes
from tests.conftest import NOW, in_folder, settle
from tests.contract.test_mutated_requests import SERVICE_OF_HOOK, mutated_requests

Read = Callable[[str], dict[str, Any]]
URL = "/cds-services/order-sign-crd"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    # Every refused call is to be looked at, however many they are.
    return in_folder(tmp_path_factory.mktemp("records"), refused_bytes_per_minute=1_000_000_000)


@pytest.fixture(scope="module")
def http(own: Settings) -> Iterator[FlaskClient]:
    app = create_app(own, clock=lambda: NOW)
    yield app.test_client()
    app.extensions[RECORDER].stop()


@pytest.fixture(scope="module")
def log(http: FlaskClient, own: Settings) -> Iterator[Connection]:
    http.post(URL, data=b"{}", content_type="application/json")
    settle(http)
    with open_engine(own.database_url).connect() as connection:
        yield connection


def looked_at(http: FlaskClient, log: Connection, call_id: str) -> LoggedCall:
    """The call, after every command that reads the log has read it."""
    settle(http)
    log.rollback()
    whole = call_detail(log, call_id)
    assert whole is not None
    call = whole.call
    assert msgspec.json.encode(metric_record(call))
    assert msgspec.json.encode(call_json(call, (), bodies=True))
    assert list(csv_rows(call))
    assert body_text(call.kept.answer)
    assert body_text(call.kept.request)
    list(order_changes(msgspec.convert(call.answer, ShownAnswer), None))
    page = DecisionPage(UTC, load_texts().undetermined, Console(file=io.StringIO()))
    page.call(whole)
    for determination in call.determinations:
        found = by_place(log, call_id, determination.position)
        assert found is not None
        page.show(found)
    return call


@pytest.mark.threat("unreadable-record")
@settings(
    max_examples=300,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(request=mutated_requests())
def test_a_mutated_request_can_be_looked_at(
    http: FlaskClient, log: Connection, request: dict[str, Any]
) -> None:
    service = SERVICE_OF_HOOK.get(str(request.get("hook")), "order-sign-crd")
    reply = http.post(f"/cds-services/{service}", json=request)
    call = looked_at(http, log, reply.headers["Covercard-Call"])
    assert call.row.status == reply.status_code
    assert call.answer


ODD = [
    b"1e999",
    b"1" + b"0" * 400,
    b'"\\ud800"',
    b"[" * 300 + b"]" * 300,
    b'"\xff"',
    b"5",
    b'[5,{"system":7}]',
]


@pytest.mark.threat("unreadable-record")
@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
@pytest.mark.parametrize("place", ['"x": ', '"prefetch": '])
def test_what_one_reader_of_json_takes_and_another_does_not_can_be_looked_at(
    http: FlaskClient, log: Connection, fixture: Read, place: str, odd: bytes
) -> None:
    request = fixture("order-sign/mrs-medicare-advantage")
    del request["prefetch"]
    body = msgspec.json.encode(request)[:-1] + b"," + place.encode() + odd + b"}"
    reply = http.post(URL, data=body, content_type="application/json")
    assert reply.status_code in (200, 400, 422)
    looked_at(http, log, reply.headers["Covercard-Call"])


def test_a_name_that_is_no_text_is_refused_and_logged(http: FlaskClient, log: Connection) -> None:
    reply = http.post(URL, data=b'{"\xff":1}', content_type="application/json")
    assert reply.status_code == 400
    assert looked_at(http, log, reply.headers["Covercard-Call"]).row.status == 400


@pytest.mark.parametrize("number", [b"1e999", b"1" + b"0" * 400])
def test_an_order_with_a_number_that_no_machine_holds_can_be_looked_at(
    http: FlaskClient, log: Connection, fixture: Read, number: bytes
) -> None:
    request = fixture("order-sign/mrs-medicare-advantage")
    order = request["context"]["draftOrders"]["entry"][0]["resource"]
    order["quantityQuantity"] = {"value": 12345678}
    body = msgspec.json.encode(request).replace(b"12345678", number)
    reply = http.post(URL, data=body, content_type="application/json")
    call = looked_at(http, log, reply.headers["Covercard-Call"])
    assert (call.answer["cards"] != []) == (reply.status_code == 200)
    kept = call.request["context"]["draftOrders"]["entry"][0]["resource"]["quantityQuantity"]
    assert str(kept["value"]) == number.decode()
