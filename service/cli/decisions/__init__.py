"""covercard decisions: the decision log, for policy staff and call centers."""

from __future__ import annotations

import click

from service.cli.decisions.evidence import evidence
from service.cli.decisions.export import export
from service.cli.decisions.form_error_counts import form_errors
from service.cli.decisions.log_keeping import accesses, prune
from service.cli.decisions.look_up import find, show, stats
from service.cli.decisions.payer_findings import payer_findings
from service.cli.decisions.replay import replay
from service.cli.decisions.verify_command import verify


@click.group()
def decisions() -> None:
    """Look up, count, export, replay, verify and prune decisions. Each access is logged."""


for command in (
    show,
    find,
    evidence,
    stats,
    payer_findings,
    form_errors,
    export,
    replay,
    verify,
    prune,
    accesses,
):
    decisions.add_command(command)
