"""A form that came back ends the notice card and is told on the order; one that does not count
changes nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.contract.answer_rules import check_answer, parts, stated
from tests.filling import completed

Read = Callable[[str], dict[str, Any]]
Json = dict[str, Any]

CONTEXT = "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition/qr-context"
ABN = {
    "form_expires": "2029-03-31",
    "patient_name": "Bo Sampleson",
    "service": "MR spectroscopy (76390)",
    "service_code": "76390",
    "reason": "Medicare may not pay for this test.",
    "cost_estimate": 900,
    "refused": False,
    "option": "1",
    "signed_by": "patient",
    "signed_on": "2026-11-20",
    "explained_by": "Rae Example, front desk",
}


@pytest.fixture
def signed(client: FlaskClient) -> Callable[..., Json]:
    """A completed ABN record for the main order under Original Medicare, with changed answers.

    An answer of None is left out.
    """

    def fill(**changed: Any) -> Json:
        answers = {k: v for k, v in {**ABN, **changed}.items() if v is not None}
        return filed(client, "abn-record", "Patient/bo", answers)

    return fill


def filed(client: FlaskClient, form_id: str, patient: str, answers: Mapping[str, Any]) -> Json:
    form = client.get(f"/fhir/Questionnaire/{form_id}").get_json()
    return {
        **completed(form, None, **answers),
        "id": "form-1",
        "subject": {"reference": patient},
        "authored": "2026-11-20T10:00:00Z",
        "extension": [
            {"url": CONTEXT, "valueReference": {"reference": "ServiceRequest/mrs-brain"}}
        ],
    }


@pytest.fixture
def sign_with(client: FlaskClient, fixture: Read) -> Callable[..., Json]:
    """Signs the order again, the forms in the prefetch; returns a checked answer."""

    def post(
        *forms: Json, name: str = "mrs-original-medicare", version: str = "2.0", **request: Any
    ) -> Json:
        body = {**fixture(f"order-sign/{name}"), **request}
        body["extension"] = {"davinci-crd.requestedVersion": version}
        entries = [{"resource": f} for f in forms]
        body["prefetch"]["forms"] = {"resourceType": "Bundle", "entry": entries}
        reply = client.post("/cds-services/order-sign-crd", json=body)
        assert reply.status_code == 200, reply.get_data(as_text=True)
        answer: Json = reply.get_json()
        check_answer(answer)
        return answer

    return post


Sign = Callable[..., Json]
Fill = Callable[..., Json]


def topics(answer: Json) -> list[str]:
    return [c["source"]["topic"]["code"] for c in answer["cards"]]


def details(answer: Json) -> dict[str, tuple[Any, Any]]:
    """Details of the one statement: name → value and qualification."""
    (statement,) = stated(answer)
    found = {}
    for detail in parts(statement, "detail"):
        code = parts(detail, "code")[0]
        name = code.get("text") or code["coding"][0]["code"]
        qualification = parts(detail, "qualification")
        found[name] = (parts(detail, "value")[0], qualification[0] if qualification else None)
    return found


@pytest.mark.parametrize("version", ["2.0", "2.2"])
def test_a_signed_abn_ends_the_notice_card_and_is_told_on_the_order(
    sign_with: Sign, signed: Fill, version: str
) -> None:
    answer = sign_with(signed(), version=version)
    assert topics(answer) == ["guideline"]
    (statement,) = stated(answer)
    told = {p["url"] for p in statement["extension"]}
    # crd-ci-q1 allows neither a questionnaire nor a response where no documentation is needed.
    assert told.isdisjoint({"doc-needed", "doc-purpose", "questionnaire", "response"})
    record, words = details(answer)["notice-on-file"]
    assert record == "QuestionnaireResponse/form-1"
    assert "A signed ABN (CMS-R-131) for MR spectroscopy (76390) is on file" in words
    assert "2026-11-20" in words
    assert "For repeated services a new one is due from 2027-11-21." in words
    assert details(answer)["instructions"][0] == words


def test_with_option_1_the_claim_takes_ga_and_neither_gy_nor_gx(
    sign_with: Sign, signed: Fill
) -> None:
    answer = sign_with(signed())
    value, because = details(answer)["claim-modifier"]
    assert value == "GA"
    assert "A required ABN is on file" in because
    card = answer["cards"][0]["detail"]
    assert "**Advance notice:** A signed ABN (CMS-R-131)" in card
    assert "On the claim GA: A required ABN is on file" in card
    assert "Not GY: It is for services that the law excludes from Medicare." in card
    assert "Not GX:" in card


@pytest.mark.parametrize(
    ("option", "words"),
    [("2", "Medicare is not billed"), ("3", "does not want the service. Cancel the order.")],
)
def test_without_a_claim_there_is_no_modifier(
    sign_with: Sign, signed: Fill, option: str, words: str
) -> None:
    answer = sign_with(signed(option=option))
    assert topics(answer) == ["guideline"]
    assert "claim-modifier" not in details(answer)
    assert words in answer["cards"][0]["detail"]
    assert words in details(answer)["notice-on-file"][1]


def test_no_modifier_is_named_before_the_abn_is_known(sign_with: Sign) -> None:
    answer = sign_with()
    assert topics(answer) == ["guideline", "claim"]
    assert "claim-modifier" not in details(answer)
    card = answer["cards"][1]["detail"]
    assert not any(modifier in card for modifier in ("GA", "GZ", "GY", "GX"))


def test_a_refusal_that_is_noted_is_told_without_a_modifier(sign_with: Sign, signed: Fill) -> None:
    refused = signed(
        refused=True,
        option=None,
        signed_by=None,
        signed_on=None,
        refusal_noted=True,
        refused_on="2026-11-20",
        witness="Lee Example, RN",
    )
    answer = sign_with(refused)
    assert topics(answer) == ["guideline"]
    assert "refused to sign" in details(answer)["notice-on-file"][1]
    assert "claim-modifier" not in details(answer)
    # The staff's names stay in the form.
    assert "Lee Example" not in str(answer)


def without(response: Json, link: str) -> Json:
    changed = copy.deepcopy(response)
    for group in changed["item"]:
        group["item"] = [i for i in group["item"] if i["linkId"] != link]
    return changed


@pytest.mark.parametrize(
    "change",
    [
        lambda form: {**form, "status": "in-progress"},
        lambda form: {**form, "subject": {"reference": "Patient/ann"}},
        lambda form: {**form, "extension": []},
        lambda form: {**form, "questionnaire": "http://other.example.org/abn-record|1.0.0"},
        lambda form: {**form, "questionnaire": form["questionnaire"].replace("|1.", "|2.")},
        lambda form: without(form, "option"),
        lambda form: without(form, "signed-by"),
        lambda form: without(form, "signed-on"),
        lambda form: without(form, "service-code"),
        lambda form: without(form, "form-expires"),
    ],
)
def test_a_form_that_lacks_what_makes_it_one_changes_nothing(
    sign_with: Sign, signed: Fill, change: Callable[[Json], Json]
) -> None:
    answer = sign_with(change(signed()))
    assert topics(answer) == ["guideline", "claim"]
    (statement,) = stated(answer)
    assert parts(statement, "doc-needed") == ["admin"]
    assert "claim-modifier" not in details(answer)


@pytest.mark.parametrize(
    "answers",
    [
        {"service_code": "70551"},
        {"form_expires": "2026-01-31"},
        {"signed_on": "2026-11-23"},
        {"signed_on": "2025-11-30"},
        {"signed_on": "2026-02-28"},
        {"signed_on": "2026-05-12", "form_expires": "2026-01-31"},
    ],
)
def test_a_form_for_another_service_edition_or_time_changes_nothing(
    sign_with: Sign, signed: Fill, answers: dict[str, Any]
) -> None:
    assert topics(sign_with(signed(**answers))) == ["guideline", "claim"]


@pytest.mark.form_rule("crd-rejected-form")
@pytest.mark.parametrize(
    ("answers", "because"),
    [
        ({"service_code": "70551"}, "it does not name all services"),
        ({"form_expires": "2026-01-31"}, "it is not on an edition that was valid that day"),
        ({"signed_on": "2026-02-28"}, "it is not on an edition that was valid that day"),
        ({"signed_on": "2026-11-23"}, "its day is still to come"),
        (
            {
                **dict.fromkeys(("option", "signed_by", "signed_on")),
                "refused": True,
                "refusal_noted": False,
                "refused_on": "2026-11-20",
                "witness": "Lee Example, RN",
            },
            "the refusal needs a note on the form",
        ),
    ],
)
@pytest.mark.parametrize("version", ["2.0", "2.2"])
def test_the_notice_card_says_why_a_form_that_came_back_does_not_count(
    sign_with: Sign, signed: Fill, answers: dict[str, Any], because: str, version: str
) -> None:
    card = sign_with(signed(**answers), version=version)["cards"][1]["detail"]
    assert f"**A form came back for this order (ABN) and does not count:** {because}" in card
    assert "Bo" not in card


@pytest.mark.parametrize(
    ("link", "because"),
    [
        ("option", "the patient's choice is missing"),
        ("signed-by", "the signature is missing"),
        ("signed-on", "its day is missing"),
    ],
)
def test_the_notice_card_says_what_is_missing_on_a_form(
    sign_with: Sign, signed: Fill, link: str, because: str
) -> None:
    assert because in sign_with(without(signed(), link))["cards"][1]["detail"]
    begun = {**signed(), "status": "in-progress"}
    assert "it is not completed" in sign_with(begun)["cards"][1]["detail"]


def test_a_form_signed_after_the_service_is_too_late_and_nothing_is_offered(
    sign_with: Sign, signed: Fill, fixture: Read
) -> None:
    context = fixture("order-sign/mrs-original-medicare")["context"]
    (order,) = (e["resource"] for e in context["draftOrders"]["entry"])
    order["occurrenceDateTime"] = "2026-11-10"
    answer = sign_with(signed(signed_on="2026-11-12"), context=context)
    (card,) = answer["cards"]
    assert card["summary"].startswith("Too late for an ABN")
    assert "it is too late, its day is after the service" in card["detail"]
    assert "**Do not:** Give an ABN now, or back-date one." in card["detail"]
    assert "suggestions" not in card
    assert "notice-on-file" not in details(answer)
    assert "claim-modifier" not in details(answer)


@pytest.mark.parametrize("version", ["2.0", "2.2"])
def test_a_form_signed_before_a_service_that_is_past_counts(
    sign_with: Sign, signed: Fill, fixture: Read, version: str
) -> None:
    context = fixture("order-sign/mrs-original-medicare")["context"]
    (order,) = (e["resource"] for e in context["draftOrders"]["entry"])
    order["occurrenceDateTime"] = "2026-11-10"
    answer = sign_with(signed(signed_on="2026-11-09"), context=context, version=version)
    (card,) = answer["cards"]
    assert card["summary"].endswith("The ABN is on file.")
    assert "is on file, dated 2026-11-09" in card["detail"]
    assert "Too late" not in str(answer)
    assert "back-date" not in str(answer)
    assert details(answer)["claim-modifier"][0] == "GA"


def test_in_an_emergency_no_signed_form_counts(
    sign_with: Sign, signed: Fill, fixture: Read
) -> None:
    context = fixture("order-sign/mrs-original-medicare")["context"]
    (order,) = (e["resource"] for e in context["draftOrders"]["entry"])
    order["priority"] = "stat"
    answer = sign_with(signed(), context=context)
    (card,) = answer["cards"]
    assert "give needed care now" in card["summary"]
    assert "notice-on-file" not in details(answer)


def test_the_card_on_a_form_on_file_asks_for_no_form_any_more(
    sign_with: Sign, signed: Fill
) -> None:
    (card,) = sign_with(signed())["cards"]
    assert (
        card["summary"] == "Medicare may not pay for MR spectroscopy (76390). The ABN is on file."
    )
    glance = card["detail"].partition("**More**")[0]
    assert "must be signed" not in card["summary"] + glance
    assert "gives the patient" not in glance
    assert "**Call:** Example Payer provider services, +1-555-555-0111." in glance
    assert "Not GY" not in glance


@pytest.mark.form_rule("crd-other-form")
@pytest.mark.parametrize(
    "change",
    [
        lambda form: {**form, "subject": {"reference": "Patient/ann"}},
        lambda form: {
            **form,
            "extension": [{"url": CONTEXT, "valueReference": {"reference": "ServiceRequest/mri"}}],
        },
        lambda form: {**form, "questionnaire": "http://other.example.org/abn-record|1.0.0"},
    ],
)
def test_a_form_of_another_patient_or_order_is_not_spoken_of(
    sign_with: Sign, signed: Fill, change: Callable[[Json], Json]
) -> None:
    unsigned = change(without(signed(), "signed-by"))
    assert "came back" not in sign_with(unsigned)["cards"][1]["detail"]


def test_the_statement_changes_once_the_notice_is_on_file(
    client: FlaskClient, sign_with: Sign, signed: Fill, fixture: Read
) -> None:
    first = sign_with()
    order = first.get("systemActions", [])[0]["resource"]
    context = fixture("order-sign/mrs-original-medicare")["context"]
    context["draftOrders"]["entry"][0]["resource"] = order
    again = sign_with(signed(), context=context)
    (statement,) = stated(again)
    assert parts(statement, "coverage-assertion-id") != parts(
        next(iter(stated(first))), "coverage-assertion-id"
    )
    context["draftOrders"]["entry"][0]["resource"] = again.get("systemActions", [])[0]["resource"]
    assert sign_with(signed(), context=context).get("systemActions", []) == []


def test_an_abn_settles_nothing_under_medicare_advantage(
    sign_with: Sign, client: FlaskClient
) -> None:
    abn = filed(client, "abn-record", "Patient/ann", ABN)
    answer = sign_with(abn, name="mrs-medicare-advantage")
    assert topics(answer) == ["guideline", "claim"]


@pytest.mark.parametrize(
    ("form_id", "answers", "words"),
    [
        (
            "organization-determination-request",
            {
                "patient_name": "Ann Testcase",
                "birth_date": "1951-04-12",
                "plan": "Example Health Plan",
                "requested_by": "treating-provider",
                "requester_name": "Dr. Quill Exemplar",
                "service": "MR spectroscopy",
                "service_code": ["76390"],
                "diagnosis": ["C71.9"],
                "kind": "expedited",
                "expedited_reason": "Surgery is planned for next week.",
                "sent_on": "2026-11-21",
            },
            "The plan was asked on 2026-11-21",
        ),
    ],
)
def test_under_medicare_advantage_the_request_ends_the_notice_card(
    client: FlaskClient, sign_with: Sign, form_id: str, answers: dict[str, Any], words: str
) -> None:
    form = filed(client, form_id, "Patient/ann", answers)
    answer = sign_with(form, name="mrs-medicare-advantage")
    assert topics(answer) == ["guideline"]
    assert words in details(answer)["notice-on-file"][1]
    assert words in answer["cards"][0]["detail"]
    # Modifiers are Original Medicare's.
    assert "claim-modifier" not in details(answer)
    assert "GA" not in answer["cards"][0]["detail"]


def test_of_four_orders_only_those_on_the_form_are_settled(
    client: FlaskClient, fixture: Read
) -> None:
    request = fixture("order-sign/disc-pain-four-orders")
    telling = filed(
        client,
        "organization-determination-request",
        request["context"]["draftOrders"]["entry"][0]["resource"]["subject"]["reference"],
        {
            "patient_name": "Ann Testcase",
            "birth_date": "1951-04-12",
            "plan": "Example Health Plan",
            "requested_by": "treating-provider",
            "requester_name": "Dr. Quill Exemplar",
            "service": "MR spectroscopy for disc pain",
            "service_code": ["0609T", "0610T"],
            "diagnosis": ["M51.36"],
            "kind": "standard",
            "sent_on": "2026-11-21",
        },
    )
    telling["extension"] = [
        {"url": CONTEXT, "valueReference": {"reference": f"ServiceRequest/disc-{code}"}}
        for code in ("0609t", "0610t")
    ]
    request["prefetch"]["forms"] = telling
    answer = client.post("/cds-services/order-sign-crd", json=request).get_json()
    check_answer(answer)
    first, second = answer["cards"]
    assert len(first["extension"]["davinci-crd.associated-resource"]) == 4
    assert first["detail"].count("**Advance notice:**") == 2
    assert [r["reference"] for r in second["extension"]["davinci-crd.associated-resource"]] == [
        "ServiceRequest/disc-0611t",
        "ServiceRequest/disc-0612t",
    ]


def test_a_form_of_an_emergency_is_not_looked_at(sign_with: Sign, client: FlaskClient) -> None:
    form = filed(client, "abn-record", "Patient/ann", ABN)
    assert topics(sign_with(form, name="emergency-encounter")) == ["guideline"]


@pytest.mark.parametrize(
    "broken",
    [
        {"resourceType": "QuestionnaireResponse"},
        {"resourceType": "QuestionnaireResponse", "questionnaire": ["x"]},
        {"resourceType": "QuestionnaireResponse", "item": [{"item": [[]]}], "subject": "x"},
    ],
)
def test_a_broken_form_never_breaks_the_answer(sign_with: Sign, broken: Json) -> None:
    assert topics(sign_with(broken)) == ["guideline", "claim"]


def test_a_form_without_an_id_counts_but_is_not_pointed_at(sign_with: Sign, signed: Fill) -> None:
    form = signed()
    del form["id"]
    answer = sign_with(form)
    assert topics(answer) == ["guideline"]
    assert details(answer)["notice-on-file"][0] == "abn-record"


UNADDRESSED: dict[str, tuple[tuple[str, ...], str]] = {
    "as LHC-Forms writes it": (
        ("extension", "subject"),
        "it says neither which patient nor which order it is for",
    ),
    "without a context": (("extension",), "it does not say which order it is for"),
    "without a subject": (("subject",), "it does not say which patient it is for"),
}


@pytest.mark.form_rule("crd-unaddressed-form")
@pytest.mark.parametrize("how", UNADDRESSED)
def test_a_form_that_does_not_say_whom_it_is_for_is_told_on_the_card(
    sign_with: Sign, signed: Fill, how: str
) -> None:
    lacking, because = UNADDRESSED[how]
    form = {k: v for k, v in signed().items() if k not in lacking}
    answer = sign_with(form)
    assert topics(answer) == ["guideline", "claim"]
    assert f"does not count:** {because}." in answer["cards"][1]["detail"]


def test_one_for_another_service_is_not_spoken_of(sign_with: Sign, signed: Fill) -> None:
    form = signed(service_code="0609T")
    del form["extension"]
    answer = sign_with(form)
    assert "does not count" not in answer["cards"][1]["detail"]


def test_an_order_that_the_ehr_puts_in_as_based_on_is_enough(sign_with: Sign, signed: Fill) -> None:
    form = signed()
    del form["extension"]
    form["basedOn"] = [{"reference": "ServiceRequest/mrs-brain"}]
    assert topics(sign_with(form)) == ["guideline"]
