"""The public pages in a real browser: on any screen, by keyboard, on paper."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.e2e.chromium import OpenPage, Scheme, check_page, every_screen, unfold
from tests.e2e.servers import Server
from tests.libraries import POLICY, two_versions
from tests.policies import SOUND

pytestmark = pytest.mark.chromium

PAGE = "/policies/mr-spectroscopy"


@pytest.fixture(scope="module")
def replaced(
    start_server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory
) -> Server:
    """A service whose policy was replaced by another version on 2024-07-01."""
    library = two_versions(tmp_path_factory.mktemp("policies"))
    return start_server(policies_dir=library, payers_file=SOUND / "payers.yaml")


@every_screen
@pytest.mark.parametrize("path", ["/policies", PAGE, "/policies/no-such-policy"])
def test_a_page_is_accessible_and_fits_the_screen(
    server: Server, open_page: OpenPage, path: str, width: int, scheme: Scheme
) -> None:
    check_page(open_page(server.base + path, width, scheme))


@every_screen
def test_a_policy_with_a_history_is_accessible_and_fits_the_screen(
    replaced: Server, open_page: OpenPage, width: int, scheme: Scheme
) -> None:
    page = open_page(f"{replaced.base}/policies/{POLICY}?on=2024-08-01#history", width, scheme)
    unfold(page)
    check_page(page)


def test_a_clinician_sees_first_what_is_covered_and_that_the_review_is_overdue(
    server: Server, open_page: OpenPage
) -> None:
    page = open_page(server.base + PAGE)
    expect(page.get_by_role("heading", level=1)).to_have_text("Magnetic Resonance Spectroscopy")
    expect(
        page.get_by_role("heading", level=2).and_(page.locator("section > h2")).first
    ).to_have_text("Coverage")
    expect(page.get_by_text("Review overdue since 2024-06")).to_be_in_viewport()
    expect(page.get_by_text("The plan's medical policy counts it as").first).to_be_in_viewport()


@pytest.mark.parametrize(
    ("anchor", "says"),
    [
        ("coverage", "Coverage"),
        ("reason", "Why"),
        ("services", "Services and codes"),
        ("advance-notice", "Advance notice"),
        ("advance-notice-original-medicare", "Original Medicare"),
        ("citations", "Citations"),
    ],
)
def test_a_link_to_a_part_of_the_policy_shows_that_part(
    server: Server, open_page: OpenPage, anchor: str, says: str
) -> None:
    page = open_page(f"{server.base}{PAGE}#{anchor}", width=360)
    section = page.locator(f"#{anchor}")
    expect(section.get_by_role("heading").first).to_contain_text(says)
    expect(section.get_by_role("heading").first).to_be_in_viewport()


def test_a_reader_asks_for_another_day_and_sees_the_version_of_that_day(
    replaced: Server, open_page: OpenPage
) -> None:
    page = open_page(f"{replaced.base}/policies/{POLICY}")
    page.get_by_label("As in force on").fill("2024-03-01")
    page.get_by_role("button", name="Show").click()
    expect(page).to_have_url(re.compile(r"on=2024-03-01"))
    expect(page.get_by_text("As in force on 2024-03-01.")).to_be_visible()
    expect(page.locator("#services")).not_to_contain_text("X0002")
    page.get_by_role("link", name="Version 2024-07-01").click()
    expect(page.locator("#services")).to_contain_text("X0002")
    expect(page.locator("#history ins").first).to_contain_text("Longer example scan")


def test_a_day_without_a_version_leads_on_to_the_versions(
    server: Server, open_page: OpenPage
) -> None:
    page = open_page(f"{server.base}{PAGE}?on=2019-05-05")
    expect(page.get_by_role("heading", level=1)).to_contain_text("not in force on 2019-05-05")
    page.get_by_role("link", name="Published 2023-10-01").click()
    expect(page.locator("#coverage")).to_be_visible()


def test_an_unknown_policy_leads_on_to_those_on_file(server: Server, open_page: OpenPage) -> None:
    page = open_page(f"{server.base}/policies/no-such-policy")
    page.get_by_role("link", name="Magnetic Resonance Spectroscopy").click()
    expect(page).to_have_url(server.base + PAGE)


def test_by_keyboard_one_key_leads_past_the_navigation(server: Server, open_page: OpenPage) -> None:
    page = open_page(server.base + PAGE)
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()


def test_on_paper_the_policy_is_there_and_the_navigation_is_not(
    server: Server, open_page: OpenPage
) -> None:
    page = open_page(server.base + PAGE)
    page.emulate_media(media="print")
    expect(page.get_by_role("navigation", name="Pages")).to_be_hidden()
    expect(page.get_by_role("navigation", name="On this page")).to_be_hidden()
    expect(page.locator("#coverage")).to_be_visible()
    expect(page.get_by_text("American Medical Association").first).to_be_visible()
    # What is folded away on the screen is needed on paper.
    expect(page.get_by_text("The blanks of the form, one by one")).to_be_visible()
    for folded in page.locator("details table, details dl").all():
        expect(folded).to_be_visible()
    assert page.pdf(format="Letter").startswith(b"%PDF")


def test_in_the_dark_the_page_is_dark(server: Server, open_page: OpenPage) -> None:
    def lightness(scheme: Scheme) -> int:
        page = open_page(server.base + PAGE, 1440, scheme)
        color: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, re.findall(r"\d+", color)[:3]))

    assert lightness("dark") < 150 < 600 < lightness("light")


def test_on_a_narrow_screen_one_link_leads_to_the_contents(
    server: Server, open_page: OpenPage
) -> None:
    page = open_page(server.base + PAGE, 360)
    page.get_by_role("link", name="On this page").click()
    expect(page.get_by_role("navigation", name="On this page")).to_be_in_viewport()
    page.get_by_role("link", name="Advance notice", exact=True).click()
    expect(page.get_by_role("heading", name="Advance notice", exact=True)).to_be_in_viewport()
