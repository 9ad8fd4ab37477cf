"""covercard decisions show: request, answer and reason of a decision."""

from __future__ import annotations

import click

from service.cli.decisions.options import load, mention_spool, opened


@click.command()
@click.argument("identifier", metavar="ASSERTION-ID")
@click.option("--request", "body", flag_value="request", help="Print the stored request.")
@click.option("--answer", "body", flag_value="answer", help="Print the sent answer.")
@click.option(
    "--cards", "body", flag_value="cards", help="Show the cards as a clinician sees them."
)
def show(identifier: str, body: str | None) -> None:
    """Show the decision behind a coverage-assertion-id: request, answer and reason.

    Of several assertions with this id, the latest is shown and the others are listed. A call's id
    (header Covercard-Call, field "call" of the log lines) shows that call, also one refused for its
    content. Exit code 1 for an unknown id.
    """
    from service.cli.decisions.page import DecisionPage
    from service.cli.render import Screen
    from service.decision_log.decision_detail import by_assertion, call_detail
    from service.decision_log.display import body_text
    from service.policies.texts import load_texts

    settings = load()
    identifier = identifier.strip().lower()
    with opened(settings, "show", {"assertion_id": identifier, "body": body}) as connection:
        found = by_assertion(connection, identifier)
        looked_at = call_detail(connection, identifier) if found is None else None
    call = found.call if found else looked_at.call if looked_at else None
    if call is None:
        mention_spool(settings)
        raise click.ClickException(
            "no decision has this assertion id, and no call this id; of a call that was refused"
            " before it was read (401, 404, 413, 415, 429) only the log line tells"
        )
    if body == "cards":
        Screen().answer(call.answer)
    elif body is not None:
        click.echo(body_text(call.kept.request if body == "request" else call.kept.answer))
    elif found is not None:
        DecisionPage(settings.zone, load_texts().undetermined).show(found)
    elif looked_at is not None:
        DecisionPage(settings.zone, load_texts().undetermined).call(looked_at)
