"""Command line `covercard`. Each command imports its needs when it runs."""

from __future__ import annotations

import os
import sys

import click

from service import __version__
from service.cli.db import db
from service.cli.decisions import decisions
from service.cli.ehr_stub.ehr_command import ehr
from service.cli.fire import fire
from service.cli.payer_data_commands import payer_data
from service.cli.policy_commands import policy
from service.cli.reload import reload
from service.cli.serve import serve
from service.cli.terminal import ShownGroup, echo
from service.errors import ConfigurationError, RecordsUnavailable
from service.logs import log_of_a_command
from service.os_errors import with_repair
from service.uncaught import tell_uncaught, told


@click.group(cls=ShownGroup)
@click.version_option(__version__, prog_name="covercard")
def cli() -> None:
    """Coverage decisions for CDS Hooks: serve them, try them, and maintain their policies."""


for command in (serve, reload, fire, ehr, policy, decisions, payer_data, db):
    cli.add_command(command)


def main() -> None:
    """Entry point. An operator's mistake is a message and exit code 2, without a stack trace; 1
    where the same may succeed later (service.errors.NotNow).

    Exit code 3: the decision log is unavailable. Exit code 1: an error of the program, told by type
    and place. Log lines go to standard error; `serve` configures its own.
    """
    tell_uncaught(lambda error: echo(f"covercard: {told(error)}", err=True))
    log_of_a_command()
    try:
        try:
            cli()
        finally:
            if sys.stdout is not None:  # it may be closed
                sys.stdout.flush()  # an error of the last lines is this command's, too
    except ConfigurationError as error:
        echo(f"covercard: {error}", err=True)
        sys.exit(error.exit_code)
    except RecordsUnavailable as error:
        echo(f"covercard: {error}", err=True)
        sys.exit(3)
    except OSError as error:
        # Whatever is not written yet cannot be: at the exit it would fail again, with a traceback.
        if sys.stdout is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        echo(f"covercard: {with_repair(error)} ({type(error).__name__})", err=True)
        sys.exit(1)
    except Exception as error:
        echo(f"covercard: {told(error)}\n(messages are left out: they may quote secrets)", err=True)
        sys.exit(1)
