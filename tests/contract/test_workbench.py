"""What the workbench asks the service for, over HTTP."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.auth.call_places import Turn
from service.bootstrap.app import create_app
from service.fhir.document import Document, Resource
from service.fhir.resources import Resources
from service.settings import Settings
from service.web.response_view import ShownAction, ShownAnswer, order_changes
from tests.conftest import FIXTURES, NOW, ROOT, fixture_text, in_folder

SERVICE = "order-sign-crd"
CLIENTS = ROOT / "examples" / "clients.example.yaml"


def explained(client: FlaskClient, request: str, **changed: Any) -> str:
    """The explanation of a request, fired first; `changed` replaces what is posted for it."""
    reply = client.post(f"/cds-services/{SERVICE}", data=request, content_type="application/json")
    fired = {
        "service": SERVICE,
        "request": request,
        "status": reply.status_code,
        "answer": reply.get_data(as_text=True),
    }
    shown = client.post("/workbench/explain", json=fired | changed)
    assert shown.status_code == 200, shown.get_data(as_text=True)
    assert shown.mimetype == "text/html"
    assert shown.headers["Cache-Control"] == "no-store"
    return shown.get_data(as_text=True)


def read(name: str) -> str:
    return fixture_text(FIXTURES / "order-sign" / f"{name}.json")


def test_the_page_offers_every_fixture_and_names_the_services(client: FlaskClient) -> None:
    page = client.get("/").get_data(as_text=True)
    offered = set(re.findall(r'<option value="([^"]+\.json)"', page))
    assert offered == {p.relative_to(FIXTURES).as_posix() for p in FIXTURES.glob("*-*/*.json")}
    assert "order-sign-crd" in page


def test_a_fixture_comes_as_its_file_but_for_its_days(client: FlaskClient) -> None:
    name = "order-sign/unusual-numbers-and-extensions.json"
    reply = client.get(f"/workbench/fixtures/{name}")
    assert reply.get_data() == fixture_text(FIXTURES / name).encode()
    for outside in ("../README.md", "README.md", "order-sign/none.json"):
        assert client.get(f"/workbench/fixtures/{outside}").status_code == 404


def test_an_answer_is_shown_as_cards_changes_and_the_way_to_it(client: FlaskClient) -> None:
    html = explained(client, read("mrs-medicare-advantage"))
    assert html.count('<article class="card card-') == 2
    assert "medical policy: MR spectroscopy (76390)" in html
    assert "<strong>Why:</strong>" in html
    assert 'rel="noopener noreferrer"' in html
    assert "Everything else in the order stays as it was sent." in html
    assert re.search(r"<dt>Assertion id</dt>\s*<dd>cc[0-9a-f]{30}</dd>", html)
    steps = re.findall(r'<li class="step-([a-z]+)">', html)
    assert set(steps) == {
        "date",
        "coverage",
        "program",
        "coding",
        "policy",
        "authority",
        "answer",
        "notice",
        "review",
    }


def test_the_card_of_the_answer_itself_is_shown_for_feedback_names_its_uuid(
    client: FlaskClient,
) -> None:
    request = read("mrs-medicare-advantage")
    card = {
        "uuid": "uuid-of-the-answer",
        "summary": "A summary",
        "indicator": "critical",
        "source": {"label": "Plan"},
        "suggestions": [{"label": "Do it", "uuid": "uuid-of-the-suggestion", "actions": []}],
    }
    html = explained(client, request, answer=json.dumps({"cards": [card]}), status=200)
    assert 'data-card="uuid-of-the-answer"' in html
    assert 'data-accept="uuid-of-the-suggestion"' in html
    assert "card-critical" in html


def test_a_refused_call_shows_what_was_wrong_with_it(client: FlaskClient) -> None:
    html = explained(client, '{"hook": "order-sign"}')
    assert "The service refused the call (HTTP 4" in html
    assert "context" in html
    assert 'class="path"' not in html


def test_markup_in_an_order_shows_as_characters(client: FlaskClient) -> None:
    html = explained(client, read("hostile-order-name"))
    assert "<script" not in html
    assert not re.search(r'href="javascript:', html)


def test_a_link_that_is_no_web_address_cannot_be_followed(client: FlaskClient) -> None:
    card = {
        "summary": "x",
        "source": {"label": "y"},
        "detail": "<img src=x onerror=alert(1)>",
        "links": [{"label": "bad", "url": "javascript:alert(1)"}],
    }
    html = explained(client, read("no-orders"), answer=json.dumps({"cards": [card]}), status=200)
    assert 'href="javascript' not in html
    assert "<img" not in html


@pytest.mark.threat("visitor-flood")
@pytest.mark.parametrize("cards", [1, 40])
def test_details_longer_than_any_answer_here_has_are_not_shown(
    client: FlaskClient, cards: int
) -> None:
    """Markdown takes a hundred times as long as a call by the byte, and anybody may ask for it."""
    card = {"summary": "x", "source": {"label": "y"}, "detail": "[" * (50_001 // cards + 1)}
    answer = json.dumps({"cards": [card] * cards})
    fired = {"service": SERVICE, "request": "{}", "status": 200, "answer": answer}
    reply = client.post("/workbench/explain", json=fired)
    assert reply.status_code == 413
    assert "answer.cards" in reply.get_data(as_text=True)


@pytest.mark.threat("visitor-flood")
def test_an_explanation_is_made_in_the_visitors_turn(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[str] = []
    held = Turn.held

    @contextmanager
    def noted(turn: Turn) -> Iterator[None]:
        with held(turn):
            taken.append("begin")
            yield
            taken.append("end")

    monkeypatch.setattr(Turn, "held", noted)
    fired = {"service": SERVICE, "request": "{}", "status": 200, "answer": "{}"}
    assert client.post("/workbench/explain", json=fired).status_code == 200
    assert taken == ["begin", "end"]


class Compared(dict[str, Any]):
    """An extension that counts its comparisons."""

    times = 0
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        Compared.times += 1
        return super().__eq__(other)


def test_extensions_are_not_compared_each_with_each() -> None:
    """Of ten thousand in an order and in what is said to change it that would take minutes."""
    before: dict[str, Any] = {"resourceType": "ServiceRequest", "id": "x"}
    after = dict(before)
    before["extension"] = [Compared(url=f"b{n}") for n in range(200)] + [Compared(url="same")]
    after["extension"] = [Compared(url="same")] + [Compared(url=f"a{n}") for n in range(200)]
    sent = Resources()
    sent.add(Resource(before, Document(b"{}", before), ()))
    answer = ShownAnswer(system_actions=[ShownAction(type="update", resource=after)])
    (change,) = order_changes(answer, sent)
    assert change.others == ("extension",)
    assert Compared.times < 1_000


def test_an_element_that_changes_besides_is_told(client: FlaskClient) -> None:
    request = read("mrs-medicare-advantage")
    reply = client.post(f"/cds-services/{SERVICE}", data=request, content_type="application/json")
    answer = reply.get_json()
    answer.get("systemActions", [])[0]["resource"]["status"] = "active"
    html = explained(client, request, answer=json.dumps(answer))
    assert "Changed besides: status." in html


def test_several_orders_each_have_their_way(client: FlaskClient) -> None:
    html = explained(client, read("disc-pain-four-orders"))
    assert html.count('<ol class="path">') == 4


@pytest.mark.parametrize(
    "body",
    ["[]", "{}", '{"service": "order-sign-crd", "request": "{}", "status": 200, "answer": "["}'],
)
def test_what_is_no_fired_call_is_refused(client: FlaskClient, body: str) -> None:
    reply = client.post("/workbench/explain", data=body, content_type="application/json")
    assert reply.status_code == 400
    assert reply.get_json()["resourceType"] == "OperationOutcome"


def test_a_form_of_another_site_cannot_post_here(client: FlaskClient) -> None:
    reply = client.post("/workbench/explain", data="{}", content_type="text/plain")
    assert reply.status_code == 415


def test_switched_off_it_is_not_there_and_the_root_leads_to_the_policies(
    tmp_path: Path,
) -> None:
    client = create_app(in_folder(tmp_path, workbench="off"), clock=lambda: NOW).test_client()
    reply = client.get("/")
    assert (reply.status_code, reply.headers["Location"]) == (302, "/policies")
    assert client.post("/workbench/explain", json={}).status_code == 404
    assert client.get("/workbench/fixtures/order-sign/no-orders.json").status_code == 404
    assert "Workbench" not in client.get("/policies").get_data(as_text=True)


@pytest.mark.parametrize(
    ("settings", "on"),
    [
        ({}, True),
        ({"host": "localhost"}, True),
        ({"host": "::1"}, True),
        ({"host": "0.0.0.0"}, False),
        ({"public_url": "https://crd.example.org"}, False),
        ({"public_url": "http://localhost:9000"}, True),
        ({"host": "0.0.0.0", "workbench": "on"}, True),
        ({"workbench": "off"}, False),
    ],
)
def test_by_itself_it_is_on_only_where_nobody_else_can_reach_it(
    settings: dict[str, Any], on: bool
) -> None:
    assert Settings(**settings).workbench_on is on


def test_where_clients_are_asked_for_answers_are_shown_but_none_is_decided(
    tmp_path: Path,
) -> None:
    """Whoever has no token may look at an answer that he has, and read the policies."""
    settings = in_folder(tmp_path, client_auth="required", clients_file=CLIENTS, workbench="on")
    client = create_app(settings, clock=lambda: NOW).test_client()
    request = read("mrs-medicare-advantage")
    refused = client.post(f"/cds-services/{SERVICE}", data=request, content_type="application/json")
    assert refused.status_code == 401
    card = {"summary": "A summary", "source": {"label": "Plan"}}
    html = explained(client, request, answer=json.dumps({"cards": [card]}), status=200)
    assert "A summary" in html
    assert "only where the service asks for no client" in html
    assert '<ol class="path">' not in html
    for path in ("/", "/policies", "/policies/mr-spectroscopy.json"):
        assert client.get(path).status_code == 200


def test_the_way_to_an_answer_comes_as_json_for_programs(client: FlaskClient) -> None:
    fired = {"service": SERVICE, "request": read("mrs-medicare-advantage"), "status": 200}
    reply = client.post(
        "/workbench/explain",
        json=fired | {"answer": '{"cards": []}'},
        headers={"Accept": "application/json"},
    )
    assert reply.status_code == 200
    assert reply.headers["Cache-Control"] == "no-store"
    (determination,) = reply.get_json()["determinations"]
    assert determination["order"] == "ServiceRequest/mrs-brain"
    assert ["date", "2026-12-01", "occurrenceDateTime"] in determination["trace"]
    assert determination["trace"][-1][0] == "notice"


def test_a_refused_call_has_no_way_to_tell_programs(client: FlaskClient) -> None:
    fired = {"service": SERVICE, "request": "{}", "status": 400, "answer": "{}"}
    reply = client.post("/workbench/explain", json=fired, headers={"Accept": "application/json"})
    assert reply.status_code == 200
    assert reply.get_json()["determinations"] == []


def test_where_clients_are_asked_for_no_way_is_told(tmp_path: Path) -> None:
    settings = in_folder(
        tmp_path, clients_file=CLIENTS, workbench="on", public_url="https://covercard.example.org"
    )
    client = create_app(settings).test_client()
    fired = {"service": SERVICE, "request": "{}", "status": 400, "answer": "{}"}
    reply = client.post("/workbench/explain", json=fired, headers={"Accept": "application/json"})
    assert reply.status_code == 404
