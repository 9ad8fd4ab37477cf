"""Markdown to HTML, as an EHR shows a card's detail: without raw HTML and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token


def markdown_html(text: str) -> str:
    """GitHub-flavored Markdown as HTML that is safe in a page.

    HTML in `text` is escaped; links open in a new window without referrer.
    """
    html: str = _MARKDOWN.render(text)
    return html


def _link_open(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any
) -> str:
    tokens[index].attrSet("rel", "noopener noreferrer")
    tokens[index].attrSet("target", "_blank")
    return renderer.renderToken(tokens, index, options, env)


_MARKDOWN = (
    MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable("image")
)
_MARKDOWN.add_render_rule("link_open", _link_open)
