"""Debian's Chromium, driven by Playwright; every page watched for what it must not do."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Page,
    Request,
    expect,
    sync_playwright,
)

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_MILLISECONDS_TO_WAIT = 45_000
expect.set_options(timeout=_MILLISECONDS_TO_WAIT)
Scheme = Literal["light", "dark"]
OpenPage = Callable[..., Page]

WIDTHS = (360, 768, 1440)
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
every_screen = pytest.mark.parametrize(
    ("width", "scheme"), [(width, scheme) for width in WIDTHS for scheme in SCHEMES]
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium, or the reason why the test is skipped (in CI: fails)."""
    if not CHROMIUM.exists():
        told = pytest.fail if os.environ.get("CI") else pytest.skip
        told("no Chromium on this machine: apt-get install chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Opens an address in a window of its own, of a width and a color scheme.

    At the end no page may have had an error in its script, something refused by its
    Content-Security-Policy, or anything loaded from another host than its own.
    """
    windows: list[Page] = []
    complaints: list[str] = []

    def opened(url: str, width: int = 1440, scheme: Scheme = "light") -> Page:
        window = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        window.set_default_timeout(_MILLISECONDS_TO_WAIT)
        windows.append(window)
        origin = "/".join(url.split("/")[:3])

        def refused(message: ConsoleMessage) -> None:
            # What a call was answered with is the test's to judge; what the page may not do is not.
            if message.type == "error" and "Failed to load resource" not in message.text:
                complaints.append(message.text)

        def foreign(request: Request) -> None:
            if not request.url.startswith((origin, "data:", "blob:")):
                complaints.append(f"loaded from elsewhere: {request.url}")

        window.on("console", refused)
        window.on("pageerror", lambda error: complaints.append(str(error)))
        window.on("request", foreign)
        window.goto(url)
        return window

    yield opened
    for window in windows:
        window.close()
    assert complaints == [], complaints


def unfold(page: Page) -> None:
    """Opens everything that can be opened, so that it is looked at too."""
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")


def check_page(page: Page) -> None:
    """Fails with what axe finds, and where the page is wider than the screen."""
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    too_wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert too_wide <= 0, f"{too_wide} pixels wider than the screen"
