"""covercard decisions show: what was asked, what was answered, and why."""

from __future__ import annotations

import click

from service.cli.decisions.options import load, mention_spool, opened

_MOST_CALLS = 20


@click.command()
@click.argument("assertion_id", metavar="ASSERTION-ID")
@click.option("--request", "body", flag_value="request", help="Print the request as it was kept.")
@click.option("--answer", "body", flag_value="answer", help="Print the answer as it was sent.")
def show(assertion_id: str, body: str | None) -> None:
    """Show the decision behind a coverage-assertion-id: what was asked and answered, and why.

    Where it was asserted several times, the last one is shown and the others are listed. Exit code
    1 if no decision has this id.
    """
    from service.cli.decisions.page import DecisionPage, print_json
    from service.records import queries

    settings = load()
    with opened(settings, "show", {"assertion_id": assertion_id, "body": body}) as connection:
        found = queries.by_assertion(connection, assertion_id, _MOST_CALLS)
        if not found:
            mention_spool(settings)
            raise click.ClickException("no decision has this assertion id")
        logged = queries.one_call(connection, found[0].call_id)
        if logged is None:
            raise click.ClickException("its call has been pruned meanwhile")
        if body is not None:
            print_json(logged.request if body == "request" else logged.answer)
            return
        shown = [str(card["uuid"]) for card in logged.cards]
        DecisionPage(settings.zone).show(
            found,
            logged,
            replaces=found[0].determination.replaces
            or queries.replaced_by_log(connection, found[0]),
            replaced_by=queries.replacement(connection, found[0]),
            said=queries.feedback_on(connection, shown, logged.row.client),
        )
