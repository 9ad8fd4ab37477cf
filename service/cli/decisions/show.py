"""covercard decisions show: what was asked, what was answered, and why."""

from __future__ import annotations

import click

from service.cli.decisions.options import load, mention_spool, opened


@click.command()
@click.argument("assertion_id", metavar="ASSERTION-ID")
@click.option("--request", "body", flag_value="request", help="Print the request as it was kept.")
@click.option("--answer", "body", flag_value="answer", help="Print the answer as it was sent.")
def show(assertion_id: str, body: str | None) -> None:
    """Show the decision behind a coverage-assertion-id: what was asked and answered, and why.

    Where it was asserted several times, the last one is shown and the others are listed. Exit code
    1 if no decision has this id.
    """
    from service.cli.decisions.page import DecisionPage
    from service.records.in_words import body_text
    from service.records.look_up import by_assertion

    settings = load()
    with opened(settings, "show", {"assertion_id": assertion_id, "body": body}) as connection:
        found = by_assertion(connection, assertion_id)
    if found is None:
        mention_spool(settings)
        raise click.ClickException("no decision has this assertion id")
    if body is None:
        DecisionPage(settings.zone).show(found)
    else:
        kept = found.call.kept
        click.echo(body_text(kept.request if body == "request" else kept.answer))
