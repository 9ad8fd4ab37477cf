"""Text from a request shows on a card as what it is: characters (CDS Hooks, Safety)."""

import json
import re
import unicodedata
from html.parser import HTMLParser
from typing import Any

import pytest
from markdown_it import MarkdownIt

from tests.conftest import fixture_text_today
from tests.e2e.servers import ROOT, Server

FIXTURE = ROOT / "fhir_fixtures" / "order-sign" / "hostile-order-name.json"
HARMLESS = {"p", "ul", "ol", "li", "strong", "em", "h1", "h2", "h3", "h4", "a", "br", "code", "hr"}

NAMES = [
    "[x](javascript:alert(1))",
    "![i](http://evil.example.org/pixel.gif)",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<a href='https://evil.example.org'>click</a>",
    "https://evil.example.org/login",
    "www.evil.example.org",
    "mail me@evil.example.org",
    "<https://evil.example.org>",
    "[x]: https://evil.example.org\n\n[x]",
    "\u202egnp.exe\u202c",
    "\u2066hidden\u2069\u200b\u200e\u061c",
    "# Heading\n## Another\n- list\n1. one\n> quote\n```code```\n| a | b |\n|---|---|",
    "**bold** _em_ ~~gone~~ `code`",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "\\[x\\](javascript:alert(1))",
    "\x01\x1b[31mred\x07",
    "x" * 5000,
]


class Page(HTMLParser):
    """What a rendered text is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.targets: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)
        self.targets.update(value or "" for name, value in attrs if name in ("href", "src"))


def rendered(markdown: str) -> list[Page]:
    """The text as strict and as careless clients render it: with raw HTML, with bare links."""
    renderers = [
        MarkdownIt("commonmark", {"html": True}),
        MarkdownIt("gfm-like", {"html": True, "linkify": False}),
        MarkdownIt("js-default"),
    ]
    pages = []
    for renderer in renderers:
        page = Page()
        page.feed(renderer.render(markdown))
        pages.append(page)
    return pages


def texts(answer: dict[str, Any]) -> list[str]:
    """All that a client may render: summaries, details, labels and descriptions."""
    found: list[str] = []
    for card in answer["cards"]:
        found += [card["summary"], card.get("detail", ""), card["source"]["label"]]
        found += [link["label"] for link in card.get("links", [])]
        for suggestion in card.get("suggestions", []):
            found.append(suggestion["label"])
            found += [a["description"] for a in suggestion["actions"]]
    return found + [a["description"] for a in answer.get("systemActions", [])]


def check(answer: dict[str, Any]) -> None:
    ours = {link["url"] for card in answer["cards"] for link in card.get("links", [])}
    assert answer["cards"]
    for text in texts(answer):
        unseen = {c for c in text if unicodedata.category(c) in ("Cf", "Cc", "Co", "Cs")} - {"\n"}
        assert unseen == set(), text
        # A client that makes links of bare addresses must find none but ours either.
        assert set(re.findall(r"(?:https?://|www\.)[^\s)\"<]+", text)) <= ours
        for page in rendered(text):
            assert page.tags <= HARMLESS, text
            assert page.attributes <= {"href", "start"}, text
            assert page.targets <= ours, text


@pytest.mark.threat("markup-injection")
def test_the_hostile_fixture_shows_as_text(server: Server) -> None:
    reply = server.post(
        "/cds-services/order-sign-crd", json=json.loads(fixture_text_today(FIXTURE))
    )
    assert reply.status_code == 200
    check(reply.json())


@pytest.mark.threat("dangerous-card", "markup-injection")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("version", ["2.0", "2.2"])
def test_an_order_with_a_hostile_name_shows_as_text(
    server: Server, name: str, version: str
) -> None:
    request = json.loads(fixture_text_today(FIXTURE))
    request.setdefault("extension", {})["davinci-crd.requestedVersion"] = version
    order = request["context"]["draftOrders"]["entry"][0]["resource"]
    order["code"]["text"] = name
    for coding in order["code"]["coding"]:
        coding["display"] = name
    reply = server.post("/cds-services/order-sign-crd", json=request)
    assert reply.status_code == 200
    check(reply.json())


@pytest.mark.threat("markup-injection")
@pytest.mark.parametrize("name", NAMES)
def test_a_person_or_payer_with_a_hostile_name_shows_as_text(server: Server, name: str) -> None:
    text = fixture_text_today(FIXTURE)
    request = json.loads(text)
    rename(request["prefetch"], name)
    reply = server.post("/cds-services/order-sign-crd", json=request)
    assert reply.status_code == 200
    check(reply.json())


def rename(value: Any, name: str) -> None:
    """Give every person, payer and thing in the prefetched data this name."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("text", "display", "family", "name") and isinstance(inner, str):
                value[key] = name
            elif key == "given":
                value[key] = [name]
            else:
                rename(inner, name)
    elif isinstance(value, list):
        for inner in value:
            rename(inner, name)


@pytest.mark.threat("dangerous-card")
def test_links_lead_to_configured_hosts_only_and_launch_nothing(server: Server) -> None:
    configured = {server.base}
    for file in (ROOT / "service" / "policies").rglob("*.yaml"):
        configured |= set(re.findall(r"https?://[^/\s\"']+", file.read_text("utf-8")))
    for fixture in (ROOT / "fhir_fixtures" / "order-sign").glob("*.json"):
        reply = server.post(
            "/cds-services/order-sign-crd", json=json.loads(fixture_text_today(fixture))
        )
        for card in reply.json()["cards"]:
            urls = [link["url"] for link in card.get("links", [])]
            urls += [card["source"]["url"]] if "url" in card["source"] else []
            assert {"/".join(url.split("/")[:3]) for url in urls} <= configured
            assert {link["type"] for link in card.get("links", [])} <= {"absolute"}
            assert all("appContext" not in link for link in card.get("links", []))
