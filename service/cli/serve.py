"""covercard serve: the service under a production WSGI server."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from flask import Flask

    from service.settings import Settings


def wsgi_app() -> Flask:
    """The application of one worker process, wired from the environment."""
    from service.bootstrap.app import RECORDER, create_app
    from service.logs import configure_logging
    from service.settings import load_settings

    configure_logging()
    app = create_app(load_settings())
    app.extensions[RECORDER].start()
    end_with(int(os.environ[_SERVER_VARIABLE]))
    # What was made by now stays as long as the process: no collection need look through it.
    gc.collect()
    gc.freeze()
    return app


def end_with(server: int) -> None:
    """Stop this worker once its server process is gone: nobody else would, and it holds the port.

    A server that is stopped as it should be ends its workers itself. It may be gone already as this
    worker starts, so its id is told and not looked up.
    """

    def watch() -> None:
        while os.getppid() == server:
            time.sleep(_LOOK_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def end_when_told() -> None:
    """Let a new worker, until it serves and knows better, simply end when it is told to stop.

    It begins with its server's way of stopping, which in a worker comes to nothing: told to stop
    while it loads, it would go on, and be killed once the patience with it is over.
    """
    for told in (signal.SIGTERM, signal.SIGINT):
        signal.signal(told, signal.SIG_DFL)


_LOOK_SECONDS = 0.5
_SERVER_VARIABLE = "COVERCARD_SERVER_PROCESS"
_FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


HEADER_BYTES = 32_768
"""All headers of a request together; more is a 431."""

SPARE_THREADS = 8

SECONDS_FOR_PORT = 5.0
"""Longer than the workers of a server that was killed live on (see `end_with`)."""

SECONDS_TO_STOP = 10
"""A client that never ends its request must not keep the service from stopping."""


@click.command()
def serve() -> None:
    """Serve on COVERCARD_HOST and COVERCARD_PORT until stopped."""
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings

    from service.logs import configure_logging, logging_config
    from service.settings import load_settings, misnamed_settings

    configure_logging()
    for complaint in misnamed_settings(os.environ):
        click.echo(f"covercard: {complaint}", err=True)
    settings = load_settings()
    check_port(settings.host, settings.port)
    with metrics_folder():
        from service.bootstrap.app import create_app

        create_app(settings)  # a wrong file stops the start here, with its message
        prepare_log(settings)
        os.environ[_SERVER_VARIABLE] = str(os.getpid())
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
            "respawn_failed_workers": True,
            "workers_kill_timeout": SECONDS_TO_STOP,
            # Some threads are kept free for discovery, pages and refusals.
            "blocking_threads": settings.max_concurrent_calls + SPARE_THREADS,
        }
        os.register_at_fork(after_in_child=end_when_told)
        at = f"http://{settings.host}:{settings.port}/cds-services"
        click.echo(f"Covercard on {at} (stop: Ctrl-C)", err=True)
        Granian("service.cli.serve:wsgi_app", factory=True, **options).serve()


def check_port(host: str, port: int, patience: float = SECONDS_FOR_PORT) -> None:
    """Raise ConfigurationError unless this process may listen there.

    Workers share the port among them, and so would a second service with the first: half of the
    calls would go to either. A service that is just ending gets `patience` seconds to let go.
    """
    import socket

    from service.errors import ConfigurationError

    deadline = time.monotonic() + patience
    while True:
        try:
            family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            with socket.socket(family, kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRINUSE and time.monotonic() < deadline:
                time.sleep(0.1)
                continue
            why = error.strerror or type(error).__name__
            raise ConfigurationError(
                f"COVERCARD_HOST, COVERCARD_PORT: cannot listen on {host}:{port} ({why.lower()})"
            ) from None
        return


def prepare_log(settings: Settings) -> None:
    """Have the log's tables ready before the workers start; a database that is away may come later.

    Raises ConfigurationError where an operator must act first.
    """
    from service.decision_log.log_store import StoreUnavailable
    from service.decision_log.schema import prepare

    try:
        prepare(settings.database_url)
    except StoreUnavailable as error:
        click.echo(
            f"covercard: the decision log's database is away ({error}); records go to the spool",
            err=True,
        )


@contextlib.contextmanager
def metrics_folder() -> Iterator[None]:
    """The folder in which workers count together; its place is in the environment meanwhile.

    To be entered before the application is imported: what counts looks at it only once.
    """
    if _FOLDER_VARIABLE in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="covercard-metrics-") as folder:
        os.environ[_FOLDER_VARIABLE] = folder
        yield
