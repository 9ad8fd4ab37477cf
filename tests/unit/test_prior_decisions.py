"""The payer's decision before the service, as the ClaimResponses of a call tell it (PAS)."""

from __future__ import annotations

from typing import Any

import pytest

from service.decision.coverage import Coverage, CoverageFinding, CoverageOutcome, Payer
from service.decision.facts import NOTHING, TABLE, Fact, Why
from service.fhir.systems import CPT
from tests.unit.test_facts_from_fhir import (
    AUTHORIZATION,
    BY_ADDED_ITEM,
    ORDER,
    PAS,
    REQUESTED,
    claim_of,
    coded,
    facts_of,
    reviewed,
    told,
    with_,
)

Json = dict[str, Any]
ASKED: Json = {**AUTHORIZATION, "request": {"reference": "Claim/c"}, "preAuthRef": None}
CLAIM = claim_of(extension=[REQUESTED])
DECISION = "earlier.decision"


def answered(code: str, **more: Any) -> Json:
    """The response to the Claim of the order, its one item reviewed with a code of X12 306."""
    return {**ASKED, "item": [reviewed(code)], **more}


def numbered(response: Json, number: str) -> Json:
    action = response["item"][0]["adjudication"][0]["extension"][0]
    action["extension"].append({"url": "number", "valueString": number})
    return response


def decision(*call: Json, order: Json = ORDER) -> Fact:
    return told(DECISION, order, *call)


@pytest.mark.parametrize(
    ("code", "outcome", "said"),
    [
        ("A2", "complete", "partly"),
        ("A3", "complete", "denied"),
        ("A4", "complete", "pending"),
        ("A4", "queued", "pending"),
        ("A4", "partial", "pending"),
        ("A6", "complete", "partly"),
        ("A3", "queued", "pending"),
    ],
)
def test_a_review_action_tells_how_the_request_stands(code: str, outcome: str, said: str) -> None:
    response = answered(code, outcome=outcome)
    assert decision(response, CLAIM).value == said
    assert told("earlier.approved", ORDER, response, CLAIM).value is False


def test_a_certification_with_its_number_is_an_approval() -> None:
    response = numbered(answered("A1"), "PA-9")
    assert decision(response, CLAIM).value == "approved"
    assert told("earlier.approval", ORDER, response, CLAIM).value == "PA-9"
    assert told("earlier.approved", ORDER, response, CLAIM).value is True


def test_a_certification_without_a_number_is_not_taken_for_an_approval() -> None:
    assert decision(answered("A1"), CLAIM).value is NOTHING


def test_a_certification_for_other_days_says_nothing_of_this_order() -> None:
    period = {"url": PAS + "itemPreAuthPeriod", "valuePeriod": {"end": "2026-06-19"}}
    response = numbered(answered("A1"), "PA-9")
    response["item"][0]["extension"] = [period]
    assert decision(response, CLAIM).value is NOTHING


@pytest.mark.parametrize("code", ["CT", "C", "NA", "", "a1"])
def test_a_review_action_that_says_something_else_is_not_guessed_at(code: str) -> None:
    assert decision(answered(code), CLAIM).value is NOTHING


@pytest.mark.parametrize(
    "response",
    [
        answered("A3", outcome="error"),
        answered("A3", status="cancelled"),
        answered("A3", use="claim"),
        answered("A3", use="predetermination"),
        answered("A3", patient={"reference": "Patient/another"}),
        answered("A3", patient=None),
        {**ASKED, "item": [{**reviewed("A3"), "itemSequence": 2}]},
        ASKED,
    ],
    ids=["error", "cancelled", "claim", "estimate", "another", "no patient", "item", "bare"],
)
def test_what_is_no_decision_on_this_order_decides_nothing(response: Json) -> None:
    assert decision(response, CLAIM).value is NOTHING


def test_a_request_that_is_queued_is_pending_before_any_review() -> None:
    assert decision({**ASKED, "outcome": "queued"}, CLAIM).value == "pending"


def test_items_that_are_decided_differently_are_an_answer_in_part() -> None:
    second = {**reviewed("A3"), "itemSequence": 2}
    response = numbered({**ASKED, "item": [reviewed("A1"), second]}, "PA-9")
    two = claim_of(extension=[REQUESTED])
    two["item"].append({"sequence": 2, "productOrService": coded(CPT, "82270")})
    assert decision(response, two).value == "partly"


def test_a_review_of_the_whole_counts_where_the_items_tell_none() -> None:
    whole = reviewed("A3")["adjudication"]
    assert decision({**ASKED, "adjudication": whole}, CLAIM).value == "denied"


def test_the_newest_decision_counts_whatever_comes_first() -> None:
    first = answered("A4", id="x", created="2026-06-01T08:00:00Z")
    then = answered("A3", id="y", created="2026-06-02T08:00:00Z")
    for call in ((first, then), (then, first)):
        assert decision(*call, CLAIM).value == "denied"
    day = told("earlier.decision_day", ORDER, first, then, CLAIM)
    assert str(day.value) == "2026-06-02"


def test_on_one_day_the_later_instant_counts() -> None:
    morning = answered("A4", id="x", created="2026-06-02T08:00:00-05:00")
    noon = answered("A3", id="y", created="2026-06-02T12:30:00Z")
    assert decision(morning, noon, CLAIM).value == "pending"


@pytest.mark.parametrize("created", [None, "2026-06-02", "2026-06"])
def test_decisions_that_nothing_puts_in_order_contradict_each_other(created: str | None) -> None:
    pending, denied = (answered(c, id=c, created=created) for c in ("A4", "A3"))
    found = decision(pending, denied, CLAIM)
    assert found.why is Why.CONTRADICTORY
    assert len(found.places) == 2
    assert told("earlier.approved", ORDER, pending, denied, CLAIM).why is Why.CONTRADICTORY


def test_the_decision_that_the_order_names_comes_before_others_of_the_call() -> None:
    order = with_(insurance=[{"reference": "ClaimResponse/named"}])
    named = answered("A4", id="named", created="2026-06-01T08:00:00Z")
    other = answered("A3", id="other", created="2026-06-09T08:00:00Z")
    assert decision(named, other, CLAIM, order=order).value == "pending"


def test_a_decision_that_the_order_names_and_that_is_another_patients_decides_nothing() -> None:
    order = with_(insurance=[{"reference": "ClaimResponse/b"}])
    response = {**BY_ADDED_ITEM, "patient": {"reference": "Patient/another"}}
    assert decision(response, order=order).value is NOTHING


def test_a_decision_that_the_order_names_and_that_did_not_come_is_told() -> None:
    order = with_(insurance=[{"reference": "ClaimResponse/elsewhere"}])
    assert decision(order=order).value == "unread"
    assert told("earlier.approved", order).why is Why.NOT_TOLD


OURS = Payer("urn:oid:2.999.7.1", "plan", "Plan", "medicare_advantage", ())
INSURER: Json = {
    "resourceType": "Organization",
    "id": "insurer",
    "identifier": [{"system": "urn:oid:2.999.7.1", "value": "another-plan"}],
}


@pytest.mark.parametrize(
    ("insurer", "said"),
    [
        ({"reference": "Organization/insurer"}, NOTHING),
        ({"identifier": {"system": "urn:oid:2.999.7.1", "value": "another-plan"}}, NOTHING),
        ({"identifier": {"system": "urn:oid:2.999.7.1", "value": "plan"}}, "denied"),
        ({"identifier": {"system": "http://example.org/other", "value": "1"}}, "denied"),
        ({"reference": "Organization/unread"}, "denied"),
    ],
)
def test_the_decision_of_another_insurer_decides_nothing(insurer: Json, said: object) -> None:
    coverage = Coverage("Coverage/c", "prefetch.coverage", OURS, payer_told=True)
    finding = CoverageFinding(CoverageOutcome.FOUND, "of the test", coverage)
    response = answered("A3", insurer=insurer)
    facts = facts_of(ORDER, response, CLAIM, INSURER)
    facts.finding = finding
    assert facts.get(TABLE[DECISION]).value == said


COVERAGE_INFORMATION = (
    "http://hl7.org/fhir/us/davinci-crd/StructureDefinition/ext-coverage-information"
)


def stated(coverage: str) -> Json:
    """The order with a statement that its authorization is satisfied, on a coverage."""
    parts = [
        {"url": "coverage", "valueReference": {"reference": coverage}},
        {"url": "pa-needed", "valueCode": "satisfied"},
        {"url": "satisfied-pa-id", "valueString": "PA-3"},
    ]
    return with_(extension=[{"url": COVERAGE_INFORMATION, "extension": parts}])


def test_a_statement_on_the_orders_own_coverage_tells_an_approval() -> None:
    assert decision(order=stated("Coverage/c")).value == "approved"
    assert told("earlier.approval", stated("Coverage/c")).value == "PA-3"


def test_a_statement_on_another_coverage_tells_none() -> None:
    order = stated("Coverage/of-an-earlier-plan")
    assert decision(order=order).value is NOTHING
    assert told("earlier.approved", order).value is False


STUDY = "http://hl7.org/fhir/StructureDefinition/workflow-researchStudy"


def subject(status: str, patient: str = "Patient/p") -> Json:
    who = {"reference": patient}
    return {"resourceType": "ResearchSubject", "id": "s", "status": status, "individual": who}


def test_a_study_is_told_by_the_order_or_by_the_patients_part_in_one() -> None:
    of_a_study = with_(
        extension=[{"url": STUDY, "valueReference": {"reference": "ResearchStudy/1"}}]
    )
    assert told("order.study", of_a_study).value is True
    assert told("order.study", ORDER, subject("on-study")).value is True


@pytest.mark.parametrize(
    "other", [subject("off-study"), subject("withdrawn"), subject("on-study", "Patient/another")]
)
def test_a_study_that_has_ended_or_is_anothers_tells_nothing(other: Json) -> None:
    assert told("order.study", ORDER, other).why is Why.NOT_TOLD
