"""covercard serve: the service under a production WSGI server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from flask import Flask


def wsgi_app() -> Flask:
    """The application of one worker process, wired from the environment."""
    from service.app import create_app
    from service.logs import configure_logging
    from service.settings import load_settings

    configure_logging()
    return create_app(load_settings())


HEADER_BYTES = 32_768
"""All headers of a request together; more is a 431."""

SPARE_THREADS = 8

SECONDS_TO_STOP = 10
"""A client that never ends its request must not keep the service from stopping."""


@click.command()
def serve() -> None:
    """Serve on COVERCARD_HOST and COVERCARD_PORT until stopped."""
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings

    from service.app import create_app
    from service.logs import configure_logging, logging_config
    from service.settings import load_settings

    configure_logging()
    settings = load_settings()
    create_app(settings)  # a wrong file stops the start here, with its message
    options: dict[str, Any] = {
        "address": settings.host,
        "port": settings.port,
        "workers": settings.workers,
        "interface": Interfaces.WSGI,
        "log_access": False,
        "log_dictconfig": logging_config(),
        # HTTP/2 ends at the proxy, and with it the attacks on its streams.
        "http": HTTPModes.http1,
        "websockets": False,
        "http1_settings": HTTP1Settings(
            header_read_timeout=settings.header_timeout * 1000, max_buffer_size=HEADER_BYTES
        ),
        "workers_kill_timeout": SECONDS_TO_STOP,
        # Some threads are kept free for discovery, pages and refusals.
        "blocking_threads": settings.max_concurrent_calls + SPARE_THREADS,
    }
    at = f"http://{settings.host}:{settings.port}/cds-services"
    click.echo(f"Covercard on {at} (stop: Ctrl-C)", err=True)
    Granian("service.cli.serve:wsgi_app", factory=True, **options).serve()
