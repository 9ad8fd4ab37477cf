"""The documents' pictures of the pages: `make pictures` writes them to docs/pictures.

They are taken of the service itself, on a fixed day, with a made-up patient.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Page, expect, sync_playwright
from werkzeug.serving import WSGIRequestHandler, make_server

from service.bootstrap.app import RECORDER, create_app
from tests.conftest import NOW, ROOT, in_folder
from tests.e2e.chromium import ARGUMENTS, CHROMIUM
from tests.e2e.readers import READER, SECRET, readers_file

FOLDER = ROOT / "docs" / "pictures"
_SCALE = 0.8
"""Documents show pictures about this much smaller anyway."""


class Quiet(WSGIRequestHandler):
    """Answers and prints nothing."""

    def log(self, *_: object) -> None:
        return


@contextmanager
def service(*, with_log: bool) -> Iterator[str]:
    """The service on a free port, on the day of the tests; its base URL.

    Its decision log can be read `with_log`.
    """
    with TemporaryDirectory() as folder:
        readers = readers_file(Path(folder)) if with_log else None
        settings = in_folder(Path(folder), readers_file=readers)
        app = create_app(settings, clock=lambda: NOW)
        server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        app.extensions[RECORDER].stop()


def policy(page: Page, base: str) -> None:
    page.goto(f"{base}/policies/mr-spectroscopy")


def workbench(page: Page, base: str) -> None:
    page.goto(base)
    expect(page.locator("#request")).not_to_have_value("")
    fire = page.get_by_role("button", name="Fire the request")
    fire.click()
    expect(page.locator("[data-card]")).to_have_count(2)
    with page.expect_response("**/workbench/explain"):  # once more: the first call warms up
        fire.click()
    expect(fire).to_be_enabled()


def decision(page: Page, base: str) -> None:
    workbench(page, base)
    page.get_by_label("Example", exact=True).select_option("order-sign/mrs-original-medicare.json")
    expect(page.locator("#request")).to_have_value(re.compile("om-bo"))
    page.get_by_role("button", name="Fire the request").click()
    expect(page.locator("#columns")).to_contain_text("ABN")
    told = page.locator("dt:has-text('Assertion id') + dd").inner_text()
    page.goto(f"{base}/decisions")
    page.get_by_label("Name").fill(READER)
    page.get_by_label("Secret").fill(SECRET)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("textbox", name="Assertion id").fill(told)
    page.get_by_role("button", name="Show the decision").click()
    expect(page.locator("[data-card]")).to_have_count(2)


PICTURES = {
    "policy.png": (policy, 1240, 900),
    "workbench.png": (workbench, 1440, 930),
    "decision.png": (decision, 1440, 930),
}
"""What is shown, and the width and height of the window."""


def take(folder: Path) -> None:
    """Write every picture into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*ARGUMENTS, "--disable-lcd-text"]
        )
        for name, (show, width, height) in PICTURES.items():
            page = chromium.new_page(
                viewport={"width": width, "height": height}, device_scale_factor=_SCALE
            )
            with service(with_log=show is decision) as base:
                show(page, base)
                page.screenshot(path=folder / name, animations="disabled")
            page.close()
        chromium.close()


if __name__ == "__main__":
    take(FOLDER)
