"""LHC-Forms and Smart Forms render every form, filled in, and send it back: the order is settled.

`make dtr-clients` fetches both; without it these tests are SKIPPED, and say so.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import pytest
from fhir.resources.R4B.questionnaireresponse import QuestionnaireResponse
from playwright.sync_api import Browser, Error

from tests.contract.answer_rules import parts, stated
from tests.contract.calls import change_orders
from tests.contract.test_example_policies import CPT, EXAMPLES, HCPCS, ICD, saturation
from tests.contract.test_questionnaire_package import CANONICAL, asked
from tests.dtr_clients import is_set_up, served
from tests.e2e.renderers import RENDERERS, Amount, App, Box, Choice, Given, expect_shown, opened
from tests.e2e.servers import Server
from tests.e2e.test_notice_round_trip import request_of
from tests.filling import answers_of, questions

Json = dict[str, Any]
TODAY = datetime.now(UTC).date()
ADDRESS = "/fhir/2.2"

pytestmark = pytest.mark.chromium


@dataclass(frozen=True)
class Way:
    """A form's way: the order that asks for it, the answers in their order, and what they change.

    `before` and `after` are what the coverage information says as (part, values).
    """

    fixture: str
    answers: Mapping[str, Given]
    before: tuple[str, list[str]]
    after: tuple[str, list[str]]
    service: tuple[str, str] | None = None
    diagnoses: tuple[str, ...] = ()
    chart: tuple[Json, ...] = ()
    shown: Mapping[str, str] = field(default_factory=dict)

    def order(self) -> Json:
        """The hook request."""
        request = request_of(self.fixture)
        if self.service is None:
            return request
        system, code = self.service

        def change(order: Json) -> None:
            order["code"] = {"coding": [{"system": system, "code": code}]}
            order["reasonCode"] = [{"coding": [{"system": ICD, "code": d}]} for d in self.diagnoses]

        return with_chart(change_orders(request, change), *self.chart)


def with_chart(request: Json, *chart: Json) -> Json:
    """The request with these resources in its prefetch, beside what is there."""
    entries = [{"resource": resource} for resource in chart]
    bundle = {"resourceType": "Bundle", "type": "searchset", "entry": entries}
    return {**request, "prefetch": {**request["prefetch"], "chart": bundle}}


WAYS: Mapping[str, Way] = {
    "abn-record": Way(
        "mrs-original-medicare",
        {
            "refused": False,
            "form-expires": date(2029, 3, 31),
            "cost-estimate": "850",
            "option": Choice("Option 1"),
            "signed-by": Choice("The patient"),
            "signed-on": TODAY,
            "explained-by": "Rae Example, front desk",
        },
        before=("doc-needed", ["admin"]),
        after=("doc-needed", []),
        shown={"patient-name": "Bo Sampleson", "service-code": "76390"},
    ),
    "organization-determination-request": Way(
        "mrs-medicare-advantage",
        {
            "requested-by": Choice("The treating provider"),
            "requester-name": "Dr. Quill Exemplar",
            "kind": Choice("Standard"),
            "supporting-notes": "The scan would decide on surgery.",
            "sent-on": TODAY,
        },
        before=("doc-needed", ["clinical"]),
        after=("doc-needed", []),
        shown={"patient-name": "Ann Testcase", "plan": "Example Health Plan"},
    ),
    "conservative-care": Way(
        "mrs-medicare-advantage",
        {"kind-of-care": "Physical therapy", "weeks-of-care": "8"},
        before=("covered", ["conditional"]),
        after=("covered", ["covered"]),
        service=(CPT, "72148"),
        diagnoses=("M54.50",),
        shown={"service": "MRI of the lumbar spine (72148)"},
    ),
    "hospital-bed-need": Way(
        "mrs-medicare-advantage",
        {"position": "Upright, for two hours.", "ordinary-bed": "Its head does not rise."},
        # It goes with the order and the claim: covered with it and without, and asked for once.
        before=("doc-needed", ["clinical"]),
        after=("doc-needed", []),
        service=(HCPCS, "E0250"),
        diagnoses=("G82.20",),
        shown={"diagnosis": "G82.20"},
    ),
    "oxygen-need": Way(
        "mrs-medicare-advantage",
        {
            "lung-disease": Choice("COPD, unspecified"),
            "equipment": Choice("Concentrator, one outlet"),
            "treatment-tried": True,
            "treatments": Box("Pulmonary rehabilitation"),
            "flow": Amount("2", "L/min"),
            "when": Box("At rest"),
            "supplied-by": Choice("The plan's contracted supplier"),
        },
        before=("covered", ["conditional"]),
        after=("covered", ["covered"]),
        service=(HCPCS, "E1390"),
        diagnoses=("J44.9",),
        chart=(saturation(86, TODAY.isoformat()),),
        shown={"saturation": "86", "months": "12", "diagnosis": "J44.9"},
    ),
}
WALKS: tuple[tuple[str, Mapping[str, Given], str], ...] = (
    ("conservative-care", {"weeks-of-care": "8"}, "covered"),
    ("conservative-care", {"weeks-of-care": "2"}, "not-covered"),
    ("oxygen-need", {"treatment-tried": True}, "covered"),
)
"""Adaptive forms: of which form, the answers that are asked for, and what the plan then says."""
SHIPPED = ("abn-record", "organization-determination-request")

each_version = pytest.mark.parametrize("address", ["/fhir/2.0", "/fhir/2.2"])
each_renderer = pytest.mark.parametrize("name", sorted(RENDERERS))


@pytest.fixture(scope="module")
def pages() -> Iterator[str]:
    if not is_set_up():
        reason = "SKIPPED: no published renderer fills in the forms; make dtr-clients fetches them"
        warnings.warn(reason, stacklevel=1)
        pytest.skip(reason)
    with served() as origin:
        yield origin


@pytest.fixture(scope="module")
def shipped(pages: str, start_server: Callable[..., Server]) -> Server:
    return start_server(cors_origins=pages)


@pytest.fixture(scope="module")
def example(pages: str, start_server: Callable[..., Server]) -> Server:
    return start_server(cors_origins=pages, policies_dir=EXAMPLES)


Open = Callable[..., App]


@pytest.fixture
def open_app(browser: Browser, pages: str) -> Iterator[Open]:
    """Opens the app of a renderer, for a server."""
    running: list[Iterator[App]] = []

    def opening(server: Server, name: str, address: str = ADDRESS) -> App:
        app = opened(browser, pages, name, server.base + address)
        running.append(app)
        return next(app)

    yield opening
    for app in running:
        assert next(app, None) is None


def said(server: Server, request: Json) -> Json:
    """The coverage information of the answer."""
    reply = server.post("/cds-services/order-sign-crd", json=request)
    assert reply.status_code == 200, reply.text
    (info,) = stated(reply.json())
    return info


def package_input(request: Json, *more: tuple[str, Any]) -> Json:
    """What the app posts for the order of a request, with all that the EHR gave."""
    prefetch = request["prefetch"]
    referenced = [
        e["resource"]
        for bundle in (prefetch["coverage"], prefetch.get("chart", {}))
        for e in bundle.get("entry", ())
        if e["resource"]["resourceType"] != "Coverage"
    ]
    given = [("referenced", r) for r in (prefetch["patient"], *referenced)]
    return asked(request, *given, *more)


def form_and_begun(package: list[Json]) -> tuple[Json, Json]:
    (begun,) = (r for r in package if r["resourceType"] == "QuestionnaireResponse")
    return package[0], begun


def begin(app: App, request: Json) -> tuple[Json, Json]:
    """The form of the request's order with its response, shown."""
    form, begun = form_and_begun(app.package(package_input(request)))
    app.show(form, begun)
    return form, begun


@each_renderer
@pytest.mark.parametrize("form_id", WAYS)
@pytest.mark.form_rule("dtr-renderers")
def test_a_form_is_shown_filled_in_and_settles_its_order(
    shipped: Server, example: Server, open_app: Open, name: str, form_id: str
) -> None:
    way = WAYS[form_id]
    server = shipped if form_id in SHIPPED else example
    request = way.order()
    first = said(server, request)
    assert parts(first, way.before[0]) == way.before[1]

    app = open_app(server, name)
    form, begun = begin(app, request)
    assert form["id"] == form_id
    for item in questions(form["item"]):
        if not item.get("enableWhen") and not is_hidden(item):
            assert app.renderer.page.get_by_text(item["text"]).first.is_visible(), item["linkId"]
    for link_id, text in way.shown.items():
        expect_shown(app, link_id, text)
    for link_id, value in way.answers.items():
        app.give(link_id, value)

    back = app.response()
    returned = dict(answers_of(back["item"]))
    QuestionnaireResponse.model_validate(back)
    assert way.answers.keys() <= returned.keys()
    kept = {link for link, _ in answers_of(begun["item"])}
    assert kept - returned.keys() <= LOST[name]
    second = said(server, with_form(request, back))
    assert parts(second, way.after[0]) == way.after[1]


LOST = {"lhc-forms": {"order-summary"}, "smart-forms": set[str]()}
"""Questions whose answers a renderer drops: LHC-Forms knows no references."""


def is_hidden(item: Json) -> bool:
    return any(e["url"].endswith("questionnaire-hidden") for e in item.get("extension", ()))


def with_form(request: Json, response: Json) -> Json:
    """The order signed again, the EHR now having this response."""
    entry = [{"resource": {**response, "id": "form-back"}}]
    forms = {"resourceType": "Bundle", "type": "searchset", "entry": entry}
    return {**request, "prefetch": {**request["prefetch"], "forms": forms}}


def test_every_form_has_a_way(shipped: Server, example: Server) -> None:
    """Whoever adds a form says how a renderer fills it in."""
    served_here = {
        entry["resource"]["id"]
        for server in (shipped, example)
        for entry in server.get("/fhir/Questionnaire").json()["entry"]
    }
    adaptive = {f"{form_id}-adaptive" for form_id, _, _ in WALKS}
    assert served_here == {*WAYS, *adaptive, "oxygen-supplier"}


@each_renderer
def test_what_a_renderer_leaves_of_a_response(example: Server, open_app: Open, name: str) -> None:
    app = open_app(example, name)
    _, begun = begin(app, WAYS["oxygen-need"].order())
    rendered = app.rendered()
    lost = {key for key in begun if key not in rendered}
    origins = [a for _, a in answers_of(rendered["item"]) if "extension" in a]
    if name == "lhc-forms":
        assert lost == {"id", "contained", "extension", "subject"}
        assert origins == []
    else:
        assert lost == set()
        assert len(origins) == len(list(answers_of(begun["item"])))
    assert rendered["questionnaire"] == begun["questionnaire"]


@each_version
@each_renderer
def test_lists_of_answers_come_from_the_payer(
    example: Server, open_app: Open, name: str, address: str
) -> None:
    app = open_app(example, name, address)
    called: list[str] = []
    app.renderer.page.on("request", lambda r: called.append(r.url))
    begin(app, WAYS["oxygen-need"].order())
    app.give("lung-disease", Choice("Idiopathic pulmonary fibrosis"))
    app.give("equipment", Choice("Portable concentrator"))
    answers = dict(answers_of(app.response()["item"]))
    assert answers["lung-disease"]["valueCoding"] == {
        "system": ICD,
        "code": "J84.112",
        "display": "Idiopathic pulmonary fibrosis",
    }
    assert answers["equipment"]["valueCoding"]["code"] == "E1392"
    expanded = [url for url in called if "/ValueSet/$expand?" in url]
    assert len(expanded) >= 2
    assert all(url.startswith(app.payer) for url in expanded)


@each_renderer
def test_a_list_that_came_with_the_package_is_not_asked_for(
    example: Server, open_app: Open, name: str
) -> None:
    app = open_app(example, name)
    called: list[str] = []
    app.renderer.page.on("request", lambda r: called.append(r.url))
    package = app.package(package_input(WAYS["oxygen-need"].order()))
    form, begun = form_and_begun(package)
    app.show(app.with_lists(form, package), begun)
    app.give("equipment", Choice("Portable concentrator"))
    chosen = dict(answers_of(app.response()["item"]))["equipment"]["valueCoding"]
    assert (chosen["system"], chosen["code"]) == (HCPCS, "E1392")
    assert not [url for url in called if "oxygen-equipment" in url]


def test_smart_forms_shows_the_look_up_form_and_lhc_forms_knows_no_references_to_choose(
    example: Server, open_app: Open
) -> None:
    form = example.get(f"{ADDRESS}/Questionnaire/oxygen-supplier").json()
    begun = {"resourceType": "QuestionnaireResponse", "status": "in-progress"}
    begun["questionnaire"] = f"{form['url']}|{form['version']}"
    smart = open_app(example, "smart-forms")
    smart.show(form, begun)
    smart.give("name", "Example Oxygen")
    assert dict(answers_of(smart.response()["item"]))["name"]["valueString"] == "Example Oxygen"
    with pytest.raises(Error, match="Unable to handle data type in answerOption: valueReference"):
        open_app(example, "lhc-forms").show(form, begun)


def adaptive_package(app: App, request: Json, form_id: str) -> tuple[Json, Json]:
    named = ("questionnaire", {"valueCanonical": f"{CANONICAL}{form_id}-adaptive"})
    return form_and_begun(app.package(package_input(request, named)))


@each_version
@each_renderer
@pytest.mark.parametrize(("form_id", "answers", "covered"), WALKS)
@pytest.mark.form_rule("dtr-renderers")
def test_an_adaptive_form_is_asked_question_by_question(
    example: Server,
    open_app: Open,
    name: str,
    address: str,
    form_id: str,
    answers: Mapping[str, Given],
    covered: str,
) -> None:
    request = WAYS[form_id].order()
    assert parts(said(example, request), "covered") == ["conditional"]
    app = open_app(example, name, address)
    first, response = adaptive_package(app, request, form_id)
    # In DTR 2.0 the first form brings the first question.
    assert ("item" in first) == address.endswith("2.0")
    given: set[str] = set()
    if "item" not in first:
        response = app.next_question(response)
    while response["status"] == "in-progress":
        (contained,) = response["contained"]
        app.show(contained, response)
        asked_now = {i["linkId"] for i in questions(contained["item"]) if i["type"] != "group"}
        for link_id in sorted(asked_now - given):
            app.give(link_id, answers[link_id])
        given |= asked_now
        response = app.next_question()
    assert given == answers.keys()
    assert response["status"] == "completed"
    second = said(example, with_form(request, response))
    assert parts(second, "covered") == [covered]
