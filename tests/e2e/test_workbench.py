"""The workbench in a real browser, as an integration tester and a clinician use it."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Route, expect
from ruamel.yaml import YAML

from tests.conftest import FIXTURES, fixture_text_today
from tests.e2e.chromium import OpenPage, Scheme, check_page, every_screen, unfold
from tests.e2e.servers import Server

pytestmark = pytest.mark.chromium


def bench(page: Page, example: str = "order-sign/mrs-medicare-advantage.json") -> Page:
    """The workbench with an example loaded."""
    page.get_by_label("Example", exact=True).select_option(example)
    first = fixture_text_today(FIXTURES / example)
    expect(page.locator("#request")).to_have_value(first)
    return page


def fire(page: Page) -> Locator:
    """Fires what is in the workbench; the cards that came back."""
    page.get_by_role("button", name="Fire the request").click()
    expect(
        page.locator("[data-explained] .result, [data-explained]:has-text('cannot')")
    ).not_to_have_count(0)
    return page.locator("[data-card]")


def fields(page: Page) -> dict[str, str]:
    return {name: page.locator(f"#{name}").input_value() for name in ("code", "day", "program")}


def request_of(page: Page) -> Any:
    return json.loads(page.locator("#request").input_value())


@pytest.fixture
def page(server: Server, open_page: OpenPage) -> Page:
    """The workbench with the first example."""
    return bench(open_page(server.base + "/"))


@every_screen
def test_it_is_accessible_and_fits_the_screen_before_and_after_firing(
    server: Server, open_page: OpenPage, width: int, scheme: Scheme
) -> None:
    page = bench(open_page(server.base + "/", width, scheme))
    check_page(page)
    page.get_by_label("Version of CRD").select_option(label="2.0 and 2.2, side by side")
    expect(fire(page)).to_have_count(4)
    unfold(page)
    check_page(page)


def test_the_cards_are_shown_as_an_ehr_shows_them(page: Page) -> None:
    cards = fire(page)
    expect(cards).to_have_count(2)
    first = cards.first
    expect(first.get_by_role("heading")).to_have_text(
        "Not covered under the plan's medical policy: MR spectroscopy (76390), investigational."
    )
    expect(first).to_contain_text("Warning")
    expect(first).to_contain_text("From Example Health Plan")
    expect(first.locator("strong", has_text="Why:")).to_be_visible()
    link = first.get_by_role("link", name="Policy: Magnetic Resonance Spectroscopy")
    assert "noopener" in (link.get_attribute("rel") or "")
    expect(cards.nth(1).get_by_role("button", name="Ask the plan")).to_be_visible()


def test_it_shows_what_changes_in_the_order_and_the_way_to_the_answer(page: Page) -> None:
    fire(page)
    order = page.get_by_role("group", name="Orders")
    expect(order).to_contain_text("ServiceRequest/mrs-brain")
    expect(order).to_contain_text("Not covered")
    expect(order).to_contain_text("Everything else in the order stays as it was sent.")
    steps = page.locator(".path li")
    expect(steps.first).to_contain_text("occurrenceDateTime")
    for step in (
        "Medicare Advantage",
        "76390 is in group mrs",
        "mr-spectroscopy version 2023-10-01",
    ):
        expect(steps.filter(has_text=step)).not_to_have_count(0)
    expect(steps.filter(has_text="Answer")).to_contain_text("Not covered")


def test_it_shows_both_sides_of_the_wire_and_how_long_it_took(page: Page) -> None:
    fire(page)
    column = page.locator(".column")
    expect(column.locator("[data-facts]")).to_contain_text("HTTP 200 in")
    sent = page.locator("#request").input_value()
    assert column.locator("[data-sent]").text_content() == sent
    received = json.loads(column.locator("[data-received]").text_content() or "")
    assert len(received["cards"]) == 2
    assert received.get("systemActions", [])[0]["type"] == "update"


def test_the_call_copied_as_curl_gets_the_same_answer(page: Page) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl on this machine")
    fire(page)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    curl = page.locator("details", has_text="The same call with curl")
    curl.locator("summary").click()
    curl.get_by_role("button", name="Copy").click()
    expect(curl.get_by_role("button", name="Copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    done = subprocess.run(["bash", "-c", copied], capture_output=True, check=True, timeout=30)
    answer = json.loads(done.stdout)
    summaries = [c["summary"] for c in answer["cards"]]
    assert summaries == page.locator("[data-card] h5").all_text_contents()


@pytest.fixture
def held(page: Page) -> list[Route]:
    """The examples that are asked for from now on: each waits until the test lets it go."""
    held: list[Route] = []
    page.route("**/workbench/fixtures/**", lambda route: held.append(route))
    return held


def until_held(page: Page, held: list[Route], count: int) -> None:
    while len(held) < count:
        page.wait_for_timeout(10)


def test_an_example_that_comes_late_takes_nothing_away(page: Page, held: list[Route]) -> None:
    examples = page.get_by_label("Example", exact=True)
    examples.select_option("order-sign/mrs-original-medicare.json")
    examples.select_option("order-sign/disc-pain-four-orders.json")
    until_held(page, held, 2)
    expect(page.get_by_label("Date of service")).to_be_disabled()
    expect(page.locator("#request")).not_to_be_editable()
    late, wanted = held
    wanted.continue_()
    text = fixture_text_today(FIXTURES / "order-sign/disc-pain-four-orders.json")
    expect(page.locator("#request")).to_have_value(text)
    page.get_by_label("Date of service").fill("2026-12-24")
    page.get_by_label("Date of service").blur()
    with page.expect_response("**/mrs-original-medicare.json"):
        late.continue_()
    expect(page.get_by_label("Date of service")).to_have_value("2026-12-24")
    assert "2026-12-24" in page.locator("#request").input_value()


def test_a_call_is_fired_once_its_example_is_there(page: Page, held: list[Route]) -> None:
    page.get_by_label("Example", exact=True).select_option("order-sign/mrs-original-medicare.json")
    page.get_by_role("button", name="Fire the request").click()
    until_held(page, held, 1)
    held[0].continue_()
    expect(page.locator("[data-card]").first).to_contain_text("Medicare may not pay")


def test_an_example_that_cannot_be_loaded_is_told(page: Page, held: list[Route]) -> None:
    page.get_by_label("Example", exact=True).select_option("order-sign/mrs-original-medicare.json")
    until_held(page, held, 1)
    held[0].fulfill(status=503)
    expect(page.locator("#wrong")).to_have_text("The example could not be loaded: HTTP 503.")
    expect(page.locator("#request")).to_be_editable()


def test_a_code_that_no_policy_speaks_of_brings_no_card(page: Page) -> None:
    page.get_by_label("Code").fill("70553")
    page.get_by_label("Code").blur()
    coding = request_of(page)["context"]["draftOrders"]["entry"][0]["resource"]["code"]["coding"]
    assert coding == [{"system": "http://www.ama-assn.org/go/cpt", "code": "70553"}]
    expect(fire(page)).to_have_count(0)
    expect(page.get_by_role("group", name="Cards")).to_contain_text("No card")


@pytest.mark.parametrize(
    ("code", "system"),
    [
        ("E1390", "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets"),
        ("0609T", "http://www.ama-assn.org/go/cpt"),
    ],
)
def test_the_shape_of_a_code_tells_its_system(page: Page, code: str, system: str) -> None:
    page.get_by_label("Code").fill(code)
    page.get_by_label("Code").blur()
    coding = request_of(page)["context"]["draftOrders"]["entry"][0]["resource"]["code"]["coding"]
    assert coding == [{"system": system, "code": code}]


@pytest.mark.parametrize(
    ("coverage", "card", "notice"),
    [
        ("Original Medicare", "Medicare may not pay", "ABN (CMS-R-131)"),
        ("Medicare program not told", "Check which plan pays", "which notice depends"),
        ("None came with the request", "Check which plan pays", "which notice depends"),
    ],
)
def test_another_coverage_brings_other_cards(
    page: Page, coverage: str, card: str, notice: str
) -> None:
    page.locator("#program").select_option(label=coverage)
    if "Medicare" in coverage:
        # The other payer has Medicare Advantage members only: that would contradict the coverage.
        page.get_by_label("Payer").select_option(label="Example Payer")
    cards = fire(page)
    expect(cards.first.get_by_role("heading")).to_contain_text(card)
    expect(cards.nth(1).get_by_role("heading")).to_contain_text(notice)


def test_a_day_before_the_policy_brings_no_card(page: Page) -> None:
    page.get_by_label("Date of service").fill("2023-09-30")
    expect(fire(page)).to_have_count(0)
    expect(page.locator(".path")).to_contain_text("none in force")


def test_a_coverage_that_has_ended_or_is_another_payers_is_told(page: Page) -> None:
    page.get_by_label("Coverage ends").fill("2024-12-31")
    expect(fire(page).first).to_contain_text("Verify coverage before")
    page.get_by_role("button", name="Start over").click()
    expect(page.locator("[data-card]")).to_have_count(0)
    expect(page.get_by_label("Coverage ends")).to_have_value("")
    page.get_by_label("Payer").select_option(label="A payer that is not answered for here")
    expect(fire(page)).to_have_count(0)
    expect(page.locator(".path")).to_contain_text("payer_not_ours")


def test_a_coverage_can_be_added_where_none_came(page: Page) -> None:
    bench(page, "order-sign/no-coverage.json")
    expect(page.locator("#program")).to_have_value("none")
    page.locator("#program").select_option("original_medicare")
    page.get_by_label("Payer").select_option(label="Example Payer")
    expect(fire(page).first).to_contain_text("Medicare may not pay")
    expect(page.get_by_role("group", name="Orders")).to_contain_text("Coverage/added")


def test_with_several_orders_the_fields_change_the_chosen_one(page: Page) -> None:
    bench(page, "order-sign/mrs-and-unrelated-mri.json")
    orders = page.get_by_label("Order", exact=True)
    expect(orders).to_be_visible()
    names = orders.locator("option").all_text_contents()
    orders.select_option(label="ServiceRequest/mrs-brain")
    assert fields(page)["code"] == "76390"
    page.get_by_label("Code").fill("0609T")
    page.get_by_label("Code").blur()
    entries = request_of(page)["context"]["draftOrders"]["entry"]
    codes = {e["resource"]["id"]: e["resource"]["code"]["coding"][0]["code"] for e in entries}
    assert names == [f"ServiceRequest/{i}" for i in codes]
    assert codes["mrs-brain"] == "0609T"
    assert "0609T" not in [c for i, c in codes.items() if i != "mrs-brain"]


def test_numbers_keep_their_digits_when_a_field_is_changed(page: Page) -> None:
    bench(page, "order-sign/unusual-numbers-and-extensions.json")
    before = page.locator("#request").input_value()
    page.get_by_label("Date of service").fill("2026-12-24")
    after = page.locator("#request").input_value()
    written = [line.strip(" ,") for line in before.splitlines() if '"valueDecimal"' in line]
    assert any(line.endswith("0") for line in written)
    assert [line.strip(" ,") for line in after.splitlines() if '"valueDecimal"' in line] == written


def test_a_request_of_ones_own_can_be_pasted(page: Page) -> None:
    page.get_by_label("Example", exact=True).select_option("")
    text = page.get_by_label("The request as JSON")
    expect(text).to_be_focused()
    text.fill(fixture_text_today(FIXTURES / "order-select" / "sandbox-imaging-tab.json"))
    assert fields(page) == {"code": "76390", "day": "", "program": "none"}
    expect(fire(page)).to_have_count(1)
    expect(page.locator("[data-title]")).to_have_text("order-select-crd")


def test_what_is_wrong_with_a_request_is_said_before_and_after_firing(page: Page) -> None:
    page.get_by_text("The request as JSON").first.click()
    page.get_by_label("The request as JSON").fill('{"hook": "order-sign"')
    expect(page.get_by_role("alert")).to_contain_text("This is not a hook request")
    expect(page.get_by_label("Code")).to_be_disabled()
    fire(page)
    expect(page.locator("#columns")).to_contain_text("The service refused the call (HTTP 400).")
    expect(page.locator("#columns")).to_contain_text("not JSON")


def test_both_versions_stand_side_by_side(page: Page) -> None:
    page.get_by_label("Version of CRD").select_option(label="2.0 and 2.2, side by side")
    fire(page)
    columns = page.locator(".column")
    expect(columns.locator("h3")).to_have_text(["CRD 2.0", "CRD 2.2"])
    boxes = [column.bounding_box() for column in columns.all()]
    assert boxes[0] and boxes[1] and boxes[0]["y"] == boxes[1]["y"]
    systems = [
        json.loads(received)["cards"][0]["source"]["topic"]["system"]
        for received in columns.locator("[data-received]").all_text_contents()
    ]
    assert len(set(systems)) == 2


def test_a_hostile_name_shows_as_characters(page: Page) -> None:
    bench(page, "order-sign/hostile-order-name.json")
    cards = fire(page)
    assert page.locator("#columns script, #columns img").count() == 0
    for link in cards.first.locator("a").all():
        assert (link.get_attribute("href") or "").startswith(page.url)


def test_taking_up_a_suggestion_posts_feedback(page: Page) -> None:
    card = fire(page).nth(1)
    button = card.get_by_role("button", name="Ask the plan")
    with page.expect_response("**/feedback") as response:
        button.click()
    sent = response.value.request.post_data_json
    assert response.value.url.endswith("/cds-services/order-sign-crd/feedback")
    (item,) = sent["feedback"]
    assert item["card"] == card.get_attribute("data-card")
    assert item["outcome"] == "accepted"
    assert item["acceptedSuggestions"] == [{"id": button.get_attribute("data-accept")}]
    assert item["outcomeTimestamp"].endswith("Z")
    expect(card.locator("[data-said]")).to_contain_text("The service took it (HTTP 200).")


def test_dismissing_a_card_posts_the_reason_and_the_comment(page: Page) -> None:
    card = fire(page).first
    card.get_by_text("Dismiss…").click()
    card.get_by_label("Reason").select_option("patient-informed")
    card.get_by_label("Comment").fill("Told on the phone")
    with page.expect_response("**/feedback") as response:
        card.get_by_role("button", name="Dismiss the card").click()
    (item,) = response.value.request.post_data_json["feedback"]
    assert item["outcome"] == "overridden"
    assert item["overrideReason"]["reason"]["code"] == "patient-informed"
    assert item["overrideReason"]["reason"]["system"].startswith("https://")
    assert item["overrideReason"]["userComment"] == "Told on the phone"
    expect(card.locator("[data-said]")).to_contain_text("The service took it (HTTP 200).")


def test_a_card_dismissed_without_a_word_carries_no_reason(page: Page) -> None:
    card = fire(page).first
    card.get_by_text("Dismiss…").click()
    with page.expect_response("**/feedback") as response:
        card.get_by_role("button", name="Dismiss the card").click()
    (item,) = response.value.request.post_data_json["feedback"]
    assert item.keys() == {"card", "outcome", "outcomeTimestamp"}


def test_it_can_be_used_by_keyboard_alone(page: Page) -> None:
    page.get_by_label("Example", exact=True).focus()
    page.keyboard.press("Tab")
    expect(page.get_by_label("Code")).to_be_focused()
    page.keyboard.press("Control+Enter")
    expect(page.locator("[data-card]")).to_have_count(2)
    expect(page.locator("#said")).to_contain_text("2 cards")


def test_the_self_check_finds_every_answer_as_expected(page: Page) -> None:
    page.get_by_role("button", name="Fire all").click()
    count = page.locator("#examples [data-name]").count()
    said = f"All {count} answers are as expected"
    expect(page.locator("#verdict")).to_contain_text(said, timeout=60_000)
    expect(page.locator("#examples tr.right")).to_have_count(count)
    check_page(page)


def test_the_self_check_shows_what_differs(
    start_server: Callable[..., Server], open_page: OpenPage, tmp_path: Path
) -> None:
    yaml = YAML(typ="safe")
    listing = yaml.load((FIXTURES / "expected.yaml").read_text("utf-8"))
    names = ["order-sign/mrs-medicare-advantage.json", "order-sign/no-orders.json"]
    kept = {name: listing[name] for name in names}
    kept[names[0]]["cards"] = ["guideline"]
    kept[names[0]]["statements"][0]["covered"] = "covered"
    (tmp_path / "order-sign").mkdir()
    for name in names:
        shutil.copy(FIXTURES / name, tmp_path / name)
    with (tmp_path / "expected.yaml").open("w", encoding="utf-8") as out:
        yaml.dump(kept, out)
    page = open_page(start_server(fixtures_dir=tmp_path).base + "/")
    page.get_by_role("button", name="Fire all 2").click()
    expect(page.locator("#verdict")).to_contain_text("1 of 2 answers differ")
    wrong = page.locator("#examples tr.wrong")
    expect(wrong).to_contain_text("cards: got guideline, claim instead of guideline")
    expect(wrong).to_contain_text("orders: got ServiceRequest/mrs-brain not-covered")
    listed = page.locator("#differing li")
    expect(listed).to_have_count(1)
    expect(listed).to_contain_text(f"({names[0]}): cards: got guideline, claim")
    listed.get_by_role("link").click()
    expect(wrong).to_be_in_viewport()
    check_page(page)
    wrong.get_by_role("button").click()
    expect(page.get_by_label("Example", exact=True)).to_have_value(names[0])
