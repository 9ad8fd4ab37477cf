"""The command `covercard`. Each command imports what it needs when it runs."""

from __future__ import annotations

import sys

import click

from service import __version__
from service.cli.ehr import ehr
from service.cli.fire import fire
from service.cli.serve import serve
from service.errors import ConfigurationError
from service.policies.commands import policy


@click.group()
@click.version_option(__version__, prog_name="covercard")
def cli() -> None:
    """Coverage decisions for CDS Hooks: serve them, try them, and keep their policies."""


for command in (serve, fire, ehr, policy):
    cli.add_command(command)


def main() -> None:
    """Entry point: an operator's mistake is a message and exit code 2, never a stack trace."""
    try:
        cli()
    except ConfigurationError as error:
        click.echo(f"covercard: {error}", err=True)
        sys.exit(2)
