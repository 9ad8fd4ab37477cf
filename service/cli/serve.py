"""covercard serve: the service under a production WSGI server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from flask import Flask


def wsgi_app() -> Flask:
    """The application of one worker process, wired from the environment."""
    from service.app import create_app
    from service.settings import load_settings

    return create_app(load_settings())


@click.command()
def serve() -> None:
    """Serve on COVERCARD_HOST and COVERCARD_PORT until stopped."""
    from granian import Granian
    from granian.constants import Interfaces

    from service.app import create_app
    from service.settings import load_settings

    settings = load_settings()
    create_app(settings)  # a wrong file stops the start here, with its message
    options: dict[str, Any] = {
        "address": settings.host,
        "port": settings.port,
        "workers": settings.workers,
        "interface": Interfaces.WSGI,
        "log_access": False,
    }
    click.echo(f"Covercard on http://{settings.host}:{settings.port}/cds-services (stop: Ctrl-C)")
    Granian("service.cli.serve:wsgi_app", factory=True, **options).serve()
