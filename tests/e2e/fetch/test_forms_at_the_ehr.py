"""Forms at the EHR: looked for where we asked for one before, and brought where it has none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from cards.questionnaires import load_forms
from tests.contract.answer_rules import check_answer
from tests.e2e.fetch.conftest import Ask, ReviewTarget, bare
from tests.e2e.fetch.ehrs import Behavior, Ehr, Handler, hang, status
from tests.filling import completed

Json = dict[str, Any]

SIGN = "order-sign/mrs-original-medicare"
ALL_OF_IT = ("patient", "coverage", "encounter")
CONTEXT = "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition/qr-context"
FORMS = load_forms()
SEARCHED = "QuestionnaireResponse?patient&questionnaire"
ASKED_FOR = "Questionnaire?url&version"


def holding(*resources: Json) -> Behavior:
    """Reads and searches find these resources, by id or by the form that they answer."""

    def answer(handler: Handler) -> None:
        url = urlsplit(handler.path)
        _, _, id = url.path.removeprefix("/fhir/").partition("/")
        if id:
            found = [r for r in resources if r["id"] == id]
            handler.send_json(found[0] if found else {}, 200 if found else 404)
            return
        (form,) = parse_qs(url.query).get("questionnaire", [""])
        entries = [{"resource": r} for r in resources if r["questionnaire"].startswith(form)]
        handler.send_json({"resourceType": "Bundle", "type": "searchset", "entry": entries})

    return answer


@pytest.fixture
def abn() -> Json:
    """A signed ABN for the main order, as the EHR keeps it."""
    form = FORMS.get("abn-record")
    assert form is not None
    signed = completed(
        form.resource,
        None,
        form_expires="2029-03-31",
        patient_name="Bo Sampleson",
        service="MR spectroscopy",
        service_code="76390",
        reason="Medicare may not pay.",
        cost_estimate=900,
        refused=False,
        option="1",
        signed_by="patient",
        signed_on="2026-11-20",
        explained_by="Rae Example",
    )
    order = {"url": CONTEXT, "valueReference": {"reference": "ServiceRequest/mrs-brain"}}
    return {
        **signed,
        "id": "abn-1",
        "subject": {"reference": "Patient/bo"},
        "extension": [order],
    }


@pytest.fixture
def signed_before(ehr: Ehr, ask: Ask) -> Callable[[], Json]:
    """The main request as it comes the second time: the order carries our first statement."""

    def request() -> Json:
        return again(bare(SIGN, ehr.base, *ALL_OF_IT), ask(bare(SIGN, ehr.base, *ALL_OF_IT)))

    return request


def again(request: Json, asked: ReviewTarget) -> Json:
    order = asked.answer.get("systemActions", [])[0]["resource"]
    request["context"]["draftOrders"]["entry"][0]["resource"] = order
    return request


def topics(asked: ReviewTarget) -> list[str]:
    check_answer(asked.answer)
    return [c["source"]["topic"]["code"] for c in asked.answer["cards"]]


Before = Callable[[], Json]


def test_at_the_first_signing_no_form_is_looked_for(ehr: Ehr, ask: Ask) -> None:
    asked = ask(bare(SIGN, ehr.base, *ALL_OF_IT))
    assert topics(asked) == ["guideline", "claim"]
    assert ehr.requests == []


@pytest.mark.requirement("crd-2.2.1:resp-39", "crd-2.2.1:resp-36")
def test_a_form_that_was_asked_for_is_found_at_the_ehr(
    ehr: Ehr, ask: Ask, signed_before: Before, abn: Json
) -> None:
    request = signed_before()
    ehr.misbehave["QuestionnaireResponse"] = holding(abn)
    asked = ask(request)
    assert asked.outcomes == {SEARCHED: "fetched"}
    assert topics(asked) == ["guideline"]
    (path,) = ehr.paths
    assert parse_qs(urlsplit(path).query) == {
        "patient": ["bo"],
        "questionnaire": ["https://covercard.example/fhir/Questionnaire/abn-record"],
    }


def test_once_it_is_on_file_it_is_read_again_by_its_reference(
    ehr: Ehr, ask: Ask, signed_before: Before, abn: Json
) -> None:
    ehr.misbehave["QuestionnaireResponse"] = holding(abn)
    second = ask(signed_before())
    ehr.requests.clear()
    third = ask(again(bare(SIGN, ehr.base, *ALL_OF_IT), second))
    assert ehr.paths == ["/fhir/QuestionnaireResponse/abn-1"]
    assert topics(third) == ["guideline"]
    assert third.answer.get("systemActions", []) == []


def test_a_form_that_came_along_is_not_looked_for(
    ehr: Ehr, ask: Ask, signed_before: Before, abn: Json
) -> None:
    request = signed_before()
    request["prefetch"]["forms"] = abn
    assert topics(ask(request)) == ["guideline"]
    assert ehr.requests == []


def test_another_patients_form_is_dropped(
    ehr: Ehr, ask: Ask, signed_before: Before, abn: Json
) -> None:
    request = signed_before()
    ehr.misbehave["QuestionnaireResponse"] = holding({**abn, "subject": {"reference": "Patient/x"}})
    asked = ask(request)
    assert asked.outcomes == {SEARCHED: "wrong-patient"}
    assert topics(asked) == ["guideline", "claim"]


@pytest.mark.parametrize("trouble", [hang, status(403), status(500), status(404)])
def test_trouble_with_the_forms_leaves_the_answer_as_it_was(
    ehr: Ehr, ask: Ask, signed_before: Before, trouble: Behavior
) -> None:
    request = signed_before()
    ehr.misbehave["QuestionnaireResponse"] = trouble
    asked = ask(request, fetch_budget_ms=300)
    assert topics(asked) == ["guideline", "claim"]
    assert asked.answer.get("systemActions", []) == []


class TestTheForm:
    """The Questionnaire in the suggestion: only where the EHR was asked and has none."""

    def created(self, asked: ReviewTarget) -> list[Json]:
        check_answer(asked.answer)
        actions: list[Json] = asked.answer["cards"][-1]["suggestions"][0]["actions"]
        return actions

    @pytest.mark.form_rule("crd-dev-19")
    @pytest.mark.requirement(
        "crd-2.2.1:dev-19", "crd-2.2.1:dev-20", "crd-2.0.1:134", "crd-2.0.1:135", "crd-2.0.1:136"
    )
    def test_an_ehr_that_has_none_gets_it_by_a_conditional_create(self, ehr: Ehr, ask: Ask) -> None:
        asked = ask(bare(SIGN, ehr.base, *ALL_OF_IT), notice_suggestion="task-and-form")
        assert asked.outcomes == {ASKED_FOR: "fetched"}
        queries = [parse_qs(urlsplit(p).query) for p in ehr.paths]
        assert {"url": [FORMS.by_id["abn-record"].url], "version": ["1.2.0"]} in queries
        form, task = self.created(asked)
        assert form["resource"] == FORMS.by_id["abn-record"].resource
        url = FORMS.by_id["abn-record"].url
        assert form["extension"] == {"davinci-crd.if-none-exist": f"url={url}&version=1.2.0"}
        assert task["resource"]["resourceType"] == "Task"

    def test_an_ehr_that_has_it_gets_the_task_alone(self, ehr: Ehr, ask: Ask) -> None:
        def has_it(handler: Handler) -> None:
            (url,) = parse_qs(urlsplit(handler.path).query)["url"]
            found = [{"resource": f.resource} for f in FORMS if f.url == url]
            handler.send_json({"resourceType": "Bundle", "type": "searchset", "entry": found})

        ehr.misbehave["Questionnaire"] = has_it
        asked = ask(bare(SIGN, ehr.base, *ALL_OF_IT), notice_suggestion="task-and-form")
        assert [a["resource"]["resourceType"] for a in self.created(asked)] == ["Task"]

    @pytest.mark.parametrize("trouble", [hang, status(403), status(404)])
    def test_an_ehr_that_does_not_answer_gets_the_task_alone(
        self, ehr: Ehr, ask: Ask, trouble: Behavior
    ) -> None:
        ehr.misbehave["Questionnaire"] = trouble
        asked = ask(
            bare(SIGN, ehr.base, *ALL_OF_IT),
            notice_suggestion="task-and-form",
            fetch_budget_ms=300,
        )
        assert [a["resource"]["resourceType"] for a in self.created(asked)] == ["Task"]

    def test_without_access_nothing_is_asked_and_the_task_comes_alone(
        self, ehr: Ehr, ask: Ask
    ) -> None:
        request = bare(SIGN, ehr.base, *ALL_OF_IT)
        del request["fhirAuthorization"]
        asked = ask(request, frozenset(), notice_suggestion="task-and-form")
        assert [a["resource"]["resourceType"] for a in self.created(asked)] == ["Task"]
        assert ehr.requests == []

    def test_it_comes_before_the_response_and_the_task(self, ehr: Ehr, ask: Ask) -> None:
        asked = ask(bare(SIGN, ehr.base, *ALL_OF_IT), notice_suggestion="task-form-and-response")
        kinds = [a["resource"]["resourceType"] for a in self.created(asked)]
        assert kinds == ["Questionnaire", "QuestionnaireResponse", "Task"]

    def test_for_an_order_that_no_policy_speaks_of_nothing_is_asked(
        self, ehr: Ehr, ask: Ask
    ) -> None:
        request = bare("order-sign/unlisted-code", ehr.base, *ALL_OF_IT)
        ask(request, notice_suggestion="task-and-form")
        assert ehr.requests == []
