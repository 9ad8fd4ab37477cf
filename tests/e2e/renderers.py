"""LHC-Forms and Smart Forms as a person uses them: what is shown, and what is typed and chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol

from playwright.sync_api import Browser, Locator, Page, Request

Json = dict[str, Any]


@dataclass(frozen=True)
class Choice:
    """One of the answers that a question offers, by the words that it is shown with."""

    words: str


@dataclass(frozen=True)
class Box:
    """A box to check, by the words beside it."""

    words: str


@dataclass(frozen=True)
class Amount:
    """A number with a unit, by the unit's name."""

    number: str
    unit: str


Given = str | bool | date | Choice | Box | Amount


class Renderer(Protocol):
    """Protocol of a renderer in an open page."""

    page: Page

    def shown(self, link_id: str) -> list[str]:
        """What stands in the fields of a question."""
        ...

    def give(self, link_id: str, value: Given) -> None:
        """Answer a question."""
        ...


@dataclass(frozen=True)
class LhcForms:
    """LHC-Forms: the id of a field is its linkId, with the places of its groups."""

    page: Page

    def _field(self, link_id: str, rest: str = "") -> Locator:
        return self.page.locator(f'[id^="{link_id}/"]{rest}')

    def _choose(self, field: Locator, words: str) -> None:
        field.click()
        field.fill("")
        field.press_sequentially(words)
        offered = self.page.locator("#completionOptions li, #completionOptions tr")
        offered.filter(has_text=words).first.click()

    def shown(self, link_id: str) -> list[str]:
        return _values(
            self.page.locator(
                f'input[id^="{link_id}/"], textarea[id^="{link_id}/"], [id^="{link_id}/"] input'
            )
        )

    def give(self, link_id: str, value: Given) -> None:
        match value:
            case bool():
                self._field(link_id, f'[id$="|{str(value).lower()}"]').click()
            case date():
                field = self._field(link_id, " input")
                field.fill(value.strftime("%m/%d/%Y"))
                field.press("Enter")
            case Choice(words):
                self._choose(self._field(link_id).first, words)
            case Amount(number, unit):
                self.give(link_id, number)
                self._choose(self.page.locator(f'input[id^="unit_{link_id}/"]'), unit)
            case Box(words):
                self.page.locator(f'[id="item-{link_id}/1/1"]').get_by_text(words).click()
            case str():
                field = self._field(link_id).first
                field.fill(value)
                field.press("Tab")


@dataclass(frozen=True)
class SmartForms:
    """Smart Forms: a question lies in a box that has its linkId."""

    page: Page

    def _box(self, link_id: str) -> Locator:
        return self.page.locator(f'[data-linkid="{link_id}"]').first

    def _choose(self, field: Locator, words: str) -> None:
        if field.input_value() == words:
            return  # It may be chosen at first, and is then not offered.
        field.fill(words)
        self.page.get_by_role("option").filter(has_text=words).first.click()

    def shown(self, link_id: str) -> list[str]:
        box = self.page.locator(f'[data-linkid="{link_id}"]')
        return _values(box.locator("input, textarea:not([aria-hidden])"))

    def give(self, link_id: str, value: Given) -> None:
        box = self._box(link_id)
        match value:
            case bool():
                word = "Yes" if value else "No"
                box.locator(f'[data-test="radio-single-{word}"] input').check()
            case date():
                field = box.locator("input").first
                field.fill(value.strftime("%d/%m/%Y"))
                field.press("Tab")
            case Amount(number, unit):
                box.locator('[id$="-input"]').fill(number)
                self._choose(box.locator('[id$="-unit"]'), unit)
            case Choice(words) if box.locator("[role=combobox]").count():
                self._choose(box.locator("[role=combobox]"), words)
            case Choice(words) | Box(words):
                box.get_by_label(words).check()
            case str():
                field = box.locator("input, textarea:not([aria-hidden])").first
                field.fill(value)
                field.press("Tab")


RENDERERS: dict[str, Callable[[Page], Renderer]] = {
    "lhc-forms": LhcForms,
    "smart-forms": SmartForms,
}


def _values(fields: Locator) -> list[str]:
    found: list[str] = fields.evaluate_all("all => all.map((field) => field.value)")
    return found


@dataclass
class App:
    """The DTR app around a renderer, in a page at `pages`; `payer` is the FHIR address it calls.

    `trouble` is what went wrong in the page, and what it asked of any other host.
    """

    renderer: Renderer
    payer: str
    trouble: list[str]

    def _call(self, name: str, *arguments: Any) -> Any:
        script = f"(given) => dtrApp.{name}(...given)"
        return self.renderer.page.evaluate(script, list(arguments))

    def package(self, parameters: Json) -> list[Json]:
        """The resources of the first package for these parameters."""
        found: list[Json] = self._call("fetchPackage", self.payer, parameters)
        return found

    def with_lists(self, questionnaire: Json, resources: list[Json]) -> Json:
        """The form with the answers of the value sets that came expanded."""
        found: Json = self._call("withLists", questionnaire, resources)
        return found

    def show(self, questionnaire: Json, begun: Json) -> None:
        """Show a form with its response."""
        self._call("show", questionnaire, begun, self.payer)

    def response(self, status: str = "completed") -> Json:
        """The response as it stands."""
        found: Json = self._call("response", status)
        return found

    def rendered(self) -> Json:
        """The response as the renderer alone gives it."""
        found: Json = self.renderer.page.evaluate("dtrApp.renderer.response()")
        return found

    def next_question(self, *response: Json) -> Json:
        """What $next-question makes of a response, by default of the one that is shown."""
        found: Json = self._call("nextQuestion", self.payer, *response)
        return found

    def give(self, link_id: str, value: Given) -> None:
        """Answer a question, and wait until the response has the answer: renderers take a while."""
        self.renderer.give(link_id, value)
        self.renderer.page.wait_for_function(
            """(link) => {
              const has = (items) => items?.some(
                (i) => (i.linkId === link && i.answer?.length) || has(i.item));
              return has(dtrApp.response("completed").item);
            }""",
            arg=link_id,
        )


def opened(browser: Browser, pages: str, name: str, payer: str) -> Iterator[App]:
    """The app of a renderer; at the end it must have had no trouble."""
    page = browser.new_page(viewport={"width": 1200, "height": 1000})
    page.set_default_timeout(45_000)
    app = App(RENDERERS[name](page), payer, [])

    def foreign(request: Request) -> None:
        service = payer.partition("/fhir")[0]
        if not request.url.startswith((pages, service, "data:", "blob:")):
            app.trouble.append(f"asked elsewhere: {request.url}")

    page.on("request", foreign)
    page.on("pageerror", lambda error: app.trouble.append(str(error)))
    page.goto(f"{pages}/{name}.html")
    page.wait_for_function("dtrApp.renderer !== null")
    yield app
    page.close()
    assert app.trouble == []


def expect_shown(app: App, link_id: str, text: str) -> None:
    """A question shows this text in one of its fields."""
    page = app.renderer.page
    for _ in range(450):
        if text in app.renderer.shown(link_id):
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"{link_id} shows {app.renderer.shown(link_id)}, not {text!r}")
