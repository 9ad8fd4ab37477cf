"""Policies' own forms at the EHR: brought beside the Task where the EHR has none."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from cards.questionnaires import Form, load_forms
from service.bootstrap.app import Library, wire_review
from service.settings import load_settings
from tests.conftest import NOW, ROOT
from tests.contract.answer_rules import check_answer
from tests.contract.calls import asking, change_orders
from tests.e2e.fetch.conftest import bare
from tests.e2e.fetch.ehrs import Behavior, Ehr, Handler, hang, status

Json = dict[str, Any]

EXAMPLES = ROOT / "examples" / "policies"
CPT = "http://www.ama-assn.org/go/cpt"
SIGN = "order-sign/mrs-medicare-advantage"
ALL_OF_IT = ("patient", "coverage", "encounter")
VERSIONS = ("2.0", "2.2")


@pytest.fixture(scope="module")
def library() -> Library:
    return Library(load_settings(policies_dir=EXAMPLES))


@pytest.fixture(scope="module")
def form(library: Library) -> Form:
    """The form of the lumbar MRI's policy, as the service serves it."""
    settings = load_settings(policies_dir=EXAMPLES)
    found = load_forms(library.questionnaires, settings.form_bases).get("conservative-care")
    assert found is not None
    return found


Ask = Callable[..., list[Json]]


@pytest.fixture
def ask(ehr: Ehr, library: Library) -> Ask:
    """The cards on an order, by the setting for buttons: `ask("task", code=…, version=…)`."""

    def post(setting: str, *, code: str = "72148", version: str = "2.2", **more: Any) -> list[Json]:
        settings = load_settings(
            policies_dir=EXAMPLES,
            notice_suggestion=setting,
            **{"fetch_budget_ms": 20_000, **more},
        )
        request = change_orders(
            bare(SIGN, ehr.base, *ALL_OF_IT),
            lambda order: order.update(
                code={"coding": [{"system": CPT, "code": code}]},
                reasonCode=[
                    {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "M54.50"}]}
                ],
            ),
        )
        review = wire_review(settings, library, clock=lambda: NOW)
        body = json.dumps(asking(request, version)).encode()
        answer: Json = msgspec.json.decode(review.review("order-sign-crd", body).answer)
        check_answer(answer)
        return list(answer["cards"])

    return post


def created(cards: list[Json]) -> list[Json]:
    """The actions of the only button."""
    ((suggestion,),) = (c["suggestions"] for c in cards if c.get("suggestions"))
    return list(suggestion["actions"])


def types(actions: list[Json]) -> list[str]:
    return [a["resource"]["resourceType"] for a in actions]


def forms_asked_for(ehr: Ehr) -> list[dict[str, list[str]]]:
    split = [urlsplit(path) for path in ehr.paths]
    return [parse_qs(p.query) for p in split if p.path == "/fhir/Questionnaire"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.requirement(
    "crd-2.2.1:dev-19", "crd-2.2.1:dev-20", "crd-2.0.1:134", "crd-2.0.1:135", "crd-2.0.1:136"
)
def test_an_ehr_without_the_form_gets_it_before_the_task(
    ehr: Ehr, ask: Ask, form: Form, version: str
) -> None:
    brought, task = created(ask("task-and-form", version=version))
    assert forms_asked_for(ehr) == [{"url": [form.url], "version": [form.version]}]
    assert brought["type"] == "create"
    assert brought["resource"] == form.resource
    query = f"url={form.url}&version={form.version}"
    assert brought["extension"] == {"davinci-crd.if-none-exist": query}
    (asked,) = (i["valueCanonical"] for i in task["resource"]["input"] if "valueCanonical" in i)
    assert asked == form.url


def test_an_ehr_with_the_form_gets_the_task_alone(ehr: Ehr, ask: Ask, form: Form) -> None:
    def has_it(handler: Handler) -> None:
        found = [{"resource": form.resource}]
        handler.send_json({"resourceType": "Bundle", "type": "searchset", "entry": found})

    ehr.misbehave["Questionnaire"] = has_it
    assert types(created(ask("task-and-form"))) == ["Task"]
    assert forms_asked_for(ehr)


@pytest.mark.parametrize("trouble", [hang, status(403), status(500)])
def test_an_ehr_that_does_not_answer_gets_the_task_alone(
    ehr: Ehr, ask: Ask, trouble: Behavior
) -> None:
    ehr.misbehave["Questionnaire"] = trouble
    assert types(created(ask("task-and-form", fetch_budget_ms=400))) == ["Task"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_response_begun_comes_along_and_the_task_points_at_it(
    ask: Ask, form: Form, version: str
) -> None:
    actions = created(ask("task-form-and-response", version=version))
    assert types(actions) == ["Questionnaire", "QuestionnaireResponse", "Task"]
    _, response, task = (a["resource"] for a in actions)
    assert response["status"] == "in-progress"
    assert response["questionnaire"] == form.canonical
    assert response["subject"] == {"reference": "Patient/ann"}
    references = json.dumps(response["extension"])
    assert "ServiceRequest/mrs-brain" in references
    assert '"withpa"' in references, "what the policy's file says the form is for"
    begun = f"QuestionnaireResponse/{response['id']}"
    assert [o["valueReference"]["reference"] for o in task["output"]] == [begun]


@pytest.mark.parametrize("setting", ["none", "task"])
def test_a_form_that_no_button_brings_is_not_asked_for(ehr: Ehr, ask: Ask, setting: str) -> None:
    ask(setting)
    assert forms_asked_for(ehr) == []


def test_forms_of_other_policies_are_not_asked_for(ehr: Ehr, ask: Ask) -> None:
    """The screening test has no form, and no notice."""
    ask("task-and-form", code="82270")
    assert forms_asked_for(ehr) == []
