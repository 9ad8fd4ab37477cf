"""A call that the proxy repeats: let in with its token, and on record as a repetition."""

from __future__ import annotations

import csv
import io
import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient

from service.auth.backend_services import ASSERTION_TYPE
from service.bootstrap.app import RECORDER, create_app
from service.cli import cli
from service.database.engines import database_file, open_engine
from service.decision_log.access_log import accesses
from service.settings import Settings
from service.web.proxied_request import HEADER
from tests.conftest import in_folder, settle
from tests.contract.calls import call_of
from tests.contract.test_questionnaire_package import asked
from tests.e2e.readers import READER, SECRET, readers_file
from tests.e2e.signing import ec_signer, entry, write_clients

Json = dict[str, Any]
BASE = "http://127.0.0.1:8642"
URL = "/cds-services/order-sign-crd"
PACKAGE = "/fhir/2.2/Questionnaire/$questionnaire-package"
HOSPITAL = ec_signer("https://ehr.hospital.example.org")
BACKEND = "hospital-backend"
ID, OTHER_ID = "0123456789abcdef" * 2, "fedcba9876543210" * 2
ORDER = call_of("order-sign/mrs-medicare-advantage")


@pytest.fixture
def own(tmp_path: Path) -> Settings:
    known = {**entry(HOSPITAL), "client_id": BACKEND}
    return in_folder(
        tmp_path,
        clients_file=write_clients(tmp_path, known),
        client_auth="required",
        readers_file=readers_file(tmp_path),
        proxies=1,
    )


@pytest.fixture
def http(own: Settings) -> Iterator[FlaskClient]:
    app = create_app(own)
    yield app.test_client()
    app.extensions[RECORDER].stop()


def twice(http: FlaskClient, url: str, body: object, second: str = ID) -> list[Any]:
    """The replies to a call and to the same with its token, as the proxy's request `second`."""
    token = HOSPITAL.call(BASE + url)
    return [http.post(url, json=body, headers={**token, HEADER: id}) for id in (ID, second)]


@pytest.fixture
def calls(http: FlaskClient) -> list[str]:
    """The ids of a call and of its repetition, both in the log."""
    replies = twice(http, URL, ORDER)
    assert [reply.status_code for reply in replies] == [200, 200]
    settle(http)
    return [reply.headers["Covercard-Call"] for reply in replies]


def test_a_repetition_gets_the_same_answer(http: FlaskClient) -> None:
    first, second = (reply.get_json() for reply in twice(http, URL, ORDER))
    assert [card["summary"] for card in first["cards"]] == [c["summary"] for c in second["cards"]]
    assert first["systemActions"] == second["systemActions"]


@pytest.mark.threat("replay")
def test_the_same_call_as_another_request_is_a_replay(http: FlaskClient, own: Settings) -> None:
    replies = twice(http, URL, ORDER, OTHER_ID)
    assert [reply.status_code for reply in replies] == [200, 401]
    settle(http)
    with sqlite3.connect(database_file(own.database_url)) as log:
        assert log.execute("SELECT repeated FROM call").fetchall() == [(None,)]


@pytest.mark.threat("replay")
def test_the_same_request_without_a_proxy_is_a_replay(own: Settings) -> None:
    app = create_app(own.model_copy(update={"proxies": 0}))
    assert [reply.status_code for reply in twice(app.test_client(), URL, ORDER)] == [200, 401]
    app.extensions[RECORDER].stop()


def test_the_second_record_is_told_from_the_first_wherever_one_looks(
    http: FlaskClient, own: Settings, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COVERCARD_DATABASE_URL", own.database_url)
    monkeypatch.setenv("COVERCARD_RECORDS_DIR", str(own.records_dir))
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(cli, ["decisions", *arguments], catch_exceptions=False)
        assert done.exit_code == 0
        return done.output

    shown = [run("show", call) for call in calls]
    assert ["by the proxy" in page for page in shown] == [False, True]
    # Both name the clinician's one call.
    assert all(ORDER["hookInstance"] in page for page in shown)
    listed = run("find", "--patient", "Patient/ann")
    assert listed.count("https://ehr.hospital.example.org") == 2
    assert listed.count("repeated by the proxy") == 1
    found = json.loads(run("find", "--patient", "Patient/ann", "--json"))
    assert [each["repeated"] for each in found] == [True, False]
    lines = [json.loads(line) for line in run("export").splitlines()]
    assert [line["repeated"] for line in lines] == [False, True]
    rows = csv.DictReader(io.StringIO(run("export", "--format", "csv")))
    assert [row["repeated"] for row in rows] == ["False", "True"]
    assert run("verify")


def test_a_reader_in_a_browser_sees_it_too(http: FlaskClient, calls: list[str]) -> None:
    http.post("/decisions/sign-in", data={"name": READER, "secret": SECRET})
    (token, *_) = re.findall(r'name="form_token" value="([^"]+)"', http.get("/decisions").text)

    def look(**form: str) -> str:
        browser = {"Accept": "text/html,*/*;q=0.8"}
        return http.post("/decisions", data={"form_token": token, **form}, headers=browser).text

    pages = [look(call=call.replace("-", "")) for call in calls]
    assert ["<dt>Repetition</dt>" in page for page in pages] == [False, True]
    assert look(patient="Patient/ann").count(", repeated by the proxy") == 1


def test_feedback_that_is_repeated_is_kept_once(http: FlaskClient, own: Settings) -> None:
    (reply, _) = twice(http, URL, ORDER)
    said = {
        "card": reply.get_json()["cards"][0]["uuid"],
        "outcome": "overridden",
        "outcomeTimestamp": "2026-11-22T16:00:00Z",
    }
    replies = twice(http, f"{URL}/feedback", {"feedback": [said]})
    assert [reply.status_code for reply in replies] == [200, 200]
    settle(http)
    with sqlite3.connect(database_file(own.database_url)) as log:
        assert log.execute("SELECT count(*) FROM feedback").fetchone() == (1,)


def test_a_package_that_is_given_out_again_is_on_record_as_a_repetition(
    http: FlaskClient, own: Settings
) -> None:
    replies = twice(http, PACKAGE, asked(call_of("order-sign/mrs-original-medicare")))
    assert [reply.status_code for reply in replies] == [200, 200]
    settle(http)
    with open_engine(own.database_url).connect() as connection:
        kept = [access.detail for access in accesses(connection, None, 10)]
    assert [detail.get("repeated") for detail in kept] == [True, None]


Ask = Callable[[str], Any]


@pytest.fixture
def ask(http: FlaskClient) -> Ask:
    """Asks for an access token with one assertion, as the proxy's request of this id."""
    url = f"{BASE}/oauth/token"
    form = {
        "grant_type": "client_credentials",
        "scope": "system/*.rs",
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": HOSPITAL.token(url, iss=BACKEND, sub=BACKEND, iat=None),
    }

    def post(id: str) -> Any:
        return http.post("/oauth/token", data=form, headers={HEADER: id} if id else {})

    return post


def test_a_token_request_that_the_proxy_repeats_gets_a_token_that_serves(
    http: FlaskClient, ask: Ask
) -> None:
    replies = [ask(ID), ask(ID)]
    assert [reply.status_code for reply in replies] == [200, 200]
    headers = {"Authorization": f"Bearer {replies[1].get_json()['access_token']}"}
    body = asked(call_of("order-sign/mrs-original-medicare"))
    assert http.post(PACKAGE, json=body, headers=headers).status_code == 200


@pytest.mark.threat("smart-assertion")
@pytest.mark.parametrize("id", ["", OTHER_ID, ID[:-1]])
def test_an_assertion_of_another_request_is_a_replay(ask: Ask, id: str) -> None:
    assert ask(ID).status_code == 200
    refused = ask(id)
    assert (refused.status_code, refused.get_json()["error"]) == (401, "invalid_client")
