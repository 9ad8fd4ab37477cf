"""What real clients send, as they send it, and what each of them needs of an answer.

One class a client; the payloads are in the clients' own style, about people who do not exist.
Preflights and tokens of these clients are tried over real HTTP, in `tests/e2e`.
"""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.contract.answer_rules import check_answer, parts, stated
from tests.contract.calls import Json, answer, call_of, post
from tests.contract.card_kinds import kinds

CPT = "http://www.ama-assn.org/go/cpt"


class TestTheCdsHooksSandbox:
    """It fires order-select for what is picked in its imaging tab, and renders cards in a page."""

    @staticmethod
    def imaging_tab(coding: list[Json], reasons: list[Json]) -> Json:
        """A call as its imaging tab makes it: a Bundle without type, an order without requester."""
        return {
            "hookInstance": "1b3a7d0e-3a5c-4a53-9d6b-5fbb1b9a2c11",
            "hook": "order-select",
            "fhirServer": "https://launch.example.org/fhir",
            "context": {
                "patientId": "dee",
                "userId": "Practitioner/quill",
                "selections": ["ServiceRequest/example-request-id"],
                "draftOrders": {
                    "resourceType": "Bundle",
                    "entry": [
                        {
                            "resource": {
                                "resourceType": "ServiceRequest",
                                "id": "example-request-id",
                                "status": "draft",
                                "intent": "plan",
                                "code": {"coding": coding},
                                "subject": {"reference": "Patient/dee"},
                                "reasonCode": reasons,
                            }
                        }
                    ],
                },
            },
            "prefetch": {"patient": {"resourceType": "Patient", "id": "dee"}},
        }

    @pytest.fixture
    def shown(self, client: FlaskClient) -> Json:
        coding = [{"system": CPT, "code": "76390", "display": "MR spectroscopy"}]
        reasons = [{"coding": [], "text": "Brain tumor"}]
        answered = answer(client, self.imaging_tab(coding, reasons))
        check_answer(answered)
        return answered

    def test_a_study_of_the_policy_shows_one_line_of_warning(self, shown: Json) -> None:
        (card,) = shown["cards"]
        assert "MR spectroscopy (76390)" in card["summary"]
        assert kinds(card) == ["instructions"]

    def test_before_a_study_is_chosen_nothing_is_shown(self, client: FlaskClient) -> None:
        assert answer(client, self.imaging_tab([{}], [])) == {"cards": [], "systemActions": []}

    def test_it_loses_nothing_by_not_reading_system_actions(self, shown: Json) -> None:
        # It looks for them under `extension`, where CDS Hooks has none.
        assert shown.get("systemActions", []) == []
        assert "extension" not in shown

    def test_its_screen_meets_no_empty_suggestion_no_update_and_no_dead_link(
        self, client: FlaskClient
    ) -> None:
        for card in answer(client, call_of("order-sign/mrs-original-medicare"))["cards"]:
            assert "url" not in card["source"]
            for suggestion in card.get("suggestions", []):
                assert suggestion["actions"]
                assert {a["type"] for a in suggestion["actions"]} == {"create"}

    def test_every_card_can_be_dismissed_from_its_menu(self, shown: Json) -> None:
        for card in shown["cards"]:
            assert card["uuid"]
            assert all(r["code"] and r["system"] and r["display"] for r in card["overrideReasons"])

    def test_the_feedback_that_it_posts_is_taken(self, client: FlaskClient, shown: Json) -> None:
        card = shown["cards"][0]
        reply = client.post(
            "/cds-services/order-select-crd/feedback",
            json={
                "feedback": [
                    {
                        "card": card["uuid"],
                        "outcome": "overridden",
                        "overrideReason": {"reason": card["overrideReasons"][0]},
                        "outcomeTimestamp": "2026-11-22T15:31:00Z",
                    }
                ]
            },
        )
        assert reply.status_code == 200

    def test_its_media_types_are_understood(self, client: FlaskClient) -> None:
        call = self.imaging_tab([{"system": CPT, "code": "76390"}], [])
        for kind in ("application/json", "application/json+fhir", "application/fhir+json"):
            reply = client.post(
                "/cds-services/order-select-crd",
                json=call,
                headers={"Content-Type": kind, "Accept": "application/json+fhir"},
            )
            assert reply.status_code == 200
            assert reply.mimetype == "application/json"

    def test_no_template_repeats_a_parameter_that_it_would_collapse(
        self, client: FlaskClient
    ) -> None:
        for service in client.get("/cds-services").get_json()["services"]:
            for template in service["prefetch"].values():
                query = template.partition("?")[2]
                names = [p.partition("=")[0] for p in query.split("&") if p]
                assert len(names) == len(set(names))


class TestTheCrdRequestGenerator:
    """The reference client, also called test-ehr: order-sign, keys and constants of its own."""

    @staticmethod
    def call(patient: str = "ann") -> Json:
        request = call_of("order-sign/mrs-medicare-advantage")
        prefetched = request["prefetch"]
        orders = request["context"]["draftOrders"]["entry"]
        return {
            "hookInstance": "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea",
            "fhirServer": "http://127.0.0.1:9/test-ehr/r4",
            "hook": "order-sign",
            "context": {
                "userId": "Practitioner/quill",
                "patientId": patient,
                "encounterId": "visit-ann",
                "draftOrders": {"resourceType": "Bundle", "entry": orders},
            },
            "prefetch": {
                "serviceRequestBundle": {"resourceType": "Bundle", "entry": orders},
                "coverageBundle": {
                    "resourceType": "Bundle",
                    "entry": [
                        {"resource": prefetched["patient"]},
                        *prefetched["coverage"]["entry"],
                    ],
                },
            },
        }

    def test_resources_are_known_by_type_under_whatever_key(self, client: FlaskClient) -> None:
        answered = answer(client, self.call())
        check_answer(answered)
        assert [c["source"]["topic"]["code"] for c in answered["cards"]] == ["guideline", "claim"]
        (statement,) = stated(answered)
        assert parts(statement, "coverage") == [{"reference": "Coverage/ma-ann"}]

    def test_its_constant_hook_instance_keeps_no_call_from_its_own_answer(
        self, client: FlaskClient
    ) -> None:
        first = answer(client, self.call())
        other = self.call()
        for bundle in (
            other["context"]["draftOrders"],
            other["prefetch"]["serviceRequestBundle"],
        ):
            for entry in bundle["entry"]:
                entry["resource"]["code"] = {"coding": [{"system": CPT, "code": "0609T"}]}
        second = answer(client, other)
        again = answer(client, self.call())
        assert "0609T" in second["cards"][0]["summary"]
        assert first["cards"][0]["summary"] == again["cards"][0]["summary"]
        assert {c["uuid"] for c in first["cards"]} & {c["uuid"] for c in again["cards"]} == set()

    @pytest.mark.parametrize("authorization", ["null", "Bearer null", "undefined"])
    def test_without_a_key_it_sends_the_word_null(
        self, client: FlaskClient, authorization: str
    ) -> None:
        call: Json = {**self.call(), "fhirAuthorization": None}
        reply = client.post(
            "/cds-services/order-sign-crd", json=call, headers={"Authorization": authorization}
        )
        assert reply.status_code == 200
        assert len(reply.get_json()["cards"]) == 2


class TestInferno:
    """The test kit: its own FHIR server, its own token, and no prefetch unless it was typed in."""

    def test_a_call_without_prefetch_is_answered(self, client: FlaskClient) -> None:
        request = call_of("order-sign/mrs-medicare-advantage")
        del request["prefetch"], request["fhirServer"], request["fhirAuthorization"]
        answered = answer(client, request)
        check_answer(answered)
        # Its order names the coverage, so there is one to point at.
        (statement,) = stated(answered)
        assert parts(statement, "covered") == ["conditional"]
        assert "Verify which plan pays first" in answered["cards"][0]["detail"]

    def test_an_authorization_of_more_than_a_token_is_understood(self, client: FlaskClient) -> None:
        request = call_of("order-sign/mrs-medicare-advantage")
        request["fhirAuthorization"] = {
            "access_token": "SAMPLE_TOKEN",
            "token_type": "Bearer",
            "expires_in": 300,
            "scope": "user/Patient.read user/Observation.read",
            "subject": "cds-service",
        }
        assert len(answer(client, request)["cards"]) == 2


class TestEhrs:
    """Hospitals' systems: many codings, many orders, every kind of reference, odd prefetch."""

    @pytest.mark.requirement("crd-2.2.1:found-10")
    def test_the_billing_code_is_found_among_local_and_clinical_ones(
        self, client: FlaskClient
    ) -> None:
        answered = answer(client, call_of("order-sign/several-codings"))
        (statement,) = stated(answered)
        assert [c["code"] for c in parts(statement, "billingCode")] == ["76390"]

    def test_each_of_several_orders_has_its_own_statement(self, client: FlaskClient) -> None:
        answered = answer(client, call_of("order-sign/disc-pain-four-orders"))
        assert len({a["resource"]["id"] for a in answered.get("systemActions", [])}) == 4
        ids = [parts(e, "coverage-assertion-id")[0] for e in stated(answered)]
        assert len(set(ids)) == 4

    @pytest.mark.parametrize(
        "patient",
        [
            "Patient/ann",
            "http://127.0.0.1:8643/fhir/Patient/ann",
            "Patient/ann/_history/7",
            "urn:uuid:0b1e2a54-7a0a-4b39-9a53-2f1f0d4c9b11",
        ],
    )
    def test_a_reference_leads_to_its_resource_however_it_is_written(
        self, client: FlaskClient, patient: str
    ) -> None:
        request = call_of("order-sign/mrs-medicare-advantage")
        (order,) = (e["resource"] for e in request["context"]["draftOrders"]["entry"])
        order["subject"] = {"reference": patient}
        request["prefetch"]["patient"] = {
            "resourceType": "Bundle",
            "entry": [
                {
                    "fullUrl": "urn:uuid:0b1e2a54-7a0a-4b39-9a53-2f1f0d4c9b11",
                    "resource": request["prefetch"]["patient"],
                }
            ],
        }
        (statement,) = stated(answer(client, request))
        assert parts(statement, "covered") == ["not-covered"]

    def test_a_contained_payer_is_recognized(self, client: FlaskClient) -> None:
        answered = answer(client, call_of("order-sign/references-absolute-urn-and-contained"))
        assert answered["cards"][0]["source"]["label"] == "Example Health Plan"

    def test_extensions_that_nobody_here_knows_change_nothing(self, client: FlaskClient) -> None:
        request = call_of("order-sign/mrs-medicare-advantage")
        plain = answer(client, request)
        vendor = {"url": "https://ehr.example.org/fhir/extension", "valueBase64Binary": "eA=="}
        for bundle in (request["context"]["draftOrders"], request["prefetch"]["coverage"]):
            for entry in bundle["entry"]:
                entry["resource"].setdefault("extension", []).append(vendor)
        with_extensions = answer(client, request)
        assert [c["summary"] for c in with_extensions["cards"]] == [
            c["summary"] for c in plain["cards"]
        ]
        (action,) = with_extensions.get("systemActions", [])
        assert vendor in action["resource"]["extension"]

    @pytest.mark.requirement("cds-hooks-2.0:52")
    @pytest.mark.parametrize(
        "failed",
        [
            None,
            {"resourceType": "OperationOutcome", "issue": [{"severity": "error"}]},
            {"resourceType": "Bundle", "entry": []},
            {
                "resourceType": "Bundle",
                "entry": [{"resource": {"resourceType": "OperationOutcome", "issue": []}}],
            },
        ],
    )
    def test_a_query_that_failed_for_the_ehr_is_no_error_of_the_call(
        self, client: FlaskClient, failed: Any
    ) -> None:
        request = call_of("order-sign/mrs-medicare-advantage")
        del request["fhirServer"], request["fhirAuthorization"]
        request["prefetch"]["coverage"] = failed
        del request["context"]["draftOrders"]["entry"][0]["resource"]["insurance"]
        reply = post(client, request)
        assert reply.status_code == 200
        assert len(reply.get_json()["cards"]) == 2
        assert reply.get_json().get("systemActions", []) == []
