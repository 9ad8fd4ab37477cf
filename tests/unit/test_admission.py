"""The gate is the application's: what nobody thought about is closed."""

from threading import BoundedSemaphore

import pytest
from flask import Blueprint, Flask

from service.auth.clients import ANYONE, Client
from service.bootstrap.app import create_app
from service.errors import Unauthenticated
from service.settings import Settings
from service.web.client_auth import Admission, current_client, open_to_all, require_client
from service.web.problems import translate_errors
from service.web.request_log import log_calls

HOSPITAL = Client("https://ehr.hospital.example.org", "hospital")
BASE = "https://covercard.example.org"


def client_of(token: str, url: str) -> Client:
    if (token, url) != ("good", f"{BASE}/later/feature"):
        raise Unauthenticated("aud", "must be the URL that is called")
    return HOSPITAL


def application(admission: Admission) -> Flask:
    """An application to which somebody later adds a room."""
    app = Flask("later")
    log_calls(app)
    translate_errors(app)
    require_client(app, admission)
    room = Blueprint("later", __name__, static_folder="static")

    @room.get("/later/feature")
    def feature() -> str:
        return current_client().name

    @room.get("/later/page")
    @open_to_all
    def page() -> str:
        return "for all"

    @room.get("/later/broken")
    @open_to_all
    def broken() -> str:
        return current_client().name

    app.register_blueprint(room)
    return app


@pytest.fixture
def slots() -> BoundedSemaphore:
    return BoundedSemaphore(1)


@pytest.fixture
def guarded(slots: BoundedSemaphore) -> Flask:
    return application(Admission(client_of, BASE, slots, None))


@pytest.mark.threat("open-by-mistake")
def test_a_view_that_says_nothing_asks_for_a_client(guarded: Flask) -> None:
    http = guarded.test_client()
    assert http.get("/later/feature").status_code == 401
    bad = http.get("/later/feature", headers={"Authorization": "Bearer bad"})
    assert bad.status_code == 401
    good = http.get("/later/feature", headers={"Authorization": "bearer good"})
    assert (good.status_code, good.text) == (200, "hospital")


def test_a_view_that_says_so_is_open_to_all(guarded: Flask) -> None:
    assert guarded.test_client().get("/later/page").text == "for all"


def test_an_open_view_has_no_client_to_rely_on(guarded: Flask) -> None:
    assert guarded.test_client().get("/later/broken").status_code == 500


def test_an_open_service_answers_anyone(slots: BoundedSemaphore) -> None:
    http = application(Admission(None, BASE, slots, None)).test_client()
    assert http.get("/later/feature").text == ANYONE.name


def test_a_refused_call_gives_its_place_back(guarded: Flask) -> None:
    http = guarded.test_client()
    for _ in range(3):
        assert http.get("/later/feature").status_code == 401


def test_without_a_free_place_a_call_is_to_come_again(
    guarded: Flask, slots: BoundedSemaphore
) -> None:
    slots.acquire()
    http = guarded.test_client()
    refused = http.get("/later/feature", headers={"Authorization": "Bearer good"})
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    assert http.get("/later/page").status_code == 200
    slots.release()
    assert http.get("/later/feature", headers={"Authorization": "Bearer good"}).status_code == 200


OPEN_TO_ALL = {
    "/",
    "/cds-services",
    "/fhir/Questionnaire",
    "/fhir/Questionnaire/<form_id>",
    "/policies",
    "/policies.json",
    "/policies/<policy_id>",
    "/static/<version>/<name>",
    "/workbench/fixtures/<path:name>",
    "/livez",
    "/readyz",
    "/metrics",
}
"""Nothing here speaks of a patient. What is added here is added on purpose."""


@pytest.mark.parametrize("workbench", ["on", "off"])
def test_what_is_open_to_all_is_known(workbench: str) -> None:
    app = create_app(Settings(workbench=workbench))
    opened = {
        rule.rule
        for rule in app.url_map.iter_rules()
        if getattr(app.view_functions[rule.endpoint], "open_to_all", False)
    }
    assert opened <= OPEN_TO_ALL
    assert {"/cds-services/<service_id>"} & opened == set()
