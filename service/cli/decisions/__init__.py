"""covercard decisions: the decision log, for policy staff and call centers."""

from __future__ import annotations

import click

from service.cli.decisions.accesses import accesses
from service.cli.decisions.export import export
from service.cli.decisions.find import find
from service.cli.decisions.prune import prune
from service.cli.decisions.replay import replay
from service.cli.decisions.show import show
from service.cli.decisions.stats import stats


@click.group()
def decisions() -> None:
    """Look up, count, export, replay and prune decisions. Each access is logged."""


for command in (show, find, stats, export, replay, prune, accesses):
    decisions.add_command(command)
