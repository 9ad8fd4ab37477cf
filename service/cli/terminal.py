"""The terminal: everything that a command writes passes here, without control characters.

Answers, requests, files and log entries hold what others have sent. Only the styles of this program
become control sequences.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from service.shown_text import shown, shown_json

if TYPE_CHECKING:
    from rich.console import Console


def echo(text: object = "", *, err: bool = False) -> None:
    """Write a line."""
    click.echo(shown(str(text)), err=err)


def echo_json(value: object, *, ascii_only: bool = False) -> None:
    """Write a value as indented JSON."""
    click.echo(shown_json(json.dumps(value, indent=2, ensure_ascii=ascii_only)))


def echo_lines_of_json(encoded: Iterable[bytes]) -> None:
    """Write encoded values, a line each."""
    for each in encoded:
        click.echo(shown_json(each.decode()))


def echo_bytes(body: bytes) -> None:
    """Write bytes as they are; to a terminal, the text that they are."""
    if sys.stdout.isatty():
        click.echo(shown_json(body.decode("utf-8", "replace")))
    else:
        click.echo(body)


def console(*, stderr: bool = False, width: int | None = None) -> Console:
    """A console for styled text; its text cannot hold markup, links or control sequences."""
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    class Shown(Console):
        def render(
            self, renderable: RenderableType, options: ConsoleOptions | None = None
        ) -> Iterable[Segment]:
            for segment in super().render(renderable, options):
                if segment.control:
                    yield segment
                    continue
                style = segment.style
                # A link is a control sequence (OSC 8) with an address of another's choice.
                if style is not None and style.link:
                    style = style.update_link(None)
                yield Segment(shown(segment.text), style)

    return Shown(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)


class ShownGroup(click.Group):
    """A group of commands whose error messages are safe to show too."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            message = error.format_message()
            if shown(message) == message:
                raise
            click.echo(f"Error: {shown(message)}", err=True)
            raise click.exceptions.Exit(error.exit_code) from None
