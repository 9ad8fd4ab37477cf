"""The decision log in a real browser, as a call center and policy staff use it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import FIXTURES, fixture_text_today
from tests.e2e.chromium import OpenPage, Scheme, check_page, every_screen, unfold
from tests.e2e.readers import READER, SECRET, assertion_id, is_in_the_rows, signed, start
from tests.e2e.servers import Server

pytestmark = pytest.mark.chromium


@pytest.fixture(scope="module")
def log(start_server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A service with a decisions page; its log holds decisions on Ann's and Bo's orders."""
    server = start(start_server, tmp_path_factory.mktemp("readers"))
    signed(server)
    signed(server, "mrs-original-medicare")
    signed(server, "unlisted-code")
    return server


@pytest.fixture(scope="module")
def cookie(log: Server) -> dict[str, str]:
    """The cookie of a session: signing in is limited, and tests are faster than people."""
    reply = log.post(
        "/decisions/sign-in", data={"name": READER, "secret": SECRET}, allow_redirects=False
    )
    return {"name": "covercard-reader", "value": reply.cookies["covercard-reader"]}


def sign_in(page: Page, name: str = READER, secret: str = SECRET) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Secret").fill(secret)
    page.get_by_role("button", name="Sign in").click()


@pytest.fixture
def open_log(log: Server, open_page: OpenPage, cookie: dict[str, str]) -> OpenPage:
    """Opens the page in a session, on a screen."""

    def opened(path: str = "/decisions", width: int = 1440, scheme: Scheme = "light") -> Page:
        page = open_page(f"{log.base}/decisions/sign-in", width, scheme)
        page.context.add_cookies([{**cookie, "url": f"{log.base}/decisions"}])  # type: ignore[list-item]
        page.goto(log.base + path)
        return page

    return opened


@pytest.fixture
def page(open_log: OpenPage) -> Page:
    return open_log()


def find(page: Page, patient: str = "", order: str = "") -> None:
    page.get_by_role("textbox", name="Patient").fill(patient)
    page.get_by_role("textbox", name="Order").fill(order)
    page.get_by_role("button", name="Find").click()


def show(page: Page, told: str) -> None:
    page.get_by_role("textbox", name="Assertion id").fill(told)
    page.get_by_role("button", name="Show the decision").click()


@every_screen
def test_every_page_is_accessible_and_fits_the_screen(
    log: Server, open_log: OpenPage, open_page: OpenPage, width: int, scheme: Scheme
) -> None:
    check_page(open_page(f"{log.base}/decisions", width, scheme))
    page = open_log("/decisions", width, scheme)
    check_page(page)
    find(page)
    expect(page.get_by_role("alert")).to_have_text("Give a patient or an order.")
    check_page(page)
    find(page, patient="ann")
    expect(page.locator(".found li")).not_to_have_count(0)
    check_page(page)
    page.locator(".found").get_by_role("button").first.click()
    page.get_by_role("button", name="Show the request").click()
    expect(page.locator("#body pre")).to_be_visible()
    unfold(page)
    check_page(page)
    page.get_by_role("link", name="Feedback").click()
    expect(page.locator(".plot")).not_to_have_count(0)
    check_page(page)


def test_a_reader_signs_in_and_out_by_keyboard_alone(log: Server, open_page: OpenPage) -> None:
    page = open_page(f"{log.base}/decisions")
    expect(page).to_have_url(f"{log.base}/decisions/sign-in")
    page.get_by_label("Name").focus()
    page.keyboard.type(READER)
    page.keyboard.press("Tab")
    page.keyboard.type("not the secret")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("Name or secret is wrong.")
    sign_in(page)
    expect(page).to_have_url(f"{log.base}/decisions")
    expect(page.get_by_text(f"Signed in as {READER}")).to_be_visible()
    assert page.evaluate("document.cookie") == ""
    out = page.get_by_role("button", name="Sign out")
    out.focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{log.base}/decisions/sign-in")
    page.go_back()
    expect(page.get_by_text("Signed in as")).to_have_count(0)
    page.goto(f"{log.base}/decisions")
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()


def test_by_assertion_id_one_sees_what_was_asked_answered_and_why(log: Server, page: Page) -> None:
    told = assertion_id(signed(log))
    show(page, told)
    expect(page.get_by_role("heading", level=1)).to_have_text("Not covered 76390")
    facts = page.get_by_role("region", name="The call")
    for fact in ("Patient/ann", "ServiceRequest/mrs-brain: 76390", "Coverage/ma-ann", "order-sign"):
        expect(facts).to_contain_text(fact)
    steps = page.locator(".path li")
    expect(steps.filter(has_text="76390 is in group mrs")).to_have_count(1)
    expect(steps.filter(has_text="Answer")).to_contain_text("Not covered")
    stated = page.get_by_role("region", name="What was stated on the order")
    expect(stated).to_contain_text(told)
    expect(stated).to_contain_text("Investigational")
    cards = page.locator("[data-card]")
    expect(cards).to_have_count(2)
    expect(cards.first.get_by_role("heading")).to_contain_text(
        "Not covered under the plan's medical policy"
    )
    expect(cards.nth(1)).to_contain_text("Ask the plan")
    # It was shown to a clinician then; nobody takes it up here.
    expect(cards.get_by_role("button")).to_have_count(0)
    expect(cards.locator("form")).to_have_count(0)
    assert told not in page.url


def test_request_and_answer_come_as_json_when_they_are_asked_for(log: Server, page: Page) -> None:
    answer = signed(log)
    show(page, assertion_id(answer))
    expect(page.locator("#body pre")).to_have_count(0)
    page.get_by_role("button", name="Show the answer").click()
    assert json.loads(page.locator("#body pre").text_content() or "") == answer
    expect(page.locator("#body pre")).to_be_in_viewport()
    page.get_by_role("button", name="Show the request").click()
    expect(page.get_by_role("heading", name="The request", exact=True)).to_be_visible()
    request = json.loads(page.locator("#body pre").text_content() or "")
    assert request["context"]["patientId"] == "ann"


def test_by_patient_or_order_decisions_are_listed_and_each_opens(page: Page) -> None:
    find(page, patient="bo")
    found = page.locator(".found li")
    expect(found).to_have_count(1)
    expect(found).to_contain_text("Patient/bo")
    expect(page.get_by_role("textbox", name="Patient")).to_have_value("bo")
    found.get_by_role("button").click()
    expect(page.locator("[data-card]").first).to_contain_text("Medicare may not pay")
    page.get_by_role("link", name="Find a decision").click()
    find(page, order="ServiceRequest/mri-head")
    expect(page.locator(".found li").first).to_contain_text("70551")
    find(page, patient="nobody")
    expect(page.get_by_role("heading", name="No decision fits")).to_be_visible()


def test_days_narrow_the_search(page: Page) -> None:
    page.get_by_label("To").fill("2020-01-01")
    find(page, patient="ann")
    expect(page.get_by_role("heading", name="No decision fits")).to_be_visible()
    page.get_by_label("From").fill("2020-01-02")
    find(page, patient="ann")
    expect(page.get_by_role("alert")).to_have_text("The last day is before the first.")


def test_an_unknown_assertion_id_is_told(page: Page) -> None:
    show(page, "cc-nobody")
    expect(page.get_by_role("alert")).to_have_text(
        "No decision has this assertion id, and no call this id."
    )
    expect(page.get_by_role("textbox", name="Assertion id")).to_have_value("cc-nobody")


def test_a_refused_call_is_shown_by_its_id_with_what_was_wrong(log: Server, page: Page) -> None:
    reply = log.post("/cds-services/order-sign-crd", json={"hook": "order-sign"})
    is_in_the_rows(log)
    show(page, reply.headers["Covercard-Call"])
    expect(page.get_by_role("heading", level=1)).to_have_text("Call refused: HTTP 422")
    wrong = page.get_by_role("region", name="What was wrong with it")
    expect(wrong).to_contain_text("missing: hookInstance, context")
    page.get_by_role("button", name="Show the request").click()
    expect(page.locator("#body pre")).to_contain_text('"hook": "order-sign"')
    check_page(page)


def test_an_answered_call_is_shown_by_its_id_with_its_decisions(log: Server, page: Page) -> None:
    body = json.loads(fixture_text_today(FIXTURES / "order-sign/mrs-medicare-advantage.json"))
    reply = log.post("/cds-services/order-sign-crd", json=body)
    is_in_the_rows(log)
    show(page, reply.headers["Covercard-Call"].upper())
    expect(page.get_by_role("heading", level=1)).to_have_text("Call answered: HTTP 200")
    page.get_by_role("button", name="ServiceRequest/mrs-brain").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Not covered 76390")


def test_decisions_of_several_ehrs_are_marked(log: Server, page: Page) -> None:
    body = json.loads(fixture_text_today(FIXTURES / "order-sign/mrs-medicare-advantage.json"))
    body.pop("fhirAuthorization", None)
    body["fhirServer"] = "https://another.example.org/fhir"
    assert log.post("/cds-services/order-sign-crd", json=body).status_code == 200
    is_in_the_rows(log)
    find(page, order="mrs-brain")
    expect(page.locator("#found")).to_contain_text("These come from several EHRs")
    expect(page.locator(".found")).to_contain_text("https://another.example.org/fhir")


def test_what_is_made_of_a_card_in_the_workbench_is_in_the_log(
    log: Server, open_page: OpenPage, page: Page
) -> None:
    bench = open_page(f"{log.base}/")
    bench.get_by_label("Example", exact=True).select_option(
        "order-sign/mrs-medicare-advantage.json"
    )
    bench.get_by_role("button", name="Fire the request").click()
    cards = bench.locator("[data-card]")
    cards.first.get_by_text("Dismiss…").click()
    cards.first.get_by_label("Reason").select_option("patient-informed")
    cards.first.get_by_label("Comment").fill("told on the phone")
    cards.first.get_by_role("button", name="Dismiss the card").click()
    expect(cards.first.locator("[data-said]")).to_contain_text("The service took it")
    cards.nth(1).get_by_role("button", name="Ask the plan").click()
    expect(cards.nth(1).locator("[data-said]")).to_contain_text("The service took it")
    told = bench.locator("dt:has-text('Assertion id') + dd").inner_text()

    is_in_the_rows(log)
    show(page, told)
    shown = page.locator("[data-card]")
    expect(shown.first).to_contain_text(
        "overridden: The patient was told about the cost and wants the service: told on the phone"
    )
    expect(shown.nth(1)).to_contain_text("accepted")
    page.get_by_role("link", name="Feedback").click()
    policy = page.get_by_role("region", name="mr-spectroscopy")
    rows = policy.locator("tbody tr")
    dismissed = rows.filter(has_text="The patient was told about the cost and wants the service")
    expect(dismissed.locator("td").first).to_have_text("1")
    expect(rows.filter(has_text="Accepted").locator("td").first).to_have_text("1")


def test_each_bar_of_the_plot_is_as_long_as_its_figure_says(open_log: OpenPage) -> None:
    page = open_log("/decisions/feedback")
    rows = page.get_by_role("region", name="mr-spectroscopy").locator("tbody tr")
    cards = [int(n) for n in rows.locator("td:nth-child(2)").all_text_contents()]
    assert sum(cards) > 0
    for row, n in zip(rows.all(), cards, strict=True):
        whole, filled = (
            row.locator(f"rect.{part}").evaluate("(bar) => bar.getBoundingClientRect().width")
            for part in ("rest", "filled")
        )
        assert filled / whole == pytest.approx(n / sum(cards), abs=0.01)


def test_what_was_asserted_before_and_what_replaced_it_are_a_click_away(
    log: Server, page: Page
) -> None:
    first = assertion_id(signed(log))
    signed(log)
    show(page, first)
    others = page.get_by_role("region", name="Asserted with the same facts")
    others.get_by_role("button").first.click()
    expect(page.get_by_role("region", name="The call")).to_contain_text("ServiceRequest/mrs-brain")


def test_on_paper_the_decision_is_there_and_the_navigation_is_not(log: Server, page: Page) -> None:
    show(page, assertion_id(signed(log)))
    page.emulate_media(media="print")
    expect(page.get_by_role("button", name="Sign out")).to_be_hidden()
    expect(page.get_by_role("region", name="The call")).to_be_visible()
    expect(page.locator("[data-card]").first).to_be_visible()
