"""Every call and its answer is in the log when the answer leaves, and nothing else's secrets."""

import hashlib
import itertools
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from service.bootstrap.app import RECORDER, create_app
from service.database.engines import database_file, open_engine
from service.decision_log import queries
from service.decision_log.access_log import accesses
from service.decision_log.metrics_model import metric_record
from service.decision_log.queries import LoggedCall, TimeSpan
from service.decision_log.tables import card
from service.settings import Settings
from tests.conftest import NOW, files_below, in_folder, settle
from tests.contract.answer_rules import parts, stated

Read = Callable[[str], dict[str, Any]]
URL = "/cds-services/order-sign-crd"
TOKEN = "eyJhbGciOiJub25lIn0.secret-token.of-the-ehr"


@pytest.fixture
def own(tmp_path: Path) -> Settings:
    return in_folder(tmp_path)


@pytest.fixture
def app(own: Settings) -> Iterator[Flask]:
    seconds = itertools.count()
    app = create_app(own, clock=lambda: NOW + timedelta(seconds=next(seconds)))
    yield app
    app.extensions[RECORDER].stop()


@pytest.fixture
def http(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def logged(own: Settings, app: Flask) -> Callable[[], list[LoggedCall]]:
    def read() -> list[LoggedCall]:
        assert app.extensions[RECORDER].settle(SOON)
        with open_engine(own.database_url).connect() as connection:
            return list(queries.all_calls(connection, TimeSpan()))

    return read


SOON = 60.0
Logged = Callable[[], list[LoggedCall]]


@pytest.mark.requirement("crd-2.2.1:found-37", "crd-2.2.1:found-11", "crd-2.0.1:76")
def test_a_call_is_logged_with_its_answer_byte_for_byte(
    http: FlaskClient, fixture: Read, logged: Logged
) -> None:
    request = fixture("order-sign/mrs-original-medicare")
    request.pop("fhirAuthorization", None)
    body = msgspec.json.encode(request)
    reply = http.post(URL, data=body, content_type="application/json")
    (call,) = logged()
    assert call.kept.request == body
    assert call.kept.answer == reply.get_data()
    assert call.row.status == 200
    assert call.row.hook == "order-sign"
    assert call.row.hook_instance == request["hookInstance"]
    assert call.row.patient == f"Patient/{request['context']['patientId']}"
    assert call.row.crd_version == "2.0"
    assert NOW <= call.received_at < NOW + timedelta(minutes=1)


def test_a_determination_is_logged_with_policy_reason_and_the_way_there(
    http: FlaskClient, fixture: Read, logged: Logged
) -> None:
    answer = http.post(URL, json=fixture("order-sign/mrs-medicare-advantage")).get_json()
    (call,) = logged()
    (d,) = call.determinations
    (statement,) = stated(answer)
    assert [d.assertion_id] == parts(statement, "coverage-assertion-id")
    assert (d.policy_id, d.policy_version) == ("mr-spectroscopy", "2023-10-01")
    assert (d.covered, d.reason_id, d.undetermined) == ("not-covered", "investigational", None)
    assert (d.order_ref, d.coverage) == ("ServiceRequest/mrs-brain", "Coverage/ma-ann")
    assert msgspec.json.decode(d.codes) == ["http://www.ama-assn.org/go/cpt|76390"]
    assert d.stated == 1
    topics = [topic for topic, _, _ in call.kept.traces[0]]
    assert {"coding", "policy", "answer"} <= set(topics)


@pytest.mark.requirement("crd-2.0.1:77", "cds-hooks-2.0:82")
def test_cards_and_suggestions_are_logged_by_their_uuids_with_their_policy(
    http: FlaskClient, fixture: Read, own: Settings, app: Flask
) -> None:
    answer = http.post(URL, json=fixture("order-sign/mrs-medicare-advantage")).get_json()
    assert app.extensions[RECORDER].settle(SOON)
    uuids = [card["uuid"] for card in answer["cards"]]
    with open_engine(own.database_url).connect() as connection:
        rows = connection.execute(select(card)).all()
    cards = {row.card_uuid: row for row in rows}
    first, second = (cards[uuid] for uuid in uuids)
    assert (first.topic, first.form, first.policy_id) == ("guideline", 0, "mr-spectroscopy")
    assert (second.topic, second.form, second.policy_version) == ("claim", 1, "2023-10-01")
    suggested = [s["uuid"] for s in answer["cards"][1]["suggestions"]]
    assert msgspec.json.decode(second.suggestions) == suggested


@pytest.mark.threat("misplaced-token")
def test_the_ehrs_access_token_is_kept_nowhere(
    http: FlaskClient, fixture: Read, logged: Logged, own: Settings
) -> None:
    request = fixture("order-sign/mrs-medicare-advantage")
    request["fhirServer"] = None
    request["fhirAuthorization"] = {
        "access_token": TOKEN,
        "token_type": "Bearer",
        "expires_in": 300,
        "scope": "user/Coverage.read",
        "subject": "covercard",
    }
    request["extension"] = {"echo": TOKEN}
    assert http.post(URL, json=request).status_code == 200
    (call,) = logged()
    assert TOKEN.encode() not in (call.kept.request or b"")
    assert call.request["fhirAuthorization"]["scope"] == "user/Coverage.read"
    assert call.request["context"] == request["context"]
    assert call.row.token_use == "not-used"
    for content in files_below(database_file(own.database_url).parent, Path.read_bytes).values():
        assert TOKEN.encode() not in content


@pytest.mark.threat("misplaced-token")
@pytest.mark.parametrize(
    "body",
    [
        {"request": {"fhirAuthorization": {"access_token": TOKEN}}},
        {"hook": "order-sign", "FHIRAuthorization": {"Access_Token": TOKEN}},
    ],
)
def test_a_refused_call_with_its_token_in_the_wrong_place_is_logged_without_the_token(
    http: FlaskClient, logged: Logged, body: dict[str, Any]
) -> None:
    body["context"] = {"patientId": "ann"}
    escaped = msgspec.json.encode(body).replace(b"access", b"acce\\u0073s")
    for sent in (msgspec.json.encode(body), escaped):
        assert http.post(URL, data=sent, content_type="application/json").status_code == 422
    for call in logged():
        assert TOKEN.encode() not in (call.kept.request or b"")
        assert call.request["context"] == {"patientId": "ann"}


def test_a_refused_call_with_letters_of_another_language_is_logged_whole(
    http: FlaskClient, logged: Logged
) -> None:
    body = b'{"hook":"Ren\\u00e9e \\u003c"}'
    assert http.post(URL, data=body, content_type="application/json").status_code == 422
    assert [call.kept.request for call in logged()] == [body]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{}", 422),
        (b'{"hook":"order-sign","hookInstance":"x","context":{"patientId":"ann"}}', 422),
    ],
)
def test_a_refused_call_is_logged_with_its_answer(
    http: FlaskClient, logged: Logged, body: bytes, status: int
) -> None:
    reply = http.post(URL, data=body, content_type="application/json")
    (call,) = logged()
    assert (reply.status_code, call.row.status) == (status, status)
    assert call.kept.answer == reply.get_data()
    assert call.kept.request == body


def test_a_refused_calls_token_is_not_kept(http: FlaskClient, logged: Logged) -> None:
    body = msgspec.json.encode({"hook": 1, "fhirAuthorization": {"access_token": TOKEN}})
    http.post(URL, data=body, content_type="application/json")
    (call,) = logged()
    assert call.kept.request == b'{"hook":1,"fhirAuthorization":{"access_token":""}}'


def test_a_body_that_is_not_json_is_logged_as_refused_and_not_kept(
    http: FlaskClient, logged: Logged
) -> None:
    http.post(URL, data=b'{"access_token": "secret', content_type="application/json")
    (call,) = logged()
    assert (call.row.status, call.kept.request) == (400, None)


def test_a_call_that_fails_here_is_logged_too(
    http: FlaskClient, fixture: Read, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    from service.review import decide

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(decide, "evaluate", broken)
    reply = http.post(URL, json=fixture("order-sign/mrs-medicare-advantage"))
    (call,) = logged()
    assert (reply.status_code, call.row.status) == (500, 500)
    assert call.kept.answer == reply.get_data()


def test_what_is_no_call_of_a_service_is_not_logged(http: FlaskClient, own: Settings) -> None:
    assert http.post("/cds-services/nothing-here", json={}).status_code == 404
    assert http.get("/cds-services").status_code == 200
    assert http.post(URL, data=b"{}", content_type="text/plain").status_code == 415
    assert not database_file(own.database_url).exists()


@pytest.mark.parametrize(
    ("service", "name"),
    [
        ("order-sign-crd", "order-sign/disc-pain-four-orders"),
        ("order-select-crd", "order-select/mrs-selected"),
        ("appointment-book-crd", "appointment-book/appointment-for-an-order"),
        ("order-sign-crd", "order-sign/no-coverage"),
        ("order-sign-crd", "order-sign/hostile-order-name"),
    ],
)
def test_whatever_hook_and_outcome_each_determination_has_its_row(
    http: FlaskClient, fixture: Read, logged: Logged, service: str, name: str
) -> None:
    answer = http.post(f"/cds-services/{service}", json=fixture(name)).get_json()
    (call,) = logged()
    ids = [i for s in stated(answer) for i in parts(s, "coverage-assertion-id")]
    assert ids == [d.assertion_id for d in call.determinations if d.stated]
    assert len(call.kept.traces) == len(call.determinations) > 0


def test_an_order_that_carries_its_statement_is_logged_as_asserted_but_not_stated_again(
    http: FlaskClient, fixture: Read, logged: Logged
) -> None:
    request = fixture("order-sign/mrs-medicare-advantage")
    (action,) = http.post(URL, json=request).get_json().get("systemActions", [])
    request["context"]["draftOrders"]["entry"][0]["resource"] = action["resource"]
    http.post(URL, json=request)
    ((first,), (second,)) = (c.determinations for c in logged())
    assert second.assertion_id == first.assertion_id
    assert (first.stated, second.stated) == (1, 0)


def test_a_changed_order_gets_a_new_id_that_names_the_one_it_replaces(
    http: FlaskClient, fixture: Read, logged: Logged
) -> None:
    request = fixture("order-sign/mrs-medicare-advantage")
    (action,) = http.post(URL, json=request).get_json().get("systemActions", [])
    action["resource"]["code"]["coding"][0]["code"] = "0609T"
    request["context"]["draftOrders"]["entry"][0]["resource"] = action["resource"]
    http.post(URL, json=request)
    ((first,), (second,)) = (c.determinations for c in logged())
    assert second.assertion_id != first.assertion_id
    assert second.replaces == first.assertion_id


def test_where_no_segment_can_be_written_the_call_is_refused(tmp_path: Path, fixture: Read) -> None:
    (tmp_path / "in-the-way").write_text("a file where folders should be")
    settings = in_folder(tmp_path / "in-the-way" / "var")
    app = create_app(settings, clock=lambda: NOW)
    reply = app.test_client().post(URL, json=fixture("order-sign/mrs-medicare-advantage"))
    app.extensions[RECORDER].stop()
    assert reply.status_code == 503
    assert reply.headers["Retry-After"]
    assert reply.get_json()["issue"][0]["code"] == "transient"
    assert "Patient" not in reply.get_data(as_text=True)


@pytest.mark.requirement("crd-2.2.1:impl-2")
def test_where_the_database_cannot_be_written_the_answer_still_leaves(
    tmp_path: Path, fixture: Read
) -> None:
    (tmp_path / "in-the-way").write_text("a file where a folder should be")
    url = f"sqlite:///{tmp_path}/in-the-way/log.sqlite3"
    settings = in_folder(tmp_path, database_url=url)
    app = create_app(settings, clock=lambda: NOW)
    http = app.test_client()
    reply = http.post(URL, json=fixture("order-sign/mrs-medicare-advantage"))
    assert not app.extensions[RECORDER].settle(0.5)
    ready = http.get("/readyz")
    app.extensions[RECORDER].stop()
    assert reply.status_code == 200
    assert ready.status_code == 200
    assert ready.get_json()["status"] == "degraded"
    assert ready.get_json()["checks"]["records"]["store"] == "away"
    assert ready.get_json()["checks"]["records"]["waiting_bytes"] > 1000


@pytest.mark.requirement("crd-2.2.1:metric-1")
def test_a_logged_call_is_a_record_of_crds_metric_data(
    http: FlaskClient, fixture: Read, logged: Logged
) -> None:
    request = fixture("order-sign/mrs-medicare-advantage")
    answer = http.post(URL, json=request).get_json()
    (call,) = logged()
    record = metric_record(call)
    assert record["source"] == "payer-src"
    assert record["hookInstance"] == request["hookInstance"]
    assert record["hookType"] == "order-sign"
    assert record["httpResponse"] == 200
    assert record["requestTime"].startswith("2026-11-22T15:30:0")
    assert record["responseTime"] > record["requestTime"]
    assert record["payerId"]["value"] == "example-health-plan"
    npi = "http://hl7.org/fhir/sid/us-npi"
    assert record["providerId"]["system"] == record["groupId"]["system"] == npi
    codes = [c["code"] for o in record["orderDetail"] for c in o["coding"]]
    assert codes == ["76390"]
    types = {r["type"]: r["count"] for r in record["resources"] if r["prefetch"]}
    assert types["ServiceRequest"] == types["Coverage"] == 1
    guideline, claim, information = record["response"]
    assert (guideline["type"], claim["type"]) == ("guideline", "claim")
    assert guideline["engagement"] == "ignore"
    (info,) = information["coverageInfo"]
    (statement,) = stated(answer)
    assert [info["assertionId"]] == parts(statement, "coverage-assertion-id")
    assert (info["covered"], info["docNeeded"]) == ("not-covered", "clinical")
    assert info["questionnaire"][0]["reference"] == parts(statement, "questionnaire")[0]


def test_a_refused_call_is_a_metric_record_with_its_issues(
    http: FlaskClient, logged: Logged
) -> None:
    http.post(URL, json={"hookInstance": "the-instance"})
    (call,) = logged()
    record = metric_record(call)
    assert record["httpResponse"] == 422
    assert record["hookInstance"] == "the-instance"
    assert record["issue"]
    assert "response" not in record


def test_a_package_that_a_client_gets_is_on_record_with_its_forms(
    http: FlaskClient, fixture: Read, own: Settings
) -> None:
    request = fixture("order-sign/mrs-medicare-advantage")
    orders = [e["resource"] for e in request["context"]["draftOrders"]["entry"]]
    coverage = request["prefetch"]["coverage"]["entry"][0]["resource"]
    given = [("coverage", coverage), *(("order", order) for order in orders)]
    asked = {
        "resourceType": "Parameters",
        "parameter": [{"name": name, "resource": resource} for name, resource in given],
    }
    reply = http.post("/fhir/Questionnaire/$questionnaire-package", json=asked)
    assert reply.status_code == 200
    settle(http)
    with open_engine(own.database_url).connect() as connection:
        (access,) = accesses(connection, None, 10)
    assert (access.who, access.what) == ("anyone (client)", "package")
    (form,) = access.detail["questionnaires"]
    assert "organization-determination-request" in form
    assert access.detail["sha256"] == hashlib.sha256(reply.get_data()).hexdigest()
    in_force = http.get("/readyz").get_json()["checks"]["snapshot"]["policies"]
    assert access.detail["policies_digest"] == in_force


def test_a_package_that_cannot_be_put_on_record_is_not_sent(tmp_path: Path, fixture: Read) -> None:
    (tmp_path / "in-the-way").write_text("a file where folders should be")
    app = create_app(in_folder(tmp_path / "in-the-way" / "var"), clock=lambda: NOW)
    request = fixture("order-sign/mrs-medicare-advantage")
    orders = [e["resource"] for e in request["context"]["draftOrders"]["entry"]]
    coverage = request["prefetch"]["coverage"]["entry"][0]["resource"]
    given = [("coverage", coverage), *(("order", order) for order in orders)]
    asked = {
        "resourceType": "Parameters",
        "parameter": [{"name": name, "resource": resource} for name, resource in given],
    }
    reply = app.test_client().post("/fhir/Questionnaire/$questionnaire-package", json=asked)
    app.extensions[RECORDER].stop()
    assert reply.status_code == 503
