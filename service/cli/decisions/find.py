"""covercard decisions find: decisions by patient, order and time."""

from __future__ import annotations

from datetime import datetime

import click

from service.cli.decisions.options import load, mention_spool, opened, span_of, span_options


@click.command()
@click.option("--patient", help="The patient as in the call: Patient/ann or ann.")
@click.option("--order", help="The order as in the call: ServiceRequest/mrs-brain or mrs-brain.")
@click.option("--ehr", help="The EHR's FHIR base URL; ids are unique within one EHR only.")
@span_options
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def find(
    patient: str | None,
    order: str | None,
    ehr: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    as_json: bool,
) -> None:
    """Find decisions, newest first. Exit code 1 without any."""
    from service.cli.decisions.page import DecisionPage, print_json
    from service.cli.decisions.shapes import decision_json
    from service.decision_log import queries
    from service.decision_log.decision_detail import order_references, patient_reference
    from service.policies.texts import load_texts

    settings = load()
    patient = patient_reference(patient) if patient is not None else None
    orders = order_references(order) if order is not None else ()
    asked = {"patient": patient, "order": order, "ehr": ehr, "since": since, "until": until}
    span = span_of(since, until)
    with opened(settings, "find", asked) as connection:
        found = queries.find(
            connection, patient=patient, orders=orders, ehr=ehr, span=span, most=limit + 1
        )
    mention_spool(settings)
    if as_json:
        print_json([decision_json(d) for d in found[:limit]])
    elif found:
        DecisionPage(settings.zone, load_texts().undetermined).decisions(found[:limit])
    if len({(d.client, d.ehr) for d in found}) > 1:
        click.echo("these are of several EHRs: one id may be another patient at each", err=True)
    if len(found) > limit:
        click.echo(f"there are more; --limit is {limit}", err=True)
    if not found:
        raise click.ClickException("no decision fits")
