"""Cards' Markdown as HTML: shown as an EHR would, and harmless whatever it holds."""

import pytest

from service.web.markdown import markdown_html


def test_paragraphs_lists_emphasis_and_tables_are_rendered() -> None:
    html = markdown_html("**Why:** it\n\n- one\n- two\n\n| a | b |\n|---|---|\n| 1 | 2 |\n")
    for piece in ("<strong>Why:</strong>", "<li>one</li>", "<td>1</td>"):
        assert piece in html


def test_a_link_opens_apart_and_tells_nothing_of_the_page() -> None:
    html = markdown_html("[policy](https://plan.example.org/policy)")
    assert 'href="https://plan.example.org/policy"' in html
    assert 'rel="noopener noreferrer"' in html
    assert 'target="_blank"' in html


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "text <b onclick=alert(1)>bold</b>",
    ],
)
def test_html_shows_as_characters(text: str) -> None:
    html = markdown_html(text)
    assert "&lt;" in html
    assert not any(tag in html for tag in ("<script", "<img", "<b "))


@pytest.mark.parametrize("scheme", ["javascript:alert(1)", "vbscript:x", "data:text/html,x"])
def test_a_link_that_would_run_something_is_no_link(scheme: str) -> None:
    assert "href" not in markdown_html(f"[click]({scheme})")


def test_a_picture_is_not_loaded() -> None:
    assert "<img" not in markdown_html("![x](https://elsewhere.example.org/x.png)")
