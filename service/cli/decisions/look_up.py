"""covercard decisions show, find and stats: looking decisions up, and counting them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from service.cli.decisions.options import (
    client_option,
    load,
    mention_waiting,
    opened,
    span_of,
    span_options,
)
from service.cli.terminal import echo

if TYPE_CHECKING:
    from collections import Counter

    from service.decision_log.policy_stats import PolicyStats


@click.command()
@click.argument("identifier", metavar="ASSERTION-ID")
@click.option("--request", "body", flag_value="request", help="Print the stored request.")
@click.option("--answer", "body", flag_value="answer", help="Print the sent answer.")
@click.option(
    "--cards", "body", flag_value="cards", help="Show the cards as a clinician sees them."
)
@client_option
def show(identifier: str, body: str | None, client: str | None) -> None:
    """Show the decision behind a coverage-assertion-id: request, answer and reason.

    Of several assertions with this id, the latest is shown and the others are listed. A call's id
    (header Covercard-Call, field "call" of the log lines) shows that call, also one refused for its
    content. Exit code 1 for an unknown id.
    """
    from service.cli.decisions.decision_page import DecisionPage
    from service.cli.render import Screen
    from service.decision_log.decision_detail import by_assertion, call_detail
    from service.decision_log.display import body_text
    from service.policies.answer_texts import load_texts

    settings = load()
    identifier = identifier.strip().lower()
    asked = {"assertion_id": identifier, "body": body, "client": client}
    with opened(settings, "show", asked) as connection:
        found = by_assertion(connection, identifier, client)
        looked_at = call_detail(connection, identifier) if found is None else None
    call = found.call if found else looked_at.call if looked_at else None
    if call is None:
        mention_waiting(settings)
        raise click.ClickException(
            "no decision has this assertion id, and no call this id; of a call that was refused"
            " before it was read (401, 404, 413, 415, 429) only the log line tells"
        )
    if body == "cards":
        Screen().answer(call.answer)
    elif body is not None:
        echo(body_text(call.kept.request if body == "request" else call.kept.answer))
    elif found is not None:
        DecisionPage(settings.zone, load_texts().undetermined).show(found)
    elif looked_at is not None:
        DecisionPage(settings.zone, load_texts().undetermined).call(looked_at)


@click.command()
@click.option("--patient", help="The patient as in the call: Patient/ann or ann.")
@click.option("--order", help="The order as in the call: ServiceRequest/mrs-brain or mrs-brain.")
@click.option("--ehr", help="The EHR's FHIR base URL; ids are unique within one EHR only.")
@client_option
@span_options
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def find(
    patient: str | None,
    order: str | None,
    ehr: str | None,
    client: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    as_json: bool,
) -> None:
    """Find decisions, newest first. Exit code 1 without any."""
    from service.cli.decisions.decision_page import DecisionPage, print_json
    from service.cli.decisions.log_shapes import decision_json
    from service.decision_log import queries
    from service.decision_log.decision_detail import order_references, patient_reference
    from service.policies.answer_texts import load_texts

    settings = load()
    patient = patient_reference(patient) if patient is not None else None
    orders = order_references(order) if order is not None else ()
    asked = {
        "patient": patient,
        "order": order,
        "ehr": ehr,
        "client": client,
        "since": since,
        "until": until,
    }
    with opened(settings, "find", asked) as connection:
        found = queries.find(
            connection,
            patient=patient,
            orders=orders,
            ehr=ehr,
            client=client,
            span=span_of(since, until),
            most=limit + 1,
        )
    mention_waiting(settings)
    if as_json:
        print_json([decision_json(d) for d in found[:limit]])
    elif found:
        DecisionPage(settings.zone, load_texts().undetermined).decisions(found[:limit])
    if len({(d.client, d.ehr) for d in found}) > 1:
        echo("these are of several EHRs: one id may be another patient at each", err=True)
    if len(found) > limit:
        echo(f"there are more; --limit is {limit}", err=True)
    if not found:
        raise click.ClickException("no decision fits")


@click.command()
@span_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def stats(since: datetime | None, until: datetime | None, as_json: bool) -> None:
    """Count calls, answers, cards, feedback and forms by policy."""
    from service.cli.progress import waiting
    from service.decision_log.policy_stats import policy_stats

    settings = load()
    asked = {"since": since, "until": until}
    with opened(settings, "stats", asked) as connection, waiting("Counting"):
        found = policy_stats(connection, span_of(since, until))
    mention_waiting(settings)
    if as_json:
        from service.cli.decisions.decision_page import print_json

        print_json([_stats_json(s) for s in found])
    else:
        _print_stats(found)


def _stats_json(s: PolicyStats) -> dict[str, object]:
    return {
        "policy": s.policy_id,
        "calls": s.calls,
        "orders": s.orders,
        "covered": dict(s.covered),
        "cards": s.cards,
        "accepted": s.accepted,
        "overridden": dict(s.overridden),
        "unanswered": s.unanswered,
        "forms_offered": s.forms_offered,
        "forms_started": s.forms_started,
    }


def _print_stats(found: list[PolicyStats]) -> None:
    """One paragraph for each policy, for terminals of any width."""
    from service.decision_log.display import printable

    for s in found:
        lines = {
            "calls": f"{s.calls}, with {s.orders} orders; one asked twice counts twice",
            "answers": _counts(s.covered),
            "cards": f"{s.cards}, of which accepted {s.accepted}, overridden"
            f" {s.overridden.total()}, nothing said {s.unanswered}",
            "overridden": _counts(s.overridden),
            "forms": f"{s.forms_started} of {s.forms_offered} offered were started",
        }
        echo(printable(s.policy_id or "(no policy)"))
        for name, value in lines.items():
            if value:
                echo(f"    {name:<11} {printable(value)}")


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {n}" for name, n in counter.most_common())
