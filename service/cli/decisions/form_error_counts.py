"""covercard decisions form-errors: what went wrong with the forms at clients."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from service.cli.decisions.options import load, mention_waiting, opened, span_of, span_options
from service.cli.terminal import echo

if TYPE_CHECKING:
    from service.decision_log.form_error_rows import FormErrors


@click.command("form-errors")
@span_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def form_errors(since: datetime | None, until: datetime | None, as_json: bool) -> None:
    """Count the errors that clients reported with forms, by form and version.

    The latest texts are shown: clients must not write patients' data into them, and some will.
    """
    from service.decision_log.form_error_rows import form_errors as read

    settings = load()
    asked = {"since": since, "until": until}
    with opened(settings, "form-errors", asked) as connection:
        found = read(connection, span_of(since, until))
    mention_waiting(settings)
    if as_json:
        from service.cli.decisions.decision_page import print_json

        print_json([_as_json(each) for each in found])
        return
    if not found:
        echo("no client has reported an error with a form")
    for each in found:
        _print(each)


def _as_json(each: FormErrors) -> dict[str, object]:
    url, _, version = each.canonical.partition("|")
    return {
        "form": url,
        "version": version or None,
        "errors": each.codes.total(),
        "codes": dict(each.codes),
        "clients": dict(each.clients),
        "texts": each.texts,
    }


def _print(each: FormErrors) -> None:
    """One paragraph for each version of a form, for terminals of any width."""
    from service.decision_log.display import printable

    url, _, version = each.canonical.partition("|")
    echo(printable(f"{url} {version or '(no version told)'}"))
    counts = ", ".join(f"{code} {n}" for code, n in each.codes.most_common())
    clients = ", ".join(f"{name} {n}" for name, n in each.clients.most_common())
    for name, value in {"errors": counts, "clients": clients}.items():
        echo(f"    {name:<8} {printable(value)}")
    for text in each.texts:
        echo(f"    {'text':<8} {printable(text)}")
