"""The forms behind the notice card: valid, SDC as far as we rely on it, and safe for patients."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fhir.resources.R4B.questionnaire import Questionnaire

from cards.questionnaires import Form, Forms, form_ids, load_forms
from cards.questionnaires.response_draft import PATIENTS_BLANKS
from service.fhir import questionnaire_responses
from service.policies.library import load_notices
from tests.filling import completed, questions
from tests.policies import LIBRARY
from tests.unit.test_fixtures import MEDICARE_NUMBER

BASE = "https://covercard.example"
FORMS = load_forms()
SDC = "http://hl7.org/fhir/uv/sdc/StructureDefinition/"
DTR = "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition/"

each_form = pytest.mark.parametrize("form", list(FORMS), ids=lambda form: form.id)


def extensions(element: dict[str, Any], url: str) -> list[dict[str, Any]]:
    return [e for e in element.get("extension", []) if e["url"] == url]


def asked(form: Form) -> list[dict[str, Any]]:
    return list(questions(form.resource["item"]))


def expressions(form: Form) -> dict[str, str]:
    """linkId → the expression of its initial value."""
    return {
        q["linkId"]: e["valueExpression"]["expression"]
        for q in asked(form)
        for e in extensions(q, SDC + "sdc-questionnaire-initialExpression")
    }


def test_there_is_a_form_for_each_notice() -> None:
    ids = {"abn-record", "organization-determination-request"}
    assert form_ids() == ids
    assert {f.id for f in FORMS} == ids


@pytest.mark.form_rule("sdc-identity")
@each_form
@pytest.mark.requirement("crd-2.2.1:resp-63", "crd-2.0.1:300")
def test_a_form_is_a_valid_sdc_questionnaire_with_url_and_version(form: Form) -> None:
    Questionnaire.model_validate(form.resource)
    assert form.resource["url"] == f"{BASE}/fhir/Questionnaire/{form.id}"
    assert form.canonical == f"{form.url}|{form.resource['version']}"
    assert form.resource["status"] == "active"
    assert form.resource["subjectType"] == ["Patient"]
    assert form.resource["text"]["div"]
    (algorithm,) = extensions(
        form.resource, "http://hl7.org/fhir/StructureDefinition/artifact-versionAlgorithm"
    )
    assert algorithm["valueCoding"]["code"] == "semver"


@pytest.mark.form_rule("sdc-items")
@each_form
def test_every_item_has_a_text_and_a_link_id_of_its_own(form: Form) -> None:
    items = asked(form)
    assert all(i["text"].strip() and i["linkId"].strip() for i in items)
    assert len({i["linkId"] for i in items}) == len(items)


@pytest.mark.form_rule("sdc-choices")
@each_form
def test_choices_have_options_and_references_say_to_what(form: Form) -> None:
    for item in asked(form):
        if item["type"] == "choice":
            assert len(item["answerOption"]) >= 2
            assert all(o["valueCoding"]["display"] for o in item["answerOption"])
        if item["type"] == "reference":
            url = "http://hl7.org/fhir/StructureDefinition/questionnaire-referenceResource"
            assert extensions(item, url)[0]["valueCode"] == "DocumentReference"


@each_form
def test_money_says_how_it_is_written_and_a_date_leaves_that_to_the_client(form: Form) -> None:
    url = "http://hl7.org/fhir/StructureDefinition/entryFormat"
    for item in asked(form):
        if item["type"] == "decimal":
            assert extensions(item, url), item["linkId"]
        if item["type"] == "date":
            # Smart Forms shows the format beside a field that reads days before months.
            assert extensions(item, url) == [], item["linkId"]


@pytest.mark.form_rule("sdc-enable-when")
@each_form
def test_a_question_that_depends_on_another_names_one_of_the_form(form: Form) -> None:
    by_link = {i["linkId"]: i for i in asked(form)}
    for item in by_link.values():
        for condition in item.get("enableWhen", []):
            other = by_link[condition["question"]]
            if "answerCoding" in condition:
                codes = [o["valueCoding"]["code"] for o in other["answerOption"]]
                assert condition["answerCoding"]["code"] in codes
            else:
                assert other["type"] == "boolean"


@pytest.mark.form_rule("sdc-population")
@each_form
def test_the_launch_context_is_the_patient(form: Form) -> None:
    (context,) = extensions(form.resource, SDC + "sdc-questionnaire-launchContext")
    parts = {p["url"]: p for p in context["extension"]}
    assert parts["name"]["valueCoding"]["code"] == "patient"
    assert parts["type"]["valueCode"] == "Patient"
    assert expressions(form)


@each_form
def test_what_only_the_patient_fills_in_has_no_initial_value(form: Form) -> None:
    for item in asked(form):
        if item.get("prefix") in PATIENTS_BLANKS:
            assert item["linkId"] not in expressions(form)
            assert "initial" not in item
            assert not any(o.get("initialSelected") for o in item.get("answerOption", []))


@pytest.mark.form_rule("crd-medicare-number-asked")
@each_form
def test_no_form_asks_for_a_medicare_number_and_each_warns_of_it(form: Form) -> None:
    warning = next(i for i in asked(form) if i["linkId"] == "no-number")
    assert warning["type"] == "display"
    assert "Medicare or Social Security number" in warning["text"]
    others = [i for i in asked(form) if i is not warning]
    named = " ".join(i["linkId"] + i["text"] for i in others).lower()
    assert not any(w in named for w in ("mbi", "beneficiary identifier", "medicare number", "ssn"))
    assert not MEDICARE_NUMBER.search(json.dumps(form.resource))


@pytest.mark.form_rule("dtr-audience")
@each_form
def test_who_fills_it_in_and_how_long_that_takes_is_told_as_dtr_asks(form: Form) -> None:
    (audience,) = extensions(form.resource, DTR + "questionnaireAudience")
    (time,) = extensions(form.resource, DTR + "estimated-completion-time")
    told = {p["url"] for p in time["extension"]}
    assert "clinicalTime" in told or audience["valueCode"] not in ("clinical", "patient")
    assert "totalTime" in told


def test_the_request_asks_what_a_plan_needs_and_answers_to_its_older_version_count() -> None:
    form = FORMS.get("organization-determination-request")
    assert form is not None
    by_link = {i["linkId"]: i for i in asked(form)}
    assert by_link.keys() >= {
        *("member-id", "ordering-npi", "ordering-network", "performing-npi", "performing-network"),
        *("units", "representative", "send-to", "call"),
    }
    expedited = by_link["kind"]["answerOption"][1]["valueCoding"]["display"]
    for standard in ("seriously jeopardize", "life, health or ability to regain maximum function"):
        assert standard in expedited
        assert standard in by_link["expedited-reason"]["text"]
    assert FORMS.answered_by(f"{form.url}|1.0.0") is form


def test_the_abn_record_has_a_question_for_each_blank_that_it_records() -> None:
    form = FORMS.get("abn-record")
    assert form is not None
    prefixes = [i["prefix"] for i in asked(form) if "prefix" in i]
    assert prefixes == ["B", "D", "E", "F", "G", "I", "J"]
    by_prefix = {i["prefix"]: i for i in asked(form) if "prefix" in i}
    assert all(i["required"] for i in by_prefix.values())
    choices = [o["valueCoding"]["code"] for o in by_prefix["G"]["answerOption"]]
    abn = next(n for n in load_notices(LIBRARY) if n.id == "abn")
    assert choices == [o.option for o in abn.options]


@pytest.mark.parametrize("without", ["refusal_noted", "refused_on"])
def test_a_refusal_cannot_be_completed_without_what_makes_it_count(without: str) -> None:
    form = FORMS.get("abn-record")
    assert form is not None
    answers = {
        "form_expires": "2029-03-31",
        "patient_name": "Bo Sampleson",
        "service": "MR spectroscopy",
        "service_code": "76390",
        "reason": "Medicare may not pay.",
        "cost_estimate": 900,
        "refused": True,
        "refusal_noted": True,
        "refused_on": "2026-11-20",
        "witness": "Lee Example, RN",
        "explained_by": "Rae Example",
    }
    assert completed(form.resource, None, **answers)["status"] == "completed"
    del answers[without]
    with pytest.raises(AssertionError, match="is required"):
        completed(form.resource, None, **answers)


def test_the_abn_record_links_cmss_form_as_the_notice_does() -> None:
    form = FORMS.get("abn-record")
    assert form is not None
    url = "http://hl7.org/fhir/StructureDefinition/questionnaire-supportLink"
    (link,) = [e["valueUri"] for i in asked(form) for e in extensions(i, url)]
    abn = next(n for n in load_notices(LIBRARY) if n.id == "abn")
    assert link in [known.url for known in abn.links]


@pytest.mark.form_rule("sdc-signature")
def test_no_form_that_stands_beside_its_evidence_asks_for_its_authors_signature() -> None:
    url = "http://hl7.org/fhir/StructureDefinition/questionnaire-signatureRequired"
    assert [f.id for f in FORMS if extensions(f.resource, url)] == []


def test_every_answer_that_is_read_again_is_asked_for() -> None:
    named = (
        *("SERVICE_CODE", "FORM_EXPIRES", "OPTION", "SIGNED_BY"),
        *("REFUSED", "REFUSED_ON", "REFUSAL_NOTED"),
    )
    abn = FORMS.get("abn-record")
    assert abn is not None
    assert {getattr(questionnaire_responses, n) for n in named} <= {i["linkId"] for i in asked(abn)}
    assert set(questionnaire_responses.DATED_BY) == form_ids()
    for form in FORMS:
        links = {i["linkId"] for i in asked(form)}
        assert {
            questionnaire_responses.DATED_BY[form.id],
            questionnaire_responses.SERVICE_CODE,
        } <= links


class TestCanonicals:
    @pytest.fixture
    def forms(self) -> Forms:
        return FORMS

    def test_a_form_is_found_with_and_without_its_version(self, forms: Forms) -> None:
        url = f"{BASE}/fhir/Questionnaire/abn-record"
        for canonical in (url, f"{url}|1.2.0"):
            found = forms.by_canonical(canonical)
            assert found is not None
            assert found.id == "abn-record"

    def test_another_version_is_another_form(self, forms: Forms) -> None:
        url = f"{BASE}/fhir/Questionnaire/abn-record"
        assert forms.by_canonical(f"{url}|9.0.0") is None

    def test_a_response_counts_in_any_version_with_the_same_link_ids(self, forms: Forms) -> None:
        url = f"{BASE}/fhir/Questionnaire/abn-record"
        assert forms.answered_by(f"{url}|1.7.2") is not None
        assert forms.answered_by(url) is not None
        assert forms.answered_by(f"{url}|2.0.0") is None

    def test_a_form_named_below_an_address_of_before_is_the_same_form(self) -> None:
        moved = load_forms(served_at=["https://now.example.org", "https://before.example.org"])
        for base in ("https://now.example.org", "https://before.example.org"):
            assert moved.answered_by(f"{base}/fhir/Questionnaire/abn-record|1.0.0") is not None
        form = moved.get("abn-record")
        assert form is not None
        assert form.url == f"{BASE}/fhir/Questionnaire/abn-record"

    def test_the_same_id_elsewhere_is_no_form_of_ours(self, forms: Forms) -> None:
        assert forms.answered_by("https://other.example.org/fhir/Questionnaire/abn-record") is None


def test_required_are_the_questions_that_every_response_answers() -> None:
    """What is asked under a condition, or is no question, may be left out."""
    condition = [{"question": "a", "operator": "exists", "answerBoolean": True}]
    by_expression = [{"url": f"{SDC}sdc-questionnaire-enableWhenExpression", "valueExpression": {}}]
    items = [
        {"linkId": "a", "type": "string", "required": True},
        {"linkId": "b", "type": "string"},
        {"linkId": "c", "type": "string", "required": True, "enableWhen": condition},
        {"linkId": "d", "type": "string", "required": True, "extension": by_expression},
        {
            "linkId": "e",
            "type": "group",
            "required": True,
            "item": [{"linkId": "f", "type": "boolean", "required": True}],
        },
        {
            "linkId": "g",
            "type": "group",
            "enableWhen": condition,
            "item": [{"linkId": "h", "type": "boolean", "required": True}],
        },
    ]
    form = {"id": "own", "version": "1.0.0", "title": "Own", "date": "2026-01-01", "item": items}
    found = load_forms([form]).get("own")
    assert found is not None
    assert list(found.required_questions()) == ["a", "f"]
