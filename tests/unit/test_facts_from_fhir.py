"""Facts read from FHIR: each with its place, or why it is unknown."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from cards.coverage_information import EXTENSION_URL
from service.decision.coverage import Coverage, CoverageFinding, CoverageOutcome
from service.decision.evaluate import service_day
from service.decision.facts import (
    NOTHING,
    TABLE,
    Between,
    Fact,
    FactKind,
    FactSource,
    FactSpec,
    Family,
    Why,
)
from service.decision.order import Code
from service.decision.value_sets import CodeSpan, ValueSet, ValueSetEntry
from service.ehr.fhir_query import Read, Search
from service.fhir.document import Document, Resource
from service.fhir.fact_reader import READERS, FhirFacts
from service.fhir.orders import read_order
from service.fhir.resources import Resources
from service.fhir.systems import CPT, ICD_10_CM, LOINC, US_NPI
from service.review.fact_needs import fact_needs, searched_in_full

Json = dict[str, Any]
TODAY = date(2026, 6, 15)
ORDER: Json = {
    "resourceType": "ServiceRequest",
    "id": "o",
    "status": "draft",
    "intent": "order",
    "code": {"coding": [{"system": CPT, "code": "82270"}]},
    "subject": {"reference": "Patient/p"},
    "occurrenceDateTime": "2026-06-20",
}
PATIENT: Json = {
    "resourceType": "Patient",
    "id": "p",
    "gender": "female",
    "birthDate": "1960-02-29",
}


def resource(data: Json) -> Resource:
    return Resource(data, Document(b"{}", data), ("context", data["resourceType"]))


def facts_of(order: Json, *others: Json, **more: Any) -> FhirFacts:
    resources = Resources()
    for data in (order, *others):
        resources.add(resource(data))
    own = resource(order)
    read = read_order(own, resources)
    coverage = Coverage(
        "Coverage/c", "coverage", None, False, status="active", **more.pop("of", {})
    )
    return FhirFacts(
        order=read,
        resource=own,
        finding=CoverageFinding(CoverageOutcome.FOUND, "", coverage),
        resources=resources,
        patient="Patient/p",
        day=service_day(read, TODAY),
        today=TODAY,
        form_of=lambda canonical: canonical.rpartition("/")[2].partition("|")[0],
        **more,
    )


def told(name: str, order: Json, *others: Json, **more: Any) -> Fact:
    return facts_of(order, *others, **more).get(TABLE[name])


def with_(**elements: Any) -> Json:
    return {**ORDER, **elements}


def coded(system: str, code: str) -> Json:
    return {"coding": [{"system": system, "code": code}]}


def test_every_fact_of_the_table_is_read() -> None:
    assert set(READERS) == set(TABLE)
    facts = facts_of(ORDER)
    for spec in TABLE.values():
        fact = facts.get(spec)
        assert fact.known or fact.why is not None, spec.name


def test_no_shape_of_data_makes_reading_a_fact_fail() -> None:
    odd = with_(
        reasonCode="M54.5",
        reasonReference=[None, {"reference": 5}, "x"],
        performer=[{"reference": None}],
        locationReference={},
        quantityQuantity=[],
        occurrenceTiming={"repeat": {"frequency": "often", "period": 0}},
        insurance=[3],
        orderDetail=[{"coding": {}}],
        priority=7,
        encounter=[],
        bodySite=None,
        category=[[]],
    )
    facts = facts_of(odd, {"resourceType": "Patient", "id": "p", "birthDate": 5, "gender": []})
    for spec in TABLE.values():
        facts.get(spec)


def test_a_diagnosis_is_read_with_or_without_its_dot_and_with_its_place() -> None:
    fact = told("order.reason", with_(reasonCode=[coded(ICD_10_CM, "m5450")]))
    assert fact.value == {Code(ICD_10_CM, "M54.50")}
    assert fact.places == ("context.ServiceRequest.reasonCode[0]",)


def test_a_diagnosis_that_is_referred_to_is_read_from_its_condition() -> None:
    condition = {
        "resourceType": "Condition",
        "id": "c",
        "code": coded(ICD_10_CM, "J44.9"),
        "subject": {"reference": "Patient/p"},
    }
    order = with_(reasonReference=[{"reference": "Condition/c"}])
    assert told("order.reason", order, condition).value == {Code(ICD_10_CM, "J44.9")}


def test_a_diagnosis_that_did_not_come_is_not_told_and_one_refused_not_reachable() -> None:
    order = with_(
        reasonCode=[coded(ICD_10_CM, "J44.9")], reasonReference=[{"reference": "Condition/c"}]
    )
    fact = told("order.reason", order)
    assert (fact.value, fact.why) == ({Code(ICD_10_CM, "J44.9")}, Why.NOT_TOLD)
    fact = told("order.reason", order, unreachable={"Condition/c"})
    assert fact.why is Why.NOT_REACHABLE


def test_a_diagnosis_in_words_only_is_not_readable() -> None:
    assert told("order.reason", with_(reasonCode=[{"text": "Back pain"}])).why is Why.NOT_READABLE


def test_an_order_without_a_diagnosis_tells_none() -> None:
    assert told("order.reason", ORDER).why is Why.NOT_TOLD


def test_a_period_of_service_counts_by_its_first_day_and_a_month_by_its_days() -> None:
    order = with_(occurrencePeriod={"start": "2026-07-01", "end": "2027-06-30"})
    del order["occurrenceDateTime"]
    assert told("order.day", order).value == date(2026, 7, 1)
    month = told("order.day", with_(occurrenceDateTime="2026-07"))
    assert month.value == Between(date(2026, 7, 1), date(2026, 7, 31))
    assert month.why is Why.NOT_READABLE


def test_an_order_without_a_day_is_for_today() -> None:
    order = with_()
    del order["occurrenceDateTime"]
    assert told("order.day", order).value == TODAY


def test_a_priority_that_is_not_told_is_routine() -> None:
    assert told("order.priority", ORDER).value == "routine"
    assert told("order.priority", with_(priority="stat")).value == "stat"


def test_a_quantity_and_a_frequency_are_numbers() -> None:
    order = with_(
        quantityQuantity={"value": 3, "unit": "units"},
        occurrenceTiming={"repeat": {"frequency": 2, "period": 1, "periodUnit": "wk"}},
    )
    assert told("order.quantity", order).value == Decimal(3)
    frequency = told("order.frequency", order).value
    assert isinstance(frequency, Decimal)
    assert round(frequency * 7, 6) == 2


def test_a_performer_is_told_by_its_npi() -> None:
    performer = {"identifier": {"system": US_NPI, "value": "1234567893"}}
    assert told("order.performer", with_(performer=[performer])).value == {
        Code(US_NPI, "1234567893")
    }


def test_the_patient_tells_age_gender_and_death() -> None:
    assert told("patient.age", ORDER, PATIENT).value == date(1960, 2, 29)
    assert told("patient.gender", ORDER, PATIENT).value == "female"
    assert told("patient.deceased", ORDER, PATIENT).value is False
    year = told("patient.age", ORDER, {**PATIENT, "birthDate": "1960"})
    assert year.value == Between(date(1960, 1, 1), date(1960, 12, 31))
    assert told("patient.age", ORDER).why is Why.NOT_TOLD


def test_two_plans_in_one_coverage_contradict_each_other() -> None:
    kind = coded("http://terminology.hl7.org/CodeSystem/coverage-class", "plan")
    coverage = {
        "resourceType": "Coverage",
        "id": "c",
        "class": [{"type": kind, "value": "A"}, {"type": kind, "value": "B"}],
    }
    assert told("coverage.plan", ORDER, coverage).why is Why.CONTRADICTORY
    coverage["class"] = [{"type": kind, "value": "A"}]
    assert told("coverage.plan", ORDER, coverage).value == "A"


def test_a_coverage_that_ends_before_the_service_is_not_in_force() -> None:
    ended = {"ends": date(2026, 6, 19)}
    assert told("coverage.in_force", ORDER, of=ended).value is False
    assert told("coverage.in_force", ORDER, of={"ends": date(2026, 6, 20)}).value is True


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ({"code": "EMER"}, "emergency"),
        ({"code": "e"}, "emergency"),
        ({"code": "IMP"}, "inpatient"),
        ({"code": "AMB"}, "ambulatory"),
        ({"code": "local"}, "local"),
    ],
)
def test_encounter_classes_of_both_code_systems_have_one_name(written: Json, meant: str) -> None:
    encounter = {"resourceType": "Encounter", "id": "e", "class": written}
    assert told("encounter.class", ORDER, encounter, encounter_id="e").value == meant


def test_an_authorization_that_the_order_names_is_an_approval_on_its_days() -> None:
    response = {
        "resourceType": "ClaimResponse",
        "id": "a",
        "status": "active",
        "use": "preauthorization",
        "outcome": "complete",
        "preAuthRef": "PA-7",
        "preAuthPeriod": {"start": "2026-06-01", "end": "2026-07-31"},
    }
    order = with_(insurance=[{"reference": "ClaimResponse/a"}])
    assert told("earlier.approval", order, response).value == "PA-7"
    assert told("earlier.approved", order, response).value is True
    late = {**response, "preAuthPeriod": {"start": "2026-01-01", "end": "2026-01-31"}}
    assert told("earlier.approval", order, late).value is NOTHING
    assert told("earlier.approved", ORDER, response).value is False


PAS = "http://hl7.org/fhir/us/davinci-pas/StructureDefinition/extension-"
AUTHORIZATION: Json = {
    "resourceType": "ClaimResponse",
    "id": "b",
    "status": "active",
    "use": "preauthorization",
    "outcome": "complete",
    "patient": {"reference": "Patient/p"},
    "preAuthRef": "PA-8",
}


def claim_of(**item: Any) -> Json:
    return {"resourceType": "Claim", "id": "c", "item": [{"sequence": 1, **item}]}


def reviewed(code: str) -> Json:
    coding = {"system": "https://codesystem.x12.org/005010/306", "code": code}
    said = {"url": PAS + "reviewActionCode", "valueCodeableConcept": {"coding": [coding]}}
    action = {"url": PAS + "reviewAction", "extension": [said]}
    return {"itemSequence": 1, "adjudication": [{"extension": [action]}]}


DETAIL = {
    "url": PAS + "itemAuthorizedDetail",
    "extension": [{"url": "productOrServiceCode", "valueCodeableConcept": coded(CPT, "82270")}],
}
REQUESTED = {"url": PAS + "requestedService", "valueReference": {"reference": "ServiceRequest/o"}}
ANSWERS_CLAIM: Json = {**AUTHORIZATION, "request": {"reference": "Claim/c"}}
BY_ADDED_ITEM: Json = {**AUTHORIZATION, "addItem": [{"productOrService": coded(CPT, "82270")}]}


@pytest.mark.parametrize(
    "call",
    [
        (BY_ADDED_ITEM,),
        ({**AUTHORIZATION, "item": [{"itemSequence": 1, "extension": [DETAIL]}]},),
        ({**AUTHORIZATION, "request": {"reference": "ServiceRequest/o"}},),
        (ANSWERS_CLAIM, claim_of(productOrService=coded(CPT, "82270"))),
        (ANSWERS_CLAIM, claim_of(extension=[REQUESTED])),
        ({**ANSWERS_CLAIM, "item": [reviewed("A1")]}, claim_of(extension=[REQUESTED])),
    ],
    ids=[
        "added item",
        "authorized detail",
        "request",
        "claim's code",
        "claim's order",
        "certified",
    ],
)
def test_an_authorization_of_a_service_counts_though_the_order_does_not_name_it(
    call: tuple[Json, ...],
) -> None:
    assert told("earlier.approval", ORDER, *call).value == "PA-8"
    assert told("earlier.approved", ORDER, *call).value is True
    unread = with_(insurance=[{"reference": "ClaimResponse/elsewhere"}])
    assert told("earlier.approval", unread, *call).value == "PA-8"


@pytest.mark.parametrize(
    "call",
    [
        (AUTHORIZATION,),
        ({**BY_ADDED_ITEM, "patient": {"reference": "Patient/another"}},),
        ({k: v for k, v in BY_ADDED_ITEM.items() if k != "patient"},),
        ({**BY_ADDED_ITEM, "outcome": "queued"},),
        ({**BY_ADDED_ITEM, "status": "cancelled"},),
        ({**BY_ADDED_ITEM, "preAuthPeriod": {"end": "2026-06-01"}},),
        ({**BY_ADDED_ITEM, "preAuthRef": " "},),
        ({**AUTHORIZATION, "addItem": [{"productOrService": coded(CPT, "72148")}]},),
        (ANSWERS_CLAIM,),
        (ANSWERS_CLAIM, claim_of(productOrService=coded(CPT, "72148"))),
        ({**ANSWERS_CLAIM, "item": [reviewed("A3")]}, claim_of(extension=[REQUESTED])),
    ],
    ids=[
        "no service",
        "another patient",
        "no patient",
        "queued",
        "cancelled",
        "ended",
        "no number",
        "another service",
        "claim not at hand",
        "claim of another service",
        "refused",
    ],
)
def test_another_authorization_approves_nothing(call: tuple[Json, ...]) -> None:
    assert told("earlier.approval", ORDER, *call).value is NOTHING
    assert told("earlier.approved", ORDER, *call).value is False


SATURATION = FactSpec(
    "saturation",
    FactKind.NUMBER,
    "the saturation",
    (),
    unit="%",
    source=FactSource(
        Family.OBSERVATION, ValueSet("", [ValueSetEntry(Code(LOINC, "59408-5"))]), days=30
    ),
)


def observed(value: object, day: str = "2026-06-10", unit: str = "%", **more: Any) -> Json:
    return {
        "resourceType": "Observation",
        "id": f"v{day}",
        "status": "final",
        "code": coded(LOINC, "59408-5"),
        "subject": {"reference": "Patient/p"},
        "effectiveDateTime": day,
        "valueQuantity": {"value": value, "code": unit},
        **more,
    }


def test_the_newest_value_within_its_time_counts_in_its_unit() -> None:
    facts = facts_of(ORDER, observed(95, "2026-05-25"), observed(0.87, unit="1"))
    assert facts.get(SATURATION).value == Decimal(87)


@pytest.mark.parametrize(
    ("observation", "why"),
    [
        (observed(90, "2026-05-01"), Why.NOT_TOLD),
        (observed(90, subject={"reference": "Patient/another"}), Why.NOT_TOLD),
        (observed(90, status="entered-in-error"), Why.NOT_TOLD),
        (observed(90, "2026-06-21"), Why.NOT_TOLD),
        (observed("high"), Why.NOT_READABLE),
        (observed(90, unit="mg"), Why.NOT_READABLE),
        (
            observed(90, valueQuantity={"value": 88, "code": "%", "comparator": "<"}),
            Why.NOT_READABLE,
        ),
    ],
    ids=["old", "another's", "in error", "later", "no number", "other unit", "less than told"],
)
def test_other_values_do_not_count(observation: Json, why: Why) -> None:
    assert facts_of(ORDER, observation).get(SATURATION).why is why


LAST = FactSpec(
    "last",
    FactKind.DAY,
    "",
    (),
    may_be_nothing=True,
    source=FactSource(Family.PROCEDURE, months=12),
)


def done(day: str | None, status: str = "completed") -> Json:
    return {
        "resourceType": "Procedure",
        "id": f"d{day}",
        "status": status,
        "code": coded(CPT, "82270"),
        "subject": {"reference": "Patient/p"},
        **({"performedDateTime": day} if day else {}),
    }


def test_the_last_procedure_of_the_same_code_is_a_day() -> None:
    facts = facts_of(ORDER, done("2026-01-01"), done("2026-03-01"), done("2026-05-01", "not-done"))
    assert facts.get(LAST).value == date(2026, 3, 1)


def test_no_procedure_is_known_to_be_none_only_after_a_search() -> None:
    assert facts_of(ORDER).get(LAST).why is Why.NOT_TOLD
    assert facts_of(ORDER, searched={("Procedure", "82270")}).get(LAST).value is NOTHING
    assert facts_of(ORDER, unreachable={"Procedure"}).get(LAST).why is Why.NOT_REACHABLE


def test_a_search_for_other_codes_says_nothing_of_these() -> None:
    """Nor does one for orders alone say that there is no order for a device."""
    wide = ValueSet("wide", [ValueSetEntry(Code(CPT, str(n))) for n in range(90000, 90009)])
    many = replace(LAST, source=FactSource(Family.PROCEDURE, codes=wide))
    span = ValueSet("span", [ValueSetEntry(CodeSpan(CPT, "90000", "90009"))])
    spans = replace(LAST, source=FactSource(Family.PROCEDURE, codes=span))
    ordered = replace(LAST, source=FactSource(Family.ORDER))
    searched = {("Procedure", "82270"), ("ServiceRequest", "82270")}
    for spec in (many, spans, ordered):
        assert facts_of(ORDER, searched=searched).get(spec).why is Why.NOT_TOLD, spec.source
    searched.add(("DeviceRequest", "82270"))
    assert facts_of(ORDER, searched=searched).get(ordered).value is NOTHING


def test_each_type_is_searched_by_its_own_parameter_which_a_server_may_lack() -> None:
    """Orders by the day on which they were written, up to a year before the days that count."""
    spec = replace(LAST, source=FactSource(Family.ORDER, months=6))
    needs = list(fact_needs(spec, facts_of(ORDER), lambda _: None))
    assert [n.label for n in needs] == [
        "ServiceRequest?patient&code&authored",
        "DeviceRequest?patient&code&authored-on",
    ]
    for need in needs:
        assert isinstance(need, Search)
        assert need.plainer == (("patient", "p"), ("code", "82270"))
        assert need.params[-1][1] == "ge2024-12-20"


def test_the_urgency_of_the_care_is_read_from_the_encounter_that_the_order_names() -> None:
    order = with_(encounter={"reference": "Encounter/e"})
    (need,) = fact_needs(TABLE["care.urgency"], facts_of(order), lambda _: None)
    assert need == Read("Encounter/e")


def test_what_is_searched_for_is_what_was_answered_in_full() -> None:
    one, other = (
        Search("Procedure", (("patient", "p"), ("code", code))) for code in ("82270", "82274")
    )
    again = Search("Procedure", (("patient", "p"), ("code", "82270"), ("date", "ge2026-01-01")))
    assert searched_in_full(frozenset({one, other}), frozenset({other})) == {("Procedure", "82270")}
    assert searched_in_full(frozenset({one, again}), frozenset({again})) == frozenset()


def test_a_procedure_without_a_day_leaves_the_day_open() -> None:
    assert facts_of(ORDER, done(None)).get(LAST).why is Why.NOT_READABLE
    beside = facts_of(ORDER, done(None), done("2026-03-01")).get(LAST)
    assert (beside.value, beside.why) == (
        Between(date(2026, 3, 1), facts_of(ORDER).day.latest),
        Why.NOT_READABLE,
    )


def test_a_procedure_told_as_a_month_lies_between_its_days() -> None:
    fact = facts_of(ORDER, done("2026-03"), done("2026-03-10")).get(LAST)
    assert (fact.value, fact.why) == (
        Between(date(2026, 3, 10), date(2026, 3, 31)),
        Why.NOT_READABLE,
    )


def test_a_procedure_longer_ago_than_counts_or_after_the_service_is_left_aside() -> None:
    """What is to come would hide what was: the last one before the service is asked for."""
    facts = facts_of(ORDER, done("2025-03-01"), searched={("Procedure", "82270")})
    assert facts.get(LAST).value is NOTHING
    assert facts_of(ORDER, done("2026-03-01"), done("2027-01-01")).get(LAST).value == date(
        2026, 3, 1
    )


def test_the_newest_of_one_day_is_told_by_the_hour() -> None:
    early = observed(95, "2026-06-10T08:00:00Z", id="a")
    late = observed(86, "2026-06-10T07:00:00-05:00", id="b")
    for both in ((early, late), (late, early)):
        assert facts_of(ORDER, *both).get(SATURATION).value == Decimal(86)


def test_two_values_of_one_time_that_differ_contradict() -> None:
    both = observed(95, id="a"), observed(86, id="b")
    fact = facts_of(ORDER, *both).get(SATURATION)
    assert (fact.value, fact.why, len(fact.places)) == (None, Why.CONTRADICTORY, 2)
    same = observed(86, id="a"), observed(86, id="b")
    assert facts_of(ORDER, *same).get(SATURATION).value == Decimal(86)


WEEKS = FactSpec(
    "weeks",
    FactKind.NUMBER,
    "",
    (),
    unit="wk",
    source=FactSource(Family.ANSWER, questionnaire="care", link_id="weeks"),
)


def form(value: Json, authored: str = "2026-06-01", **more: Any) -> Json:
    context = "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition/qr-context"
    return {
        "resourceType": "QuestionnaireResponse",
        "id": f"r{authored}",
        "questionnaire": "http://x/Questionnaire/care|1.0.0",
        "status": "completed",
        "subject": {"reference": "Patient/p"},
        "authored": authored,
        "extension": [{"url": context, "valueReference": {"reference": "ServiceRequest/o"}}],
        "item": [{"linkId": "group", "item": [{"linkId": "weeks", "answer": [value]}]}],
        **more,
    }


NAMED = {"reference": "QuestionnaireResponse/r2026-06-01"}


@pytest.mark.parametrize(
    "names",
    [
        {"supportingInfo": [NAMED]},
        {
            "extension": [
                {
                    "url": EXTENSION_URL,
                    "extension": [{"url": "response", "valueReference": NAMED}],
                }
            ]
        },
    ],
    ids=["supporting information", "coverage information"],
)
def test_a_form_that_the_order_names_answers_and_is_read_by_its_reference(names: Json) -> None:
    """It need not say itself which order it is for; whose it is, it has to."""
    order = with_(**names)
    back = form({"valueInteger": 6}, extension=[])
    assert facts_of(order, back).get(WEEKS).value == Decimal(6)
    another = {**back, "subject": {"reference": "Patient/another"}}
    assert not facts_of(order, another).get(WEEKS).known
    assert not facts_of(ORDER, back).get(WEEKS).known
    needs = list(fact_needs(WEEKS, facts_of(order), lambda form_id: f"http://x/{form_id}"))
    assert needs[0] == Read("QuestionnaireResponse/r2026-06-01")
    assert [n.label for n in needs[1:]] == ["QuestionnaireResponse?patient&questionnaire"]


def test_a_form_older_than_counts_does_not_answer() -> None:
    assert WEEKS.source is not None
    recent = replace(WEEKS, source=replace(WEEKS.source, days=30))
    assert facts_of(ORDER, form({"valueInteger": 6}, "2026-06-01")).get(recent).known
    assert not facts_of(ORDER, form({"valueInteger": 6}, "2026-05-01")).get(recent).known
    assert facts_of(ORDER, form({"valueInteger": 6}, "2026-05-01")).get(WEEKS).known


def test_the_newest_completed_form_answers() -> None:
    old, new = form({"valueInteger": 3}, "2026-05-01"), form({"valueInteger": 6})
    assert facts_of(ORDER, new, old).get(WEEKS).value == Decimal(6)
    days = form({"valueQuantity": {"value": 14, "code": "d"}})
    assert facts_of(ORDER, days).get(WEEKS).value == Decimal(2)


@pytest.mark.parametrize(
    "response",
    [
        form({"valueInteger": 6}, status="in-progress"),
        form({"valueInteger": 6}, subject={"reference": "Patient/another"}),
        form({"valueInteger": 6}, extension=[]),
        form({"valueInteger": 6}, questionnaire="http://x/Questionnaire/other"),
        form({"valueInteger": 6}, item=[]),
    ],
    ids=["unfinished", "another's", "names no order", "another form", "left open"],
)
def test_other_forms_answer_nothing(response: Json) -> None:
    assert facts_of(ORDER, response).get(WEEKS).why is Why.NOT_TOLD
