"""Answers in CRD 2.2: the codes, cardinalities and rules of its coverage information, and its 400s.

CRD 2.2.1 names them in `ext-coverage-information` and in the rules on it; each test says which.
"""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.contract.answer_rules import check_answer, parts, stated
from tests.contract.calls import FIXTURE_NAMES, PRIMARY_HOOKS, Json, answer, call_of, post

CRD_TEMP = "http://hl7.org/fhir/us/davinci-crd/CodeSystem/temp"
CARD_TYPES = "http://terminology.hl7.org/CodeSystem/cdshooks-card-type"

REFUSED = {
    "order-select/sandbox-before-a-study-is-chosen",
    "order-select/sandbox-imaging-tab",
    "order-sign/coverage-of-another-patient",
    "order-sign/no-coverage",
    "order-sign/payer-without-identifier",
    "order-sign/several-coverages",
    "order-sign/unknown-payer",
}
"""Calls without exactly one coverage of a payer that is ours: CRD 2.2.1 hook-13 wants a 400."""

ANSWERED = [name for name in FIXTURE_NAMES if name not in REFUSED]
each_answered = pytest.mark.parametrize("name", ANSWERED)

ONCE = ("coverage", "covered", "date", "coverage-assertion-id")
AT_MOST_ONCE = ("pa-needed", "satisfied-pa-id", "expiry-date")
CODES = {
    "covered": {"covered", "not-covered", "conditional", "indeterminate"},
    "pa-needed": {
        "no-auth",
        "auth-needed",
        "satisfied",
        "performpa",
        "conditional",
        "indeterminate",
    },
    "doc-needed": {"clinical", "admin", "patient", "conditional", "indeterminate"},
    "doc-purpose": {"withpa", "withclaim", "withorder", "retain-doc", "OTH"},
    "info-needed": {
        "performer",
        "location",
        "timeframe",
        "contract-window",
        "detail-code",
        "OTH",
    },
}
REASONS = {
    "gold-card",
    "no-member-found",
    "no-active-coverage",
    "coverage-not-found",
    "auth-out-network",
    "technical",
}
DETAILS = {"policy-link": "valueUrl", "instructions": "valueString"}
CATEGORIES = {"cat-limitation", "cat-decisional", "cat-other"}


def statements(client: FlaskClient, name: str, **configuration: object) -> list[Json]:
    return [dict(e) for e in stated(answer(client, call_of(name, "2.2", **configuration)))]


def reason_codes(statement: Json) -> list[str]:
    codings = [c for r in parts(statement, "reason") for c in r.get("coding", [])]
    assert all(c["system"] == CRD_TEMP for c in codings)
    return [c["code"] for c in codings]


@pytest.mark.requirement("crd-2.2.1:resp-13", "crd-2.2.1:dev-2")
@each_answered
def test_every_answer_keeps_the_rules_of_cards_and_actions(client: FlaskClient, name: str) -> None:
    check_answer(answer(client, call_of(name, "2.2")))


@pytest.mark.requirement("crd-2.2.1:resp-52", "crd-2.2.1:resp-14")
@each_answered
def test_every_statement_has_the_parts_and_the_codes_of_2_2(client: FlaskClient, name: str) -> None:
    for statement in statements(client, name):
        for part in ONCE:
            assert len(parts(statement, part)) == 1, part
        for part in AT_MOST_ONCE:
            assert len(parts(statement, part)) <= 1, part
        for part, codes in CODES.items():
            assert set(parts(statement, part)) <= codes, part
        assert set(reason_codes(statement)) <= REASONS
        assert all(r.get("text") for r in parts(statement, "reason"))


@pytest.mark.requirement("crd-2.2.1:resp-52")
@each_answered
def test_prior_authorization_is_mentioned_exactly_where_something_may_be_covered(
    client: FlaskClient, name: str
) -> None:
    for statement in statements(client, name):
        covered = parts(statement, "covered")
        assert (parts(statement, "pa-needed") == []) == (covered == ["not-covered"])


@pytest.mark.requirement("crd-2.2.1:resp-52")
@each_answered
def test_information_is_asked_for_exactly_where_something_is_conditional(
    client: FlaskClient, name: str
) -> None:
    for statement in statements(client, name):
        open_ends = [p for n in ("covered", "pa-needed", "doc-needed") for p in parts(statement, n)]
        assert ("conditional" in open_ends) == (parts(statement, "info-needed") != [])


@pytest.mark.requirement("crd-2.2.1:resp-52")
@each_answered
def test_what_has_no_code_of_its_own_is_told_in_a_reason(client: FlaskClient, name: str) -> None:
    for statement in statements(client, name):
        if "OTH" in [*parts(statement, "info-needed"), *parts(statement, "doc-purpose")]:
            assert any(r.get("text") for r in parts(statement, "reason"))


@pytest.mark.requirement("crd-2.2.1:resp-38")
@each_answered
def test_a_form_and_the_need_for_documents_are_stated_together(
    client: FlaskClient, name: str
) -> None:
    for statement in statements(client, name):
        needed, forms = parts(statement, "doc-needed"), parts(statement, "questionnaire")
        assert bool(needed) == bool(forms)
        assert bool(needed) == bool(parts(statement, "doc-purpose"))
        assert len(needed) == len(set(needed))


@pytest.mark.requirement("crd-2.2.1:covinfo-2")
@each_answered
def test_several_reasons_each_say_what_they_are_for(client: FlaskClient, name: str) -> None:
    for statement in statements(client, name):
        texts = [r["text"] for r in parts(statement, "reason")]
        assert texts == list(dict.fromkeys(texts))
        if len(texts) > 1:
            assert all(t.startswith(("Coverage: ", "Form: ", "Assumed: ")) for t in texts)


@each_answered
def test_every_detail_has_one_category_and_a_value_of_its_codes_type(
    client: FlaskClient, name: str
) -> None:
    for statement in statements(client, name):
        for detail in parts(statement, "detail"):
            (category,) = parts(detail, "category")
            (concept,) = parts(detail, "code")
            (value,) = [p for p in detail["extension"] if p["url"] == "value"]
            assert category in CATEGORIES
            if "coding" not in concept:  # the binding is extensible: no code fits a modifier
                assert concept["text"]
                assert "valueString" in value
                continue
            (coding,) = concept["coding"]
            assert coding["system"] == "http://terminology.hl7.org/CodeSystem/crd-coverage-detail"
            assert DETAILS[coding["code"]] in value


@each_answered
def test_every_contact_is_a_contact_detail(client: FlaskClient, name: str) -> None:
    for statement in statements(client, name):
        for contact in [p for p in statement["extension"] if p["url"] == "contact"]:
            assert contact["valueContactDetail"]["name"]
            assert all(t["system"] and t["value"] for t in contact["valueContactDetail"]["telecom"])


@pytest.mark.requirement("crd-2.2.1:resp-5")
@each_answered
def test_every_topic_is_of_2_2s_code_system(client: FlaskClient, name: str) -> None:
    cards = answer(client, call_of(name, "2.2"))["cards"]
    assert {c["source"]["topic"]["system"] for c in cards} <= {CARD_TYPES}
    assert {c["source"]["topic"]["code"] for c in cards} <= {"guideline", "claim"}


@pytest.mark.requirement("crd-2.2.1:hook-19")
@pytest.mark.parametrize(
    "name", [n for n in ANSWERED if not n.startswith(tuple(f"{h}/" for h in PRIMARY_HOOKS))]
)
def test_a_supporting_hook_asks_for_no_documents(client: FlaskClient, name: str) -> None:
    for statement in statements(client, name):
        assert parts(statement, "doc-needed") == []
        assert parts(statement, "questionnaire") == []


@pytest.mark.requirement("crd-2.2.1:hook-13", "crd-2.2.1:hook-9", "crd-2.2.1:hook-10")
@pytest.mark.parametrize(
    ("name", "place", "expected"),
    [
        ("no-coverage", "prefetch.coverage", "none was given"),
        ("several-coverages", "prefetch.coverage", "several fit"),
        ("coverage-of-another-patient", "prefetch.coverage", "of this patient"),
        (
            "unknown-payer",
            "prefetch.coverage.entry[0].resource",
            "urn:oid:2.999.7.1|unlisted-payer is no payer that is answered for here; the payers "
            "are those of the file that COVERCARD_PAYERS_FILE names",
        ),
        (
            "payer-without-identifier",
            "prefetch.coverage.entry[0].resource",
            "a payor with the identifier of its payer",
        ),
    ],
)
def test_without_one_coverage_of_a_payer_of_ours_the_call_is_refused(
    client: FlaskClient, name: str, place: str, expected: str
) -> None:
    reply = post(client, call_of(f"order-sign/{name}", "2.2"))
    assert reply.status_code == 400
    outcome = reply.get_json()
    assert outcome["resourceType"] == "OperationOutcome"
    (issue,) = outcome["issue"]
    assert (issue["severity"], issue["expression"]) == ("error", [place])
    assert expected in issue["diagnostics"]


def test_the_list_of_what_is_refused_is_complete(client: FlaskClient) -> None:
    statuses = {name: post(client, call_of(name, "2.2")).status_code for name in FIXTURE_NAMES}
    assert {name for name, status in statuses.items() if status == 400} == REFUSED
    assert {status for name, status in statuses.items() if name not in REFUSED} == {200}


@pytest.mark.requirement("crd-2.2.1:resp-45")
@pytest.mark.parametrize("name", ["expired-coverage", "cancelled-coverage"])
def test_a_coverage_that_is_not_active_that_day_covers_nothing(
    client: FlaskClient, name: str
) -> None:
    (statement,) = statements(client, f"order-sign/{name}")
    assert parts(statement, "covered") == ["not-covered"]
    assert reason_codes(statement) == ["no-active-coverage"]
    assert "is not active on the day of service" in parts(statement, "reason")[0]["text"]


def test_a_code_too_coarse_to_decide_on_is_asked_for_as_such(client: FlaskClient) -> None:
    (statement,) = statements(client, "order-sign/code-as-text-only")
    assert parts(statement, "info-needed") == ["detail-code"]
    assert reason_codes(statement) == []


@pytest.mark.requirement("crd-2.2.1:impl-5", "crd-2.2.1:resp-30")
def test_a_day_that_the_order_does_not_tell_is_told_as_assumed(client: FlaskClient) -> None:
    (untold,) = statements(client, "order-sign/no-date-of-service")
    (told,) = statements(client, "order-sign/mrs-medicare-advantage")
    assumed = "Assumed: The order tells no day of service, so the policy in force on 2026-11-22"
    assert [r["text"].startswith(assumed) for r in parts(untold, "reason")].count(True) == 1
    assert not any(r["text"].startswith("Assumed") for r in parts(told, "reason"))


@pytest.mark.requirement("crd-2.2.1:resp-30")
def test_a_statement_for_no_told_day_ends_with_the_coverage(client: FlaskClient) -> None:
    def ending(name: str) -> list[Any]:
        request = call_of(f"order-sign/{name}", "2.2")
        for entry in request["prefetch"]["coverage"]["entry"]:
            if entry["resource"]["resourceType"] == "Coverage":
                entry["resource"]["period"] = {"start": "2026-01-01", "end": "2026-12-31"}
        (statement,) = stated(answer(client, request))
        return parts(statement, "expiry-date")

    assert ending("no-date-of-service") == ["2026-12-31"]
    assert ending("coverage-that-ends") == ["2026-12-31"]
    assert ending("mrs-medicare-advantage") == []


def test_an_answer_names_the_appointment_that_set_its_day(client: FlaskClient) -> None:
    (by_order,) = statements(client, "appointment-book/appointment-for-an-order")
    (alone,) = statements(client, "appointment-book/mrs-appointment")
    assert parts(by_order, "dependency") == [{"reference": "Appointment/scan-slot"}]
    assert parts(alone, "dependency") == []


@pytest.mark.requirement("crd-2.2.1:resp-30", "crd-2.2.1:billopt-3", "crd-2.2.1:found-10")
@pytest.mark.parametrize("name", ["several-codings", "billing-options", "system-aliases"])
def test_the_statement_names_the_billing_codes_that_it_holds_for(
    client: FlaskClient, name: str
) -> None:
    said = [parts(s, "billingCode") for s in statements(client, f"order-sign/{name}")]
    assert said
    for codes in said:
        (code,) = codes
        assert code["system"] == "http://www.ama-assn.org/go/cpt"
        assert code["code"] in ("76390", "0609T", "0610T", "0611T", "0612T")
