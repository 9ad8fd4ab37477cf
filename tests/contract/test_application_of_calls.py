"""Calls have a Flask application of their own, mounted in the pages' by the first segment of paths.

It leaves out what only pages need; headers, errors and limits are the same in both.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import EnvironBuilder

from service.bootstrap.app import RECORDER, create_app
from service.web.applications import CallApplication
from tests.conftest import applications, in_folder

OF_ALL = (
    "Content-Security-Policy",
    "X-Content-Type-Options",
    "Referrer-Policy",
    "Cross-Origin-Opener-Policy",
    "Cache-Control",
    "Covercard-Call",
)


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    app = create_app(in_folder(tmp_path, workbench="on"))
    yield app
    app.extensions[RECORDER].stop()


@pytest.fixture
def http(app: Flask) -> FlaskClient:
    return app.test_client()


def segments(app: Flask) -> set[str]:
    return {rule.rule.split("/")[1] for rule in app.url_map.iter_rules()}


def test_hooks_feedback_and_dtr_are_in_it_and_pages_are_not(app: Flask) -> None:
    pages, calls = applications(app)
    assert isinstance(calls, CallApplication)
    assert not isinstance(pages, CallApplication)
    assert segments(calls) == {"cds-services", "fhir"}
    assert segments(pages).isdisjoint(segments(calls))
    assert {"policies", "workbench", "livez", "readyz", "metrics"} <= segments(pages)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/cds-services", 200),
        ("/cds-services/", 200),
        ("/cds-services/nothing/here/at/all", 404),
        ("/fhir/metadata", 200),
        ("/fhir/2.0/metadata", 200),
        ("/fhir", 404),
        ("/fhirs", 404),
        ("/policies", 200),
        ("/livez", 200),
        ("/", 200),
        ("/nothing", 404),
    ],
)
def test_each_path_leads_where_it_led(http: FlaskClient, path: str, status: int) -> None:
    assert http.get(path).status_code == status


def test_errors_and_headers_are_those_of_the_pages_application(http: FlaskClient) -> None:
    of_calls, of_pages = http.get("/cds-services/a/b/c"), http.get("/nothing")
    for name in OF_ALL:
        assert len(of_calls.headers.getlist(name)) == len(of_pages.headers.getlist(name)) == 1
    for name in OF_ALL[:-1]:
        assert of_calls.headers[name] == of_pages.headers[name]
    assert of_calls.get_json() == of_pages.get_json()
    refused = http.delete("/cds-services"), http.delete("/livez")
    assert [r.status_code for r in refused] == [405, 405]
    assert "GET" in refused[0].headers["Allow"]


def test_a_call_has_no_session(app: Flask) -> None:
    _, calls = applications(app)
    with calls.test_request_context("/cds-services") as context:
        context.push()
        assert calls.session_interface.is_null_session(context.session)
        context.pop()


def answered(
    app: Flask, method: str = "GET", path: str = "/cds-services"
) -> tuple[Iterable[bytes], str, dict[str, str]]:
    told: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], *_: Any) -> Any:
        told.extend((status, dict(headers)))

    environ = EnvironBuilder(path=path, method=method, headers={"Host": "localhost"}).get_environ()
    environ["wsgi.input"], environ["PATH_INFO"] = io.BytesIO(), path
    body = app.wsgi_app(environ, start_response)
    return body, told[0], told[1]


def test_an_answer_goes_to_the_server_in_one_piece(app: Flask) -> None:
    body, status, headers = answered(app, "GET", "/cds-services/nothing")
    assert isinstance(body, list)
    (whole,) = body
    assert status.startswith("405")
    assert headers["Content-Length"] == str(len(whole))


def test_slashes_before_a_path_count_for_nothing(app: Flask) -> None:
    assert answered(app, path="//cds-services")[1] == "200 OK"


def test_the_answer_to_head_has_a_length_and_no_body(app: Flask) -> None:
    body, status, headers = answered(app, "HEAD", "/readyz")
    assert status.startswith(("200", "503"))
    assert b"".join(body) == b""
    assert int(headers["Content-Length"]) > 0


def test_an_error_after_the_view_is_an_answer_in_calls_too(app: Flask) -> None:
    _, calls = applications(app)
    broken = [True]

    @calls.after_request
    def fail_once(response: Any) -> Any:
        if broken:
            broken.clear()
            raise ValueError
        return response

    reply = app.test_client().get("/cds-services")
    assert reply.status_code == 500
    assert reply.get_json()["resourceType"] == "OperationOutcome"
