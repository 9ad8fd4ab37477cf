"""Whatever a client sends, its call computes in the client's turn: others hardly wait for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from service.auth.call_places import CallPlace
from service.bootstrap.app import RECORDER, create_app
from tests.conftest import NOW, applications, in_folder

VALUES = {"service_id": "order-sign-crd", "form_id": "abn-record", "set_id": "any"}


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    app = create_app(in_folder(tmp_path), clock=lambda: NOW)
    yield app
    app.extensions[RECORDER].stop()


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the bodies for which a call has taken its client's turn."""
    sizes: list[int] = []
    of_place = CallPlace.turn

    def turn(place: CallPlace, size: int = 0) -> AbstractContextManager[None]:
        sizes.append(size)
        return of_place(place, size)

    monkeypatch.setattr(CallPlace, "turn", turn)
    return sizes


@pytest.mark.threat("client-share")
def test_a_body_is_read_in_its_clients_turn_at_every_endpoint(app: Flask, turns: list[int]) -> None:
    _, calls = applications(app)
    posted = {
        rule.endpoint: rule
        for rule in calls.url_map.iter_rules()
        if "POST" in (rule.methods or ())
        and not getattr(calls.view_functions[rule.endpoint], "open_to_all", False)
    }
    body = b'{"filler": "' + b"x" * 70_000 + b'"}'
    taken = {}
    for endpoint, rule in posted.items():
        _, path = rule.build({n: VALUES[n] for n in rule.arguments}) or ("", "")
        turns.clear()
        app.test_client().post(path, data=body, content_type="application/json")
        taken[endpoint] = list(turns)
    assert len(taken) >= 8
    assert taken == {endpoint: [len(body)] for endpoint in posted}


@pytest.mark.threat("client-share")
@pytest.mark.parametrize("path", ["/fhir/ValueSet/$expand", "/fhir/ValueSet/any/$expand"])
def test_so_is_an_expansion_that_is_asked_for_in_an_address(
    app: Flask, turns: list[int], path: str
) -> None:
    app.test_client().get(path)
    assert turns == [0]


ITEM = {"card": "c", "outcome": "overridden", "outcomeTimestamp": "2026-12-01T08:30:00Z"}
ERROR = {"severity": "error", "code": "processing", "diagnostics": "no answer"}
FORM = "https://covercard.example/fhir/Questionnaire/abn-record"
FORM_PARAMETER = {"name": "questionnaire", "valueCanonical": FORM}
COVERAGE = {
    "resourceType": "Coverage",
    "id": "c",
    "status": "active",
    "beneficiary": {"reference": "Patient/ann"},
}
RECORDED: dict[str, Any] = {
    "/cds-services/order-sign-crd/feedback": {"feedback": [ITEM]},
    "/fhir/Questionnaire/$log-questionnaire-errors": {
        "resourceType": "Parameters",
        "parameter": [
            FORM_PARAMETER,
            {
                "name": "operationOutcome",
                "resource": {"resourceType": "OperationOutcome", "issue": [ERROR]},
            },
        ],
    },
    "/fhir/2.2/Questionnaire/$questionnaire-package": {
        "resourceType": "Parameters",
        "parameter": [{"name": "coverage", "resource": COVERAGE}, FORM_PARAMETER],
    },
}


@pytest.mark.threat("client-share")
@pytest.mark.parametrize("path", RECORDED)
def test_what_is_kept_of_a_call_is_made_in_the_same_turn(
    app: Flask, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """To write a thousand items of feedback takes as long as to read them."""
    in_turn = False
    recorded: list[bool] = []

    @contextmanager
    def turn(_: CallPlace, size: int = 0) -> Iterator[None]:
        nonlocal in_turn
        in_turn = True
        yield
        in_turn = False

    monkeypatch.setattr(CallPlace, "turn", turn)
    recorder = app.extensions[RECORDER]
    for name in ("record_feedback", "record_access"):
        monkeypatch.setattr(recorder, name, lambda *_: recorded.append(in_turn))
    assert app.test_client().post(path, json=RECORDED[path]).status_code == 200
    assert recorded == [True]
