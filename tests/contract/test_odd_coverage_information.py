"""Another payer's coverage information is that payer's: however odd it is, it breaks nothing here.

It stands on an order that this service is asked about. It may have parts of wrong types, parts
without names, codes that nobody knows; it may name other coverages, or none.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given
from hypothesis import settings as of_examples
from hypothesis import strategies as st

from cards.coverage_information import EXTENSION_URL
from cards.coverage_information.reader import read_extension
from service.bootstrap.app import RECORDER, create_app
from service.cli import cli
from service.fhir.extension_display import value_in_words
from service.settings import Settings
from tests.conftest import FIXTURES, NOW, fixture_text, in_folder, settle
from tests.contract.answer_rules import check_answer, parts, stated
from tests.contract.test_mutated_requests import mutate
from tests.e2e.readers import READER, SECRET, readers_file

Json = dict[str, Any]
SEED = fixture_text(FIXTURES / "order-sign" / "mrs-medicare-advantage.json")
URL = "/cds-services/order-sign-crd"


def statement(*parts: Json) -> Json:
    return {"url": EXTENSION_URL, "extension": [*parts]}


THEIRS = statement(
    {"url": "coverage", "valueReference": {"reference": "Coverage/other"}},
    {"url": "covered", "valueCode": "covered"},
    {"url": "pa-needed", "valueCode": "satisfied"},
    {
        "url": "billingCode",
        "valueCoding": {"system": "http://www.ama-assn.org/go/cpt", "code": "76390"},
    },
    {
        "url": "reason",
        "valueCodeableConcept": {"coding": [{"code": "gold-card"}], "text": "Gold card."},
    },
    {
        "url": "detail",
        "extension": [
            {"url": "category", "valueCodeableConcept": {"coding": [{"code": "cat-limitation"}]}},
            {"url": "code", "valueCodeableConcept": {"text": "notice-on-file"}},
            {"url": "value", "valueString": "QuestionnaireResponse/theirs"},
        ],
    },
    {"url": "questionnaire", "valueCanonical": "https://other.example.org/Questionnaire/x|1"},
    {"url": "date", "valueDate": "2026-11-01"},
    {"url": "coverage-assertion-id", "valueString": "12345ABC"},
    {"url": "satisfied-pa-id", "valueString": "Q8U119"},
    {
        "url": "contact",
        "valueContactPoint": {"system": "url", "value": "https://other.example.org"},
    },
)
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**40), 2**40),
    st.sampled_from(["", " ", "maybe", "Ü", "\u202e", "urn:uuid:x", "not-a-code", "[", "<b>"]),
    st.sampled_from([[], {}, [None], [[]], [{}], [1], ["x"], {"coding": 1}, {"coding": [1, None]}]),
    st.sampled_from([{"telecom": "x"}, {"telecom": [1]}, {"extension": {}}, {"extension": [3]}]),
    st.just({"reference": ["Coverage/ma-ann"]}),
)


@st.composite
def odd_statements(draw: st.DrawFn) -> Json:
    """A statement with up to five of its values replaced, removed, renamed or doubled."""
    made: Json = copy.deepcopy(THEIRS)
    if draw(st.booleans()):  # on the very coverage that is answered about
        made["extension"][0]["valueReference"]["reference"] = "Coverage/ma-ann"
    for _ in range(draw(st.integers(1, 5))):
        node = made["extension"] if isinstance(made.get("extension"), list) else made
        mutate(draw, node, ODD, ["valueX", "value", "extension", "url"])
    if not draw(st.integers(0, 9)):
        made["extension"] = copy.deepcopy(draw(ODD))
    return made


def with_statements(*statements: object) -> Json:
    """The call about an order that carries them."""
    request: Json = json.loads(SEED)
    order = request["context"]["draftOrders"]["entry"][0]["resource"]
    order["extension"] = [*order.get("extension", []), *statements]
    return request


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("odd")
    return in_folder(folder, readers_file=readers_file(folder))


@pytest.fixture(scope="module")
def http(own: Settings) -> Iterator[FlaskClient]:
    app = create_app(own, clock=lambda: NOW)
    yield app.test_client()
    app.extensions[RECORDER].stop()


@pytest.fixture(scope="module")
def reader(http: FlaskClient) -> FlaskClient:
    client = http.application.test_client()
    signed = client.post("/decisions/sign-in", data={"name": READER, "secret": SECRET})
    assert signed.status_code == 303
    return client


@of_examples(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(statements=st.lists(odd_statements(), min_size=1, max_size=3))
def test_hook_workbench_and_decision_page_stand_whatever_another_payer_wrote(
    http: FlaskClient, reader: FlaskClient, statements: list[Json]
) -> None:
    request = with_statements(*statements)
    reply = http.post(URL, json=request)
    assert reply.status_code in (200, 400, 422), reply.text
    answer = reply.get_json()
    fired = {
        "service": "order-sign-crd",
        "request": json.dumps(request),
        "status": reply.status_code,
        "answer": reply.text,
    }
    assert http.post("/workbench/explain", json=fired).status_code == 200
    if reply.status_code != 200:
        assert all(issue["diagnostics"] for issue in answer["issue"])
        return
    check_cards_and_own_statement(answer)
    kept = answer["systemActions"][0]["resource"]["extension"] if answer["systemActions"] else []
    for theirs in statements:
        # A statement on another coverage is not ours to change (CRD 2.2.1 resp-37).
        if read_extension(theirs).coverage == "Coverage/other":
            assert not kept or without_nulls(theirs) in kept
    settle(http)
    page = reader.get("/decisions").text
    (token, *_) = re.findall(r'name="form_token" value="([^"]+)"', page)
    wanted = {"form_token": token, "assertion_id": reply.headers["Covercard-Call"]}
    shown = reader.post("/decisions", data=wanted, follow_redirects=True)
    assert shown.status_code == 200 and "ServiceRequest/mrs-brain" in shown.text


def check_cards_and_own_statement(answer: Json) -> None:
    """The answer without what others have written: that comes back as it was sent."""
    ours = copy.deepcopy(answer)
    for action in ours["systemActions"]:
        order = action["resource"]
        (own,) = [e for e in order["extension"] if is_ours(e)]
        order["extension"] = [own]
    check_answer(ours)
    for covered in stated(ours):
        assert parts(covered, "covered") == ["not-covered"]


def is_ours(extension: Json) -> bool:
    """Whether a statement has an assertion id of this service's."""
    return re.search(r"\bcc[0-9a-f]{30}\b", json.dumps(extension)) is not None


def without_nulls(node: Any) -> Any:
    """The statement as it is read: members that are null are absent."""
    if isinstance(node, list):
        return [without_nulls(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {key: without_nulls(value) for key, value in node.items() if value is not None}
    return {key: value for key, value in kept.items() if value != {} or node[key] == {}}


def test_an_approval_that_names_no_coverage_is_nobodys(http: FlaskClient) -> None:
    unnamed = copy.deepcopy(THEIRS)
    del unnamed["extension"][0]
    answer = http.post(URL, json=with_statements(unnamed)).get_json()
    summaries = [card["summary"] for card in answer["cards"]]
    assert summaries[0].startswith("Not covered under the plan's medical policy")
    own = [e for e in stated(answer) if is_ours(e)]
    assert [parts(e, "covered") for e in own] == [["not-covered"]]


@given(part=odd_statements())
def test_any_statement_has_words(part: Json) -> None:
    assert isinstance(value_in_words(part), str)


ODD_ONES: dict[str, list[object]] = {
    "parts that are no list": [{"url": EXTENSION_URL, "extension": {"url": "covered"}}],
    "nothing in it": [{"url": EXTENSION_URL}],
    "parts without a name": [statement({"valueCode": "covered"}, {"extension": [{"valueX": 1}]})],
    "parts that are no objects": [{"url": EXTENSION_URL, "extension": [1, None, [], "x"]}],
    "codings that are none": [
        statement({"url": "reason", "valueCodeableConcept": {"coding": ["x", None, 7]}}),
        statement({"url": "reason", "valueCodeableConcept": {"coding": "x"}}),
    ],
    "contacts that are none": [
        statement({"url": "contact", "valueContactDetail": {"telecom": ["tel:1"]}})
    ],
    "codes that nobody knows": [
        statement(
            {"url": "coverage", "valueReference": {"reference": "Coverage/ma-ann"}},
            {"url": "covered", "valueCode": "perhaps"},
            {"url": "pa-needed", "valueCode": "sometimes"},
        )
    ],
    "two of the same, one of them a number": [
        statement({"url": "covered", "valueCode": "covered"}, {"url": "covered", "valueInteger": 1})
    ],
    "what another payer has said in full": [THEIRS],
}


@pytest.mark.parametrize("odd", ODD_ONES)
def test_commands_and_explain_stand_whatever_another_payer_wrote(
    odd: str,
    http: FlaskClient,
    own: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COVERCARD_DATABASE_URL", own.database_url)
    monkeypatch.setenv("COVERCARD_RECORDS_DIR", str(own.records_dir))
    monkeypatch.setenv("COLUMNS", "200")
    run: Callable[..., Result] = lambda *words: CliRunner().invoke(  # noqa: E731
        cli, [*words], catch_exceptions=False
    )
    request = with_statements(*ODD_ONES[odd])
    reply = http.post(URL, json=request)
    settle(http)
    file = tmp_path / "call.json"
    file.write_text(json.dumps(request), "utf-8")
    fired = run("fire", str(file), "--explain")
    assert fired.exit_code == (0 if reply.status_code == 200 else 1)
    call = reply.headers["Covercard-Call"]
    assert run("decisions", "show", call).exit_code == 0
    assert run("decisions", "show", call, "--answer").exit_code == 0
    if reply.status_code != 200:
        return
    assert "Why: ServiceRequest/mrs-brain" in fired.output
    (assertion, *_) = re.findall(r"cc[0-9a-f]{30}", reply.text)
    assert run("decisions", "show", assertion).exit_code == 0
    assert run("decisions", "find", "--order", "ServiceRequest/mrs-brain").exit_code == 0
    evidence = tmp_path / "evidence.html"
    made = run("decisions", "evidence", assertion, "--output", str(evidence))
    assert made.exit_code == 0, made.output
    exported = tmp_path / "exported"
    for format_ in ("metrics-ndjson", "csv", "ndjson"):
        made = run("decisions", "export", "--format", format_, "--output", str(exported))
        assert made.exit_code == 0, made.output
