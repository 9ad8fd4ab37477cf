"""What a clinician and an EHR get for an order-sign, row by row."""

from collections.abc import Callable
from typing import Any

import pytest

from cards.untrusted import as_text
from tests.contract.answer_rules import check_answer, created, parts, stated

Read = Callable[[str], dict[str, Any]]
Sign = Callable[[dict[str, Any]], dict[str, Any]]

CRD_TEMP = "http://hl7.org/fhir/us/davinci-crd/CodeSystem/temp"
CARD_TYPES_2_2 = "http://terminology.hl7.org/CodeSystem/cdshooks-card-type"


def only(values: list[Any]) -> Any:
    assert len(values) == 1, values
    return values[0]


class TestMedicareAdvantage:
    @pytest.fixture
    def answer(self, fixture: Read, sign: Sign) -> dict[str, Any]:
        return sign(fixture("order-sign/mrs-medicare-advantage"))

    @pytest.mark.requirement(
        "crd-2.2.1:resp-4",
        "crd-2.0.1:230",
        "crd-2.2.1:resp-5",
        "crd-2.2.1:resp-6",
        "crd-2.2.1:resp-18",
        "crd-2.2.1:resp-19",
        "crd-2.0.1:248",
        "crd-2.0.1:258",
        "crd-2.0.1:259",
        "cds-hooks-2.0:83",
        "cds-hooks-2.0:87",
        "cds-hooks-2.0:90",
    )
    def test_the_first_card_says_not_covered_and_links_the_policy(
        self, answer: dict[str, Any]
    ) -> None:
        card = answer["cards"][0]
        assert card["summary"] == (
            "Not covered under the plan's medical policy: MR spectroscopy (76390), investigational."
        )
        assert card["indicator"] == "warning"
        assert card["source"]["label"] == "Example Health Plan"
        assert card["source"]["topic"]["code"] == "guideline"
        assert card["source"]["topic"]["system"] == CRD_TEMP
        policy, notice = (link["url"] for link in card["links"])
        assert notice == policy.replace("#coverage", "#notice-organization-determination")
        assert policy.startswith("http://127.0.0.1:8642/policies/mr-spectroscopy")
        assert "suggestions" not in card

    def test_the_first_card_tells_why_by_which_policy_and_that_its_review_is_overdue(
        self, answer: dict[str, Any]
    ) -> None:
        detail = answer["cards"][0]["detail"]
        assert "investigational" in detail.split("\n")[0]
        assert "CMS coverage manuals: none found" in detail
        assert "Radiology, Policy No. 27" in detail
        assert "2023-10-01" in detail
        assert "was due 2024-06 and is **overdue**" in detail
        assert "not a coverage decision" in detail
        assert "American Medical Association" in detail

    def test_no_card_says_what_must_never_be_said(self, answer: dict[str, Any]) -> None:
        words = " ".join(c["summary"] + c["detail"] for c in answer["cards"]).lower()
        for never in ("denied", "220.2.1", "medicare does not cover", "this is a determination"):
            assert never not in words

    @pytest.mark.requirement(
        "crd-2.2.1:resp-3",
        "crd-2.0.1:77",
        "crd-2.0.1:299",
        "cds-hooks-2.0:93",
        "cds-hooks-2.0:117",
        "cds-hooks-2.0:127",
        "cds-hooks-2.0:128",
        "cds-hooks-2.0:131",
    )
    def test_the_second_card_offers_the_organization_determination(
        self, answer: dict[str, Any]
    ) -> None:
        card = answer["cards"][1]
        assert "What the plan needs to decide" in card["summary"]
        assert card["source"]["topic"]["code"] == "claim"
        assert "CMS-R-131 (ABN) is for Original Medicare" in card["detail"]
        tasks = [a["resource"] for a in created(answer)]
        assert [t["input"][0]["valueCanonical"].rsplit("/", 1)[1] for t in tasks] == [
            "organization-determination-request"
        ]
        task = tasks[0]
        assert (task["resourceType"], task["status"], task["intent"]) == ("Task", "ready", "order")
        assert task["for"] == {"reference": "Patient/ann"}
        assert "focus" not in task
        form = next(i for i in task["input"] if i["type"].get("text") == "questionnaire")
        assert form["valueCanonical"].endswith("/organization-determination-request")
        assert "|" not in form["valueCanonical"]

    @pytest.mark.requirement("cds-hooks-2.0:98", "cds-hooks-2.0:100", "cds-hooks-2.0:136")
    def test_each_card_can_be_dismissed_with_a_reason(self, answer: dict[str, Any]) -> None:
        for card in answer["cards"]:
            assert len(card["overrideReasons"]) >= 3
            assert all(r["display"] for r in card["overrideReasons"])

    @pytest.mark.requirement(
        "crd-2.2.1:resp-25",
        "crd-2.2.1:resp-26",
        "crd-2.2.1:hook-16",
        "crd-2.0.1:164",
        "crd-2.0.1:226",
        "crd-2.0.1:247",
    )
    def test_the_order_comes_back_with_a_not_covered_statement(
        self, answer: dict[str, Any]
    ) -> None:
        assert only(answer.get("systemActions", []))["type"] == "update"
        statement = only(list(stated(answer)))
        assert parts(statement, "covered") == ["not-covered"]
        assert parts(statement, "pa-needed") == ["conditional"]
        assert parts(statement, "coverage") == [{"reference": "Coverage/ma-ann"}]
        assert parts(statement, "doc-needed") == ["clinical"]
        assert only(parts(statement, "questionnaire")).endswith(
            "/organization-determination-request|1.3.0"
        )
        assert only(parts(statement, "billingCode")) == {
            "system": "http://www.ama-assn.org/go/cpt",
            "code": "76390",
        }
        assert parts(statement, "date") == ["2026-11-22"]
        assert only(parts(statement, "coverage-assertion-id"))
        assert "nvestigational" in parts(statement, "reason")[0]["text"]
        assert only(parts(statement, "contact"))["system"] == "phone"


def test_in_2_2_the_statement_has_that_versions_codes(fixture: Read, sign: Sign) -> None:
    answer = sign(fixture("order-sign/crd-2.2-medicare-advantage"))
    statement = only(list(stated(answer)))
    assert parts(statement, "pa-needed") == []
    details = {
        parts(d, "code")[0]["coding"][0]["code"]: parts(d, "value")[0]
        for d in parts(statement, "detail")
    }
    assert details["policy-link"].startswith("http://127.0.0.1:8642/policies/mr-spectroscopy")
    assert all(parts(d, "category") == ["cat-other"] for d in parts(statement, "detail"))
    assert only(parts(statement, "contact"))["telecom"][0]["system"] == "phone"
    assert {c["source"]["topic"]["system"] for c in answer["cards"]} == {CARD_TYPES_2_2}


def test_under_original_medicare_the_card_says_may_not_pay_and_offers_the_abn(
    fixture: Read, sign: Sign
) -> None:
    answer = sign(fixture("order-sign/mrs-original-medicare"))
    first, second = answer["cards"]
    assert first["summary"].startswith("Medicare may not pay for MR spectroscopy (76390).")
    assert "ABN (CMS-R-131)" in second["summary"]
    assert "A: whoever bills" in second["detail"]
    assert "GA" not in second["detail"]
    assert "GZ" not in second["detail"]
    (form,) = [link for link in first["links"] if "cms.gov" in link["url"]]
    assert f"({form['url']})" in second["detail"]
    statement = only(list(stated(answer)))
    assert parts(statement, "covered") == ["conditional"]
    assert parts(statement, "pa-needed") == ["conditional"]


@pytest.mark.requirement("cds-hooks-2.0:125")
def test_where_the_program_is_not_told_both_notices_are_offered(fixture: Read, sign: Sign) -> None:
    answer = sign(fixture("order-sign/mrs-program-not-told"))
    first, second = answer["cards"]
    assert "under this plan's policy" in first["summary"]
    assert [s["label"] for s in second["suggestions"]] == [
        "Medicare Advantage: ask the plan",
        "Original Medicare: prepare an ABN",
    ]
    assert second["selectionBehavior"] == "at-most-one"
    assert "Original Medicare" in second["detail"]
    assert "Medicare Advantage" in second["detail"]


def test_four_orders_of_one_policy_share_their_cards(fixture: Read, sign: Sign) -> None:
    answer = sign(fixture("order-sign/disc-pain-four-orders"))
    assert len(answer["cards"]) == 2
    for code in ("0609T", "0610T", "0611T", "0612T"):
        assert code in answer["cards"][0]["summary"]
    assert len(answer.get("systemActions", [])) == 4
    assert len(answer["cards"][0]["extension"]["davinci-crd.associated-resource"]) == 4


@pytest.mark.requirement(
    "crd-2.2.1:dev-24", "crd-2.2.1:dev-25", "crd-2.0.1:140", "crd-2.0.1:141", "crd-2.2.1:resp-29"
)
def test_beside_another_order_the_card_says_which_one_it_is_about(
    fixture: Read, sign: Sign
) -> None:
    answer = sign(fixture("order-sign/mrs-and-unrelated-mri"))
    card = answer["cards"][0]
    assert "**This is about:** MR spectroscopy (76390)" in card["detail"]
    assert card["extension"]["davinci-crd.associated-resource"] == [
        {"reference": "ServiceRequest/mrs-brain"}
    ]
    about_mri = next(
        e
        for a, e in zip(answer.get("systemActions", []), stated(answer), strict=True)
        if a["resource"]["id"] == "mri-head"
    )
    assert parts(about_mri, "covered") == ["conditional"]
    assert "No coverage policy" in parts(about_mri, "reason")[0]["text"]
    assert parts(about_mri, "info-needed") == ["OTH"]


def test_without_a_code_the_statement_says_that_a_code_is_missing(
    fixture: Read, sign: Sign
) -> None:
    answer = sign(fixture("order-sign/code-as-text-only"))
    statement = only(list(stated(answer)))
    assert parts(statement, "reason")[0]["coding"] == [{"system": CRD_TEMP, "code": "detail-code"}]
    assert parts(statement, "billingCode") == []


def test_without_a_coverage_the_cards_say_to_check_the_plan_first(
    fixture: Read, sign: Sign
) -> None:
    answer = sign(fixture("order-sign/no-coverage"))
    assert answer["cards"][0]["summary"].startswith("Check which plan pays before")
    assert answer["cards"][0]["detail"].startswith("No insurance was sent with this order.")
    assert answer.get("systemActions", []) == []


@pytest.mark.requirement("crd-2.2.1:found-13")
def test_in_emergency_care_no_notice_is_suggested(fixture: Read, sign: Sign) -> None:
    answer = sign(fixture("order-sign/emergency-encounter"))
    assert only(answer["cards"])["source"]["topic"]["code"] == "guideline"
    statement = only(list(stated(answer)))
    assert parts(statement, "covered") == ["not-covered"]
    assert parts(statement, "questionnaire") == []


def test_a_hostile_order_name_shows_as_characters(fixture: Read, sign: Sign) -> None:
    request = fixture("order-sign/hostile-order-name")
    answer = sign(request)
    check_answer(answer)
    for card in answer["cards"]:
        assert "<script" not in card["detail"]
        assert "](javascript:" not in card["detail"]
        assert "\u202e" not in card["detail"]
    assert as_text("[x](javascript:alert(1))") != "[x](javascript:alert(1))"


@pytest.mark.requirement("crd-2.2.1:resp-35", "crd-2.0.1:267")
def test_an_order_that_carries_the_same_statement_is_not_updated_again(
    fixture: Read, sign: Sign
) -> None:
    request = fixture("order-sign/mrs-medicare-advantage")
    updated = only(sign(request).get("systemActions", []))["resource"]
    request["context"]["draftOrders"]["entry"][0]["resource"] = updated
    again = sign(request)
    assert again.get("systemActions", []) == []
    assert len(again["cards"]) == 2


def test_a_changed_order_gets_a_new_statement_in_place_of_the_old_one(
    fixture: Read, sign: Sign
) -> None:
    request = fixture("order-sign/mrs-medicare-advantage")
    updated = only(sign(request).get("systemActions", []))["resource"]
    old = parts(updated["extension"][-1], "coverage-assertion-id")
    updated["code"]["coding"][0]["code"] = "0609T"
    request["context"]["draftOrders"]["entry"][0]["resource"] = updated
    statement = only(list(stated(sign(request))))
    assert parts(statement, "coverage-assertion-id") != old
    assert parts(statement, "billingCode")[0]["code"] == "0609T"


@pytest.mark.requirement("crd-2.2.1:resp-32", "crd-2.2.1:resp-37")
def test_a_statement_on_another_coverage_stays(fixture: Read, sign: Sign) -> None:
    request = fixture("order-sign/mrs-medicare-advantage")
    foreign = {
        "url": "http://hl7.org/fhir/us/davinci-crd/StructureDefinition/ext-coverage-information",
        "extension": [
            {"url": "coverage", "valueReference": {"reference": "Coverage/ma-ann-2"}},
            {"url": "covered", "valueCode": "covered"},
            {"url": "coverage-assertion-id", "valueString": "theirs"},
        ],
    }
    order = request["context"]["draftOrders"]["entry"][0]["resource"]
    order["extension"] = [foreign, *order.get("extension", [])]
    answer = sign(request)
    extensions = only(answer.get("systemActions", []))["resource"]["extension"]
    assert foreign in extensions
    ours = [e for e in stated(answer) if e != foreign]
    assert len(ours) == 1
    assert parts(ours[0], "coverage-assertion-id") != ["theirs"]


@pytest.mark.requirement("crd-2.2.1:dev-14", "crd-2.0.1:128", "crd-2.0.1:116", "crd-2.2.1:resp-28")
@pytest.mark.parametrize(
    ("configuration", "topics", "updates"),
    [
        ({"guideline": False}, ["claim"], 1),
        ({"claim": False}, ["guideline"], 1),
        ({"coverage-info": False}, ["guideline", "claim"], 0),
        ({"max-cards": 1}, ["guideline"], 1),
        ({"max-cards": 0}, [], 1),
        ({"guideline": False, "claim": False, "coverage-info": False}, [], 0),
    ],
)
def test_the_callers_options_are_obeyed(
    fixture: Read,
    sign: Sign,
    configuration: dict[str, object],
    topics: list[str],
    updates: int,
) -> None:
    request = fixture("order-sign/mrs-medicare-advantage")
    request["extension"] = {"davinci-crd.configuration": configuration}
    answer = sign(request)
    assert [c["source"]["topic"]["code"] for c in answer["cards"]] == topics
    assert len(answer.get("systemActions", [])) == updates


def test_the_same_facts_give_the_same_assertion_id(fixture: Read, sign: Sign) -> None:
    request = fixture("order-sign/mrs-medicare-advantage")
    ids = {parts(only(list(stated(sign(request)))), "coverage-assertion-id")[0] for _ in range(2)}
    assert len(ids) == 1
