"""The CDS Hooks Sandbox calls from a browser, from an origin of its own: what it needs to read."""

import json
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Request, expect

from tests.conftest import FIXTURES, fixture_text_today
from tests.e2e.servers import Server

pytestmark = pytest.mark.chromium

PAGES = Path(__file__).parent


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and prints nothing."""

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[str]:
    """Another origin, which serves the stand-in for the Sandbox."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=PAGES)) as pages:
        threading.Thread(target=pages.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{pages.server_address[1]}"
        pages.shutdown()


@pytest.fixture(scope="module")
def listed(start_server: Callable[..., Server], elsewhere: str) -> Server:
    """A service that the other origin may call."""
    return start_server(cors_origins=elsewhere)


@pytest.fixture
def sandbox(browser: Browser, elsewhere: str) -> Iterator[Page]:
    page = browser.new_page()
    page.goto(f"{elsewhere}/sandbox.html")
    yield page
    page.close()


def request_of(name: str) -> Any:
    return json.loads(fixture_text_today(FIXTURES / "order-select" / f"{name}.json"))


def fire(sandbox: Page, server: Server, name: str = "sandbox-imaging-tab") -> Any:
    """The answer as the Sandbox's script reads it, None if it cannot."""
    url = f"{server.base}/cds-services/order-select-crd"
    return sandbox.evaluate("([url, request]) => call(url, request)", [url, request_of(name)])


@pytest.mark.requirement("cds-hooks-2.0:208")
def test_it_discovers_the_services(sandbox: Page, listed: Server) -> None:
    services = sandbox.evaluate("(base) => discover(base)", listed.base)
    (service,) = [s for s in services if s["hook"] == "order-select"]
    assert service["id"] == "order-select-crd"
    # It collapses a parameter that a template repeats.
    for template in service["prefetch"].values():
        names = [p.split("=")[0] for p in template.partition("?")[2].split("&")]
        assert len(names) == len(set(names))


@pytest.mark.requirement("cds-hooks-2.0:208")
def test_its_imaging_tab_shows_our_card_for_76390(sandbox: Page, listed: Server) -> None:
    sent: list[Request] = []
    sandbox.on("request", lambda request: sent.append(request))
    answer = fire(sandbox, listed)
    expect(sandbox.locator("#state")).to_have_text("answered 200")
    card = sandbox.locator("article")
    expect(card).to_have_count(1)
    expect(card.locator("h2.info")).to_contain_text("MR spectroscopy (76390)")
    expect(card.locator("h2")).to_contain_text("Check which plan pays")
    expect(card.locator("pre")).to_contain_text("No insurance was sent with this order")
    expect(card.locator("select option")).not_to_have_count(0)
    (call,) = [r for r in sent if r.method == "POST"]
    assert call.headers["authorization"] == "Bearer header.payload.signature"
    assert answer["cards"][0]["uuid"]
    assert "url" not in answer["cards"][0]["source"]


def test_before_a_study_is_chosen_there_is_no_card_and_no_error(
    sandbox: Page, listed: Server
) -> None:
    answer = fire(sandbox, listed, "sandbox-before-a-study-is-chosen")
    assert answer["cards"] == []
    expect(sandbox.locator("#state")).to_have_text("answered 200")


def sign(sandbox: Page, server: Server) -> None:
    """Full cards: the Sandbox cannot sign an imaging order, but a client like it can."""
    request = json.loads(fixture_text_today(FIXTURES / "order-sign" / "mrs-original-medicare.json"))
    url = f"{server.base}/cds-services/order-sign-crd"
    sandbox.evaluate("([url, request]) => call(url, request)", [url, request])


def test_full_cards_have_markdown_and_suggestions_that_its_screen_survives(
    sandbox: Page, listed: Server
) -> None:
    sign(sandbox, listed)
    cards = sandbox.locator("article")
    expect(cards).to_have_count(2)
    expect(cards.first.locator("pre")).to_contain_text("**Why:**")
    expect(cards.nth(1).locator("button").first).to_have_attribute("title", "create Task")


def test_a_cards_link_opens_the_policy(sandbox: Page, listed: Server) -> None:
    sign(sandbox, listed)
    sandbox.get_by_role("link", name="Policy: Magnetic Resonance Spectroscopy").click()
    expect(sandbox.get_by_role("heading", level=1)).to_have_text("Magnetic Resonance Spectroscopy")


def test_it_can_post_feedback_and_read_what_became_of_it(sandbox: Page, listed: Server) -> None:
    fire(sandbox, listed)
    with sandbox.expect_response("**/order-select-crd/feedback") as feedback:
        sandbox.get_by_role("button", name="Dismiss").click()
    expect(sandbox.locator("#state")).to_have_text("feedback 200")
    (item,) = feedback.value.request.post_data_json["feedback"]
    assert item["outcome"] == "overridden"
    assert item["overrideReason"]["reason"]["code"]


def test_a_page_of_an_origin_that_is_not_listed_reads_nothing(
    sandbox: Page, server: Server
) -> None:
    assert fire(sandbox, server) is None
    expect(sandbox.locator("#state")).to_contain_text("unreadable")
