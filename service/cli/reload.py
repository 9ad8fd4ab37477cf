"""covercard reload: bring edited policies, payers, clients and readers into force."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import click

from service.cli.terminal import echo

if TYPE_CHECKING:
    from service.cli.snapshots.board import ReloadOutcome

_LOOK_SECONDS = 0.05
_SECONDS = 300


@click.command()
@click.option(
    "--wait",
    type=click.IntRange(1, 3600),
    default=_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="Longest wait for the service's word.",
)
def reload(wait: int) -> None:
    """Bring the files as they are now into force, in all workers of the running service.

    It checks them and runs the policies' cases first. Exit code 1, with the reason: they are
    refused, and the service goes on as before. Exit code 2: no service runs.
    """
    from service.cli.snapshots.server_place import ServerPlace
    from service.settings import load_settings

    place = ServerPlace(load_settings())
    process = place.process()
    asked = time.monotonic_ns()
    try:
        os.kill(process, signal.SIGHUP)
    except PermissionError:
        raise click.ClickException(
            f"process {process} is another user's: run this as the service's user"
        ) from None
    until = time.monotonic() + wait
    while True:
        outcome = place.told()
        # An earlier reload that is under way may have read the files before they were as now.
        if outcome is not None and outcome.began >= asked:
            _tell(outcome)
            return
        if time.monotonic() > until:
            raise click.ClickException(
                f"no word from process {process} within {wait} seconds: its log has it"
            )
        time.sleep(_LOOK_SECONDS)


def _tell(outcome: ReloadOutcome) -> None:
    if outcome.state == "refused":
        raise click.ClickException(
            f"refused, the service goes on with policies {outcome.policies}\n{outcome.why}"
        )
    said = "the files are in force already" if outcome.state == "unchanged" else "in force"
    made = f", bundle made {outcome.bundle_made}" if outcome.bundle_made else ""
    echo(f"{said}: policies {outcome.policies}, access {outcome.access}{made}")
    echo(f"{outcome.cases} cases passed")
