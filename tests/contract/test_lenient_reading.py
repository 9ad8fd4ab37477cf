"""Small things that clients write otherwise: each is read, or told, and none refuses the call."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
from flask.testing import FlaskClient

from service.bootstrap.app import RECORDER, create_app
from tests.conftest import NOW, in_folder
from tests.contract.answer_rules import check_answer, parts, stated
from tests.contract.calls import Json, answer, call_of, coverage_of, orders_of, post

MA = "order-sign/mrs-medicare-advantage"
UNLISTED = {"coding": [{"system": "http://www.ama-assn.org/go/cpt", "code": "70551"}]}


def said(answered: Json) -> tuple[list[str], list[Any]]:
    return [c["summary"] for c in answered["cards"]], [
        parts(e, "covered") for e in stated(answered)
    ]


def usual(client: FlaskClient, version: str = "2.0") -> tuple[list[str], list[Any]]:
    return said(answer(client, call_of(MA, version)))


def order_of(request: Json) -> Json:
    (order,) = orders_of(request)
    return order


class TestNull:
    """FHIR has no null but in arrays; some serializers write it for what is absent."""

    @pytest.mark.requirement("cds-hooks-2.0:3", "crd-2.2.1:found-33")
    @pytest.mark.parametrize("version", ["2.0", "2.2"])
    @pytest.mark.parametrize(
        "element",
        [
            "performer", "occurrencePeriod", "note", "extension", "doNotPerform", "priority",
            "contained", "insurance",
        ],
    )  # fmt: skip
    def test_in_an_element_is_read_as_absent_and_not_sent_back(
        self, client: FlaskClient, element: str, version: str
    ) -> None:
        request = call_of(MA, version)
        order = order_of(request)
        order.pop(element, None)
        without = said(answer(client, request))
        order[element] = None
        answered = answer(client, request)
        assert said(answered) == without
        (action,) = answered["systemActions"]
        assert "null" not in json.dumps(action["resource"])

    def test_within_an_element_leaves_its_numbers_as_they_came(self, client: FlaskClient) -> None:
        request = call_of(MA)
        order_of(request)["quantityQuantity"] = {"value": "N", "unit": None, "code": None}
        order_of(request)["note"] = [{"text": "x", "time": None}, {"text": "null"}]
        order_of(request)["asNeededCodeableConcept"] = {"text": None}
        body = json.dumps(request).replace('"N"', "1.00")
        reply = client.post(
            "/cds-services/order-sign-crd", data=body, content_type="application/json"
        )
        assert reply.status_code == 200
        text = reply.get_data(as_text=True)
        assert '"quantityQuantity":{"value":1.00}' in text
        assert '"note":[{"text":"x"},{"text":"null"}]' in text
        assert "asNeededCodeableConcept" not in text

    @pytest.mark.requirement("crd-2.2.1:found-33", "crd-2.2.1:conf-12")
    @pytest.mark.parametrize("version", ["2.0", "2.2"])
    def test_in_an_array_of_days_keeps_the_place_of_an_extension(
        self, client: FlaskClient, version: str
    ) -> None:
        request = call_of(MA, version)
        order = order_of(request)
        order.pop("occurrenceDateTime", None)
        reason = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
        order["occurrenceTiming"] = {
            "event": [None, "2026-12-01"],
            "_event": [{"extension": [{"url": reason, "valueCode": "unknown"}]}, None],
        }
        answered = answer(client, request)
        assert said(answered) == usual(client, version)
        (action,) = answered["systemActions"]
        assert action["resource"]["occurrenceTiming"] == order["occurrenceTiming"]

    def test_from_an_ehr_is_no_trouble_in_what_a_package_is_asked_for_with(
        self, client: FlaskClient
    ) -> None:
        request = call_of(MA)
        coverage = {**coverage_of(request), "dependent": None, "period": None}
        given = [{"name": "coverage", "resource": coverage}]
        given.append({"name": "order", "resource": {**order_of(request), "performer": None}})
        body = {"resourceType": "Parameters", "parameter": given}
        assert (
            client.post("/fhir/Questionnaire/$questionnaire-package", json=body).status_code == 200
        )


@pytest.mark.requirement("crd-2.2.1:found-33")
@pytest.mark.parametrize(
    "value",
    ["a note", 3, True, [], ["a", 1, None], [[{"resourceType": 3}]], {"text": "x"}, {"id": 5}],
)
def test_a_prefetch_key_that_nobody_asked_for_may_hold_anything(
    client: FlaskClient, value: object
) -> None:
    request = call_of(MA)
    request["prefetch"]["unasked"] = value
    assert said(answer(client, request)) == usual(client)


def test_a_list_of_resources_under_an_unasked_key_is_read(client: FlaskClient) -> None:
    request = call_of(MA)
    entries = request["prefetch"].pop("coverage")["entry"]
    request["prefetch"]["coverages"] = [e["resource"] for e in entries]
    assert said(answer(client, request)) == usual(client)


@pytest.mark.parametrize("broken", [{"resourceType": "Coverage", "period": "soon"}])
def test_a_resource_that_is_none_is_refused_in_a_list_too(
    client: FlaskClient, broken: Json
) -> None:
    request = call_of(MA)
    request["prefetch"]["unasked"] = [[broken]]
    assert post(client, request).status_code == 422


@pytest.mark.parametrize("version", ["2.0", "2.2"])
@pytest.mark.parametrize("authorization", [{}, {"token_type": "Bearer"}, {"access_token": None}])
def test_an_authorization_without_a_token_is_as_good_as_none(
    client: FlaskClient, authorization: Json, version: str
) -> None:
    request = call_of(MA, version)
    request["fhirServer"] = "https://ehr.example.org/fhir"
    request["fhirAuthorization"] = authorization
    assert said(answer(client, request)) == usual(client, version)


class TestASelectionThatIsABareId:
    SELECT = "order-select/mrs-selected"

    def test_is_that_of_the_one_draft_that_has_it(self, client: FlaskClient) -> None:
        request = call_of(self.SELECT)
        request["context"]["selections"] = [order_of(request)["id"]]
        assert said(answer(client, request)) == said(answer(client, call_of(self.SELECT)))

    def test_selects_nothing_where_two_drafts_have_it(self, client: FlaskClient) -> None:
        request = call_of(self.SELECT)
        order = copy.deepcopy(order_of(request))
        order["resourceType"] = "DeviceRequest"
        order["codeCodeableConcept"] = order.pop("code")
        request["context"]["draftOrders"]["entry"].append({"resource": order})
        request["context"]["selections"] = [order["id"]]
        assert answer(client, request)["cards"] == []


class TestWhatIsContained:
    """A contained resource has no address: nothing can be stated of it, but it can be read."""

    def test_coverage_words_the_cards(self, client: FlaskClient) -> None:
        request = call_of(MA)
        entries = request["prefetch"].pop("coverage")["entry"]
        coverage, payer = (e["resource"] for e in entries[:2])
        order = order_of(request)
        coverage = {**coverage, "id": "c1", "payor": [{"reference": "#p1"}]}
        order["contained"] = [coverage, {**payer, "id": "p1"}]
        order["insurance"] = [{"reference": "#c1"}]
        request.pop("fhirServer", None)
        answered = answer(client, request)
        check_answer(answered)
        assert said(answered)[0] == usual(client)[0]
        assert answered["systemActions"] == []

    def test_coverage_of_another_order_is_not_this_ones(self, client: FlaskClient) -> None:
        request = call_of(MA)
        entries = request["prefetch"].pop("coverage")["entry"]
        (entry,) = request["context"]["draftOrders"]["entry"]
        second = copy.deepcopy(entry)
        second["resource"]["id"] = "second"
        for order, insurance in ((entry["resource"], "#c1"), (second["resource"], "#c2")):
            order["insurance"] = [{"reference": insurance}]
        entry["resource"]["contained"] = [{**entries[0]["resource"], "id": "c1"}]
        request["context"]["draftOrders"]["entry"].append(second)
        request.pop("fhirServer", None)
        details = [c["detail"] for c in answer(client, request)["cards"]]
        assert any("The insurance that the order names was not sent" in d for d in details)

    @pytest.mark.parametrize("version", ["2.0", "2.2"])
    def test_patient_is_no_other_patient(self, client: FlaskClient, version: str) -> None:
        request = call_of(MA, version)
        order = order_of(request)
        order["contained"] = [{"resourceType": "Patient", "id": "pat"}]
        order["subject"] = {"reference": "#pat"}
        assert said(answer(client, request)) == usual(client, version)

    def test_order_of_an_appointment_gives_its_code(self, client: FlaskClient) -> None:
        name = "appointment-book/mrs-appointment"
        request = call_of(name)
        appointment = order_of(request)
        code = appointment.pop("serviceType")[0]
        order = {"resourceType": "ServiceRequest", "id": "sr", "status": "active"}
        appointment["contained"] = [{**order, "intent": "order", "code": code}]
        appointment["basedOn"] = [{"reference": "#sr"}]
        answered = answer(client, request)
        assert said(answered) == said(answer(client, call_of(name)))
        (action,) = answered["systemActions"]
        assert action["resource"]["resourceType"] == "Appointment"


class TestACoverageOfAnotherPayer:
    OTHERS: ClassVar[dict[str, Json]] = {
        "another insurance": {"identifier": {"system": "urn:oid:2.999.7.9", "value": "other"}},
        "the patient": {"reference": "Patient/ann"},
    }

    @staticmethod
    def beside(payor: Json, version: str) -> Json:
        request = call_of(MA, version)
        order_of(request).pop("insurance", None)
        entries = request["prefetch"]["coverage"]["entry"]
        other = {**copy.deepcopy(entries[0]["resource"]), "id": "other", "payor": [payor]}
        entries.insert(0, {"resource": other})
        return request

    @pytest.mark.requirement("crd-2.0.1:164")
    @pytest.mark.parametrize("whose", OTHERS)
    def test_beside_one_of_ours_is_left_aside_in_2_0(self, client: FlaskClient, whose: str) -> None:
        answered = answer(client, self.beside(self.OTHERS[whose], "2.0"))
        assert said(answered) == usual(client)
        (statement,) = stated(answered)
        assert parts(statement, "coverage") == [{"reference": "Coverage/ma-ann"}]

    @pytest.mark.requirement("crd-2.2.1:hook-13")
    @pytest.mark.parametrize("whose", OTHERS)
    def test_makes_several_in_2_2(self, client: FlaskClient, whose: str) -> None:
        reply = post(client, self.beside(self.OTHERS[whose], "2.2"))
        assert reply.status_code == 400
        assert "several fit" in reply.get_data(as_text=True)

    def test_of_which_the_payer_is_not_told_makes_several(self, client: FlaskClient) -> None:
        answered = answer(client, self.beside({"display": "Some insurance"}, "2.0"))
        assert answered["systemActions"] == []
        assert "More than one insurance is active" in answered["cards"][0]["detail"]


class TestTheUpdatesDescription:
    @pytest.mark.requirement("cds-hooks-2.0:128")
    @pytest.mark.parametrize(
        ("version", "covered"), [("2.0", "conditional"), ("2.2", "indeterminate")]
    )
    def test_says_what_the_version_says(
        self, client: FlaskClient, version: str, covered: str
    ) -> None:
        request = call_of(MA, version)
        request["prefetch"]["coverage"] = None
        request["fhirServer"] = "http://127.0.0.1:9/fhir"
        (action,) = answer(client, request)["systemActions"]
        assert action["description"] == f"Adds the coverage answer to the order: {covered}"

    def test_names_what_is_updated(self, client: FlaskClient) -> None:
        (action,) = answer(client, call_of("appointment-book/mrs-appointment"))["systemActions"]
        assert action["description"].startswith("Adds the coverage answer to the appointment: ")


@pytest.mark.requirement("crd-2.2.1:resp-35", "crd-2.2.1:resp-29")
def test_what_one_version_stated_is_stated_anew_in_another(client: FlaskClient) -> None:
    request = call_of(MA, "2.2")
    older = list(stated(answer(client, call_of(MA, "2.0"))))
    order_of(request)["extension"] = older
    (newer,) = stated(answer(client, request))
    assert parts(older[0], "pa-needed")  # which 2.2 forbids beside not-covered
    assert parts(newer, "pa-needed") == []
    order_of(request)["extension"] = [newer]
    assert "systemActions" not in answer(client, request)


@pytest.mark.parametrize("version", ["2.0", "2.2"])
def test_what_is_missing_without_a_code_of_its_own_has_a_detail(
    client: FlaskClient, version: str
) -> None:
    request = call_of(MA, version)
    order_of(request)["code"] = UNLISTED
    (statement,) = stated(answer(client, request))
    assert parts(statement, "info-needed") == ["OTH"]
    (detail,) = parts(statement, "detail")
    assert parts(detail, "value") == ["Check with the plan whether it covers this service."]


def test_feedback_in_the_shape_of_before_keeps_its_reason(tmp_path: Path) -> None:
    app = create_app(in_folder(tmp_path), clock=lambda: NOW)
    kept: list[Any] = []
    app.extensions[RECORDER].record_feedback = kept.extend
    item = {
        "card": "01a214f0-6e2b-79db-91ed-db416c10582f",
        "outcome": "overridden",
        "overrideReason": {"code": "patient-agreed", "system": "http://example.org/reasons"},
        "outcomeTimestamp": "2026-11-22T15:31:00Z",
    }
    reply = app.test_client().post(
        "/cds-services/order-sign-crd/feedback", json={"feedback": [item]}
    )
    assert reply.status_code == 200
    (row,) = kept
    assert (row.reason_system, row.reason_code) == ("http://example.org/reasons", "patient-agreed")


@pytest.mark.parametrize(
    ("origin", "logged"),
    [
        ("https://sandbox.cds-hooks.org", "https://sandbox.cds-hooks.org"),
        ("https://evil.example/\\nx=1", "(none that could be listed)"),
    ],
)
def test_an_origin_that_is_not_listed_is_logged_by_name_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], origin: str, logged: str
) -> None:
    settings = in_folder(tmp_path, cors_origins="https://ehr.example.org")
    client = create_app(settings, clock=lambda: NOW).test_client()
    for _ in range(2):
        reply = client.get("/cds-services", headers={"Origin": origin})
        assert "Access-Control-Allow-Origin" not in reply.headers
    client.get("/cds-services", headers={"Origin": "https://ehr.example.org"})
    lines = [line for line in capsys.readouterr().out.splitlines() if "origin refused" in line]
    assert len(lines) == 1
    assert logged in lines[0]
    assert "COVERCARD_CORS_ORIGINS" in lines[0]
