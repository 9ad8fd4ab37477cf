"""What is missing and needed is fetched from the EHR; what came along is not."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from service.errors import PreconditionFailed
from tests.e2e.fetch.conftest import Ask, bare
from tests.e2e.fetch.ehrs import (
    Behavior,
    Ehr,
    Handler,
    changed,
    each_coverage,
    found,
    hang,
    serve,
    status,
)

SIGN = "order-sign/mrs-original-medicare"
COVERAGE = "Coverage?patient&status&_include"
ALL_OF_IT = ("patient", "coverage", "encounter")


@pytest.mark.requirement(
    "crd-2.2.1:found-5",
    "crd-2.2.1:resp-39",
    "crd-2.0.1:56",
    "crd-2.0.1:62",
    "cds-hooks-2.0:34",
    "cds-hooks-2.0:60",
)
def test_without_prefetch_the_answer_is_the_same_as_with_it(ehr: Ehr, ask: Ask) -> None:
    fetched = ask(bare(SIGN, ehr.base))
    given = ask(bare(SIGN, ehr.base, *ALL_OF_IT))
    assert fetched.outcomes == {COVERAGE: "fetched", "Encounter/visit-bo": "fetched"}
    assert given.outcomes == {}
    assert fetched.summaries == given.summaries
    assert fetched.statements == given.statements
    assert fetched.statements["ServiceRequest/mrs-brain"]["covered"] == "conditional"


@pytest.mark.requirement("crd-2.2.1:found-28", "cds-hooks-2.0:28")
def test_nothing_is_fetched_where_everything_came_along(ehr: Ehr, ask: Ask) -> None:
    asked = ask(bare(SIGN, ehr.base, *ALL_OF_IT))
    assert ehr.requests == []
    assert asked.token_use == "not-used"


def test_nothing_is_fetched_where_nothing_is_ordered(ehr: Ehr, ask: Ask) -> None:
    ask(bare("order-sign/no-orders", ehr.base))
    ask(bare("order-sign/do-not-perform", ehr.base))
    assert ehr.requests == []


def test_a_search_that_the_client_did_itself_and_found_nothing_is_not_done_again(
    ehr: Ehr, ask: Ask
) -> None:
    asked = ask(bare("order-sign/no-coverage", ehr.base, *ALL_OF_IT))
    assert ehr.requests == []
    assert asked.statements == {}
    assert asked.summaries


@pytest.mark.requirement("cds-hooks-2.0:52")
def test_a_search_that_failed_for_the_client_is_done_again(ehr: Ehr, ask: Ask) -> None:
    for failed in (None, {"resourceType": "OperationOutcome"}):
        request = bare(SIGN, ehr.base, "patient", "encounter")
        request["prefetch"]["coverage"] = failed
        assert ask(request).outcomes == {COVERAGE: "fetched"}


@pytest.mark.requirement("cds-hooks-2.0:61", "crd-2.0.1:57")
def test_the_token_goes_along_and_fhir_json_is_asked_for(ehr: Ehr, ask: Ask) -> None:
    asked = ask(bare(SIGN, ehr.base))
    assert asked.token_use == "used"
    for _, headers in ehr.requests:
        assert headers["Authorization"] == "Bearer not-a-real-token-for-fixtures-only"
        assert headers["Accept"] == "application/fhir+json"
        assert headers["Host"] == f"127.0.0.1:{ehr.port}"


def test_coverage_is_searched_as_the_prefetch_template_says(ehr: Ehr, ask: Ask) -> None:
    ask(bare(SIGN, ehr.base, "patient", "encounter"))
    assert ehr.paths == ["/fhir/Coverage?patient=bo&status=active&_include=Coverage%3Apayor"]


def test_a_payer_that_the_search_did_not_bring_is_read(ehr: Ehr, ask: Ask) -> None:
    def without_payer(bundle: Any) -> Any:
        return bundle | {
            "entry": [e for e in bundle["entry"] if e["resource"]["resourceType"] == "Coverage"]
        }

    ehr.misbehave["Coverage"] = changed(without_payer)
    asked = ask(bare(SIGN, ehr.base, "patient", "encounter"))
    assert asked.outcomes == {COVERAGE: "fetched", "Organization/example-payer": "fetched"}
    assert asked.statements["ServiceRequest/mrs-brain"]["covered"] == "conditional"


def test_a_payer_that_came_without_its_organization_is_read(ehr: Ehr, ask: Ask) -> None:
    request = bare(SIGN, ehr.base, *ALL_OF_IT)
    del request["prefetch"]["coverage"]["entry"][1]
    assert ask(request).outcomes == {"Organization/example-payer": "fetched"}


class TestAPayerThatASearchUnderWayMayInclude:
    """The coverage that the order names is here, and with it the payer's reference; the search for
    the patient's coverages has not ended.
    """

    COVERAGE_READ = "Coverage/ma-ann"
    PAYER = "Organization/example-health-plan"

    @staticmethod
    def late_search(ehr: Ehr, then: Behavior) -> None:
        """Have the search answered once the coverage has been read, and a moment has passed."""
        read = threading.Event()

        def answer(handler: Handler) -> None:
            if "?" not in handler.path:
                serve(handler)
                read.set()
                return
            assert read.wait(60)
            # More than the tenth of its own time for which a read waits for what comes with it.
            threading.Event().wait(0.3)
            then(handler)

        ehr.misbehave["Coverage"] = answer

    def test_is_not_read_beside_it(self, ehr: Ehr, ask: Ask) -> None:
        self.late_search(ehr, serve)
        asked = ask(bare("order-sign/mrs-medicare-advantage", ehr.base, "patient", "encounter"))
        assert asked.outcomes == {self.COVERAGE_READ: "fetched", COVERAGE: "fetched"}
        assert asked.statements["ServiceRequest/mrs-brain"]["covered"] == "not-covered"

    def test_is_read_once_the_search_has_failed(self, ehr: Ehr, ask: Ask) -> None:
        self.late_search(ehr, status(500))
        asked = ask(bare("order-sign/mrs-medicare-advantage", ehr.base, "patient", "encounter"))
        assert asked.outcomes == {
            self.COVERAGE_READ: "fetched",
            COVERAGE: "error",
            self.PAYER: "fetched",
        }
        assert asked.statements["ServiceRequest/mrs-brain"]["covered"] == "not-covered"

    def test_is_read_while_there_is_time_where_the_search_has_no_end(
        self, ehr: Ehr, ask: Ask
    ) -> None:
        self.late_search(ehr, hang)
        asked = ask(
            bare("order-sign/mrs-medicare-advantage", ehr.base, "patient", "encounter"),
            fetch_budget_ms=6000,
        )
        assert asked.outcomes == {
            self.COVERAGE_READ: "fetched",
            COVERAGE: "timeout",
            self.PAYER: "fetched",
        }


@pytest.mark.parametrize(
    "written", ["{base}/{payer}", "{payer}/_history/2", "{base}/{payer}/_history/2"]
)
def test_a_reference_is_read_however_it_is_written(written: str, ehr: Ehr, ask: Ask) -> None:
    request = bare(SIGN, ehr.base, *ALL_OF_IT)
    bundle = request["prefetch"]["coverage"]
    del bundle["entry"][1]
    reference = written.format(base=ehr.base, payer="Organization/example-payer")
    bundle["entry"][0]["resource"]["payor"] = [{"reference": reference}]
    asked = ask(request)
    assert ehr.paths == ["/fhir/Organization/example-payer"]
    assert asked.outcomes == {"Organization/example-payer": "fetched"}
    assert asked.statements["ServiceRequest/mrs-brain"]["covered"] == "conditional"


def test_a_payer_that_its_reference_identifies_is_not_read(ehr: Ehr, ask: Ask) -> None:
    request = bare(SIGN, ehr.base, *ALL_OF_IT)
    bundle = request["prefetch"]["coverage"]
    del bundle["entry"][1]
    identifier = {"system": "http://example.org/payers", "value": "example-payer"}
    bundle["entry"][0]["resource"]["payor"][0]["identifier"] = identifier
    assert ask(request).outcomes == {}


def test_the_coverage_that_an_order_names_is_read(ehr: Ehr, ask: Ask) -> None:
    asked = ask(bare("order-sign/mrs-medicare-advantage", ehr.base))
    assert asked.outcomes["Coverage/ma-ann"] == "fetched"
    said = asked.statements["ServiceRequest/mrs-brain"]
    assert said["coverage"] == {"reference": "Coverage/ma-ann"}
    assert said["covered"] == "not-covered"


def test_none_of_several_coverages_is_picked(ehr: Ehr, ask: Ask) -> None:
    request = bare("order-sign/several-coverages", ehr.base)
    asked = ask(request)
    assert asked.outcomes[COVERAGE] == "fetched"
    assert asked.statements == {}
    assert "More than one insurance is active" in asked.answer["cards"][0]["detail"]


def test_an_emergency_is_read_from_the_encounter(ehr: Ehr, ask: Ask) -> None:
    asked = ask(bare("order-sign/emergency-encounter", ehr.base, "patient", "coverage"))
    assert asked.outcomes == {"Encounter/emergency-ann": "fetched"}
    assert [c["source"]["topic"]["code"] for c in asked.answer["cards"]] == ["guideline"]


def test_an_early_warning_does_not_look_at_the_encounter(ehr: Ehr, ask: Ask) -> None:
    asked = ask(bare("order-select/mrs-selected", ehr.base))
    assert asked.outcomes.keys() == {COVERAGE}


def test_the_medication_behind_an_order_is_read_for_its_code(ehr: Ehr, ask: Ask) -> None:
    request = bare("order-sign/every-order-type", ehr.base, *ALL_OF_IT)
    entries = request["context"]["draftOrders"]["entry"]
    tablet = next(
        e["resource"] for e in entries if e["resource"]["resourceType"] == "MedicationRequest"
    )
    tablet.pop("medicationCodeableConcept")
    tablet["medicationReference"] = {"reference": "Medication/pill"}
    code = {"coding": [{"system": "http://www.ama-assn.org/go/cpt", "code": "76390"}]}
    ehr.misbehave["Medication"] = lambda h: h.send_json(
        {"resourceType": "Medication", "id": "pill", "code": code}
    )
    asked = ask(request)
    assert asked.outcomes == {"Medication/pill": "fetched"}
    assert asked.statements["MedicationRequest/tablet"]["covered"] == "not-covered"


def test_the_procedure_behind_an_appointment_is_read_for_its_code(ehr: Ehr, ask: Ask) -> None:
    request = bare("appointment-book/unlisted-appointment", ehr.base, *ALL_OF_IT)
    (entry,) = request["context"]["appointments"]["entry"]
    entry["resource"]["reasonReference"] = [{"reference": "Procedure/scan"}]
    code = {"coding": [{"system": "http://www.ama-assn.org/go/cpt", "code": "76390"}]}
    ehr.misbehave["Procedure"] = lambda h: h.send_json(
        {"resourceType": "Procedure", "id": "scan", "code": code}
    )
    asked = ask(request)
    assert asked.outcomes == {"Procedure/scan": "fetched"}
    assert asked.statements["Appointment/talk-slot"]["covered"] == "not-covered"


def test_dispatched_orders_are_read_and_go_back_as_they_came(ehr: Ehr, ask: Ask) -> None:
    def with_odd_number(handler: Handler) -> None:
        extension = {"url": "http://example.org/x", "valueDecimal": "odd"}
        text = json.dumps(found(handler) | {"extension": [extension]})
        handler.send(text.replace('"odd"', "1.500").encode())

    ehr.misbehave["ServiceRequest"] = with_odd_number
    asked = ask(bare("order-dispatch/mrs-original-medicare", ehr.base))
    assert asked.outcomes == {
        "ServiceRequest/mrs-to-dispatch-bo": "fetched",
        # This hook's context names no encounter; the order does.
        "Encounter/visit-bo": "fetched",
        COVERAGE: "fetched",
    }
    assert asked.statements["ServiceRequest/mrs-to-dispatch-bo"]["covered"] == "conditional"
    assert len(asked.answer["systemActions"]) == 1
    assert b'"valueDecimal":1.500' in asked.review.answer


def test_the_order_behind_an_appointment_is_read(ehr: Ehr, ask: Ask) -> None:
    asked = ask(bare("appointment-book/appointment-for-an-order", ehr.base, "coverage"))
    assert asked.outcomes == {
        "ServiceRequest/mrs-to-book": "fetched",
        "Encounter/visit-ann": "fetched",
    }
    assert asked.statements["ServiceRequest/mrs-to-book"]["covered"] == "not-covered"


def test_orders_of_an_encounter_are_searched_then_their_coverage(ehr: Ehr, ask: Ask) -> None:
    asked = ask(bare("encounter-start/mrs-ordered", ehr.base))
    assert "/fhir/ServiceRequest?patient=bo&encounter=visit-bo" in ehr.paths
    assert asked.outcomes[COVERAGE] == "fetched"
    assert len(asked.summaries) == 1


def test_an_encounter_without_orders_costs_no_look_at_the_coverage(ehr: Ehr, ask: Ask) -> None:
    request = bare("encounter-start/nothing-ordered", ehr.base)
    request["context"] |= {"patientId": "dee", "encounterId": "visit-dee"}
    asked = ask(request)
    assert asked.outcomes["ServiceRequest?patient&encounter"] == "fetched"
    assert COVERAGE not in asked.outcomes
    assert asked.summaries == []


def test_the_appointment_of_an_encounter_leads_to_its_order(ehr: Ehr, ask: Ask) -> None:
    ehr.misbehave["Encounter"] = changed(
        lambda e: e | {"appointment": [{"reference": "Appointment/slot"}]}
    )
    slot = {
        "resourceType": "Appointment",
        "id": "slot",
        "status": "booked",
        "basedOn": [{"reference": "ServiceRequest/mrs-to-book"}],
        "participant": [{"actor": {"reference": "Patient/ann"}, "status": "accepted"}],
    }
    ehr.misbehave["Appointment"] = lambda h: h.send_json(slot)
    request = bare("encounter-start/nothing-ordered", ehr.base)
    request["context"]["encounterId"] = "emergency-ann"
    asked = ask(request)
    assert asked.outcomes["Appointment/slot"] == "fetched"
    assert asked.outcomes["ServiceRequest/mrs-to-book"] == "fetched"
    assert asked.summaries


@pytest.mark.threat("stale-data")
def test_what_came_along_wins_over_what_is_fetched(ehr: Ehr, ask: Ask) -> None:
    request = bare("order-sign/mrs-medicare-advantage", ehr.base, *ALL_OF_IT)
    coverage = request["prefetch"]["coverage"]["entry"][0]["resource"]
    coverage["type"]["coding"] = [{"system": "https://nahdo.org/sopt", "code": "121"}]
    del request["prefetch"]["encounter"]
    ehr.misbehave["Coverage"] = each_coverage(lambda c: c["type"].clear())
    asked = ask(request)
    assert asked.statements["ServiceRequest/mrs-brain"]["covered"] == "conditional"


def test_without_a_server_or_a_token_for_one_that_is_not_ours_to_ask_nothing_is_fetched(
    ehr: Ehr, ask: Ask
) -> None:
    for absent in ("fhirAuthorization", "fhirServer"):
        request = bare(SIGN, ehr.base)
        request[absent] = None
        asked = ask(request, frozenset())
        assert asked.outcomes == {}
        assert "No insurance was sent with this order" in asked.answer["cards"][0]["detail"]
    assert ehr.requests == []


def test_a_budget_of_zero_turns_fetching_off(ehr: Ehr, ask: Ask) -> None:
    assert ask(bare(SIGN, ehr.base), fetch_budget_ms=0).outcomes == {}
    assert ehr.requests == []


def test_a_coverage_that_is_not_there_is_no_coverage_and_no_trouble(ehr: Ehr, ask: Ask) -> None:
    ehr.misbehave["Coverage"] = lambda h: h.send_json(
        {"resourceType": "Bundle", "type": "searchset"}
    )
    asked = ask(bare(SIGN, ehr.base))
    assert asked.outcomes[COVERAGE] == "fetched"
    assert "No insurance was sent with this order" in asked.answer["cards"][0]["detail"]


@pytest.mark.requirement("cds-hooks-2.0:54")
def test_orders_that_nobody_gives_are_a_412(ehr: Ehr, ask: Ask) -> None:
    name = "order-dispatch/two-orders"
    without_access = bare(name, ehr.base) | {"fhirAuthorization": None}
    with pytest.raises(PreconditionFailed) as refusal:
        ask(without_access)
    places = [place for place, _ in refusal.value.problems]
    assert places == ["context.dispatchedOrders[0]", "context.dispatchedOrders[1]"]
    ehr.misbehave["ServiceRequest"] = lambda h: h.send_json({}, 503)
    with pytest.raises(PreconditionFailed):
        ask(bare(name, ehr.base))
    with pytest.raises(PreconditionFailed):
        ask(bare(name, "https://not-listed.example/fhir"))


def test_one_of_two_orders_is_answered_where_the_other_cannot_be_had(ehr: Ehr, ask: Ask) -> None:
    request = bare("order-dispatch/two-orders", ehr.base)
    request["context"]["dispatchedOrders"] = [
        "ServiceRequest/mrs-to-dispatch",
        "../../metadata",
    ]
    asked = ask(request)
    assert asked.outcomes["(not a reference)"] == "not-allowed"
    assert "not checked" in asked.summaries[-1]
    assert "extension" not in asked.answer["cards"][-1]


@pytest.mark.requirement("crd-2.2.1:found-32")
def test_a_query_that_was_performed_and_found_no_order_is_no_412(ehr: Ehr, ask: Ask) -> None:
    request = bare("order-dispatch/mrs-original-medicare", ehr.base)
    request["context"]["dispatchedOrders"] = ["ServiceRequest/gone"]
    asked = ask(request)
    assert asked.outcomes["ServiceRequest/gone"] == "not-found"
    assert asked.answer.get("systemActions", []) == []
    (card,) = asked.answer["cards"]
    assert card["summary"].startswith("One order could not be read from the EHR")
    named = card["extension"]["davinci-crd.associated-resource"]
    assert named == [{"reference": "ServiceRequest/gone"}]


@pytest.mark.requirement("crd-2.2.1:found-34", "crd-2.2.1:found-32")
def test_missing_coverage_is_no_412(ehr: Ehr, ask: Ask) -> None:
    asked = ask(bare(SIGN, ehr.base) | {"fhirServer": None})
    assert asked.summaries


def test_the_way_to_the_answer_says_what_was_fetched(ehr: Ehr, ask: Ask) -> None:
    (determination,) = ask(bare(SIGN, ehr.base)).review.determinations
    steps = [(s.topic, s.finding) for s in determination.trace]
    assert steps[:2] == [("data", "fetched"), ("data", "fetched")]
