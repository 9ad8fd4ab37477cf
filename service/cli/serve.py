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

from service.cli.terminal import echo

if TYPE_CHECKING:
    from flask import Flask

    from service.bootstrap.snapshot import Snapshot
    from service.settings import Settings


def wsgi_app() -> Flask:
    """The application of one worker process, wired from the environment.

    An error ends the worker with a line of the log: the server would print its message.
    """
    from service.logs import configure_logging

    configure_logging()
    try:
        return _wired()
    except Exception as error:
        import structlog

        structlog.get_logger(__name__).error("the worker cannot start", exc_info=error)
        raise SystemExit(1) from None


def _wired() -> Flask:
    from multiprocessing.util import Finalize

    from service.bootstrap.app import RECORDER, create_app
    from service.cli.late_answers import late_answer
    from service.settings import load_settings
    from service.web.body_deadline import BodyDeadline, BodyWatch

    settings = load_settings()
    app = create_app(settings, snapshot=_of_the_server)
    watch = BodyWatch(late_answer)
    watch.start()
    app.wsgi_app = BodyDeadline(app.wsgi_app, watch, settings.body_timeout)  # type: ignore[method-assign]
    recorder = app.extensions[RECORDER]
    recorder.start()
    # A worker is a process of multiprocessing, which leaves out what is registered with atexit.
    Finalize(None, recorder.stop, exitpriority=0)
    end_with(int(os.environ[_SERVER_VARIABLE]))
    # Objects created so far live as long as the process: excluded from garbage collection.
    gc.collect()
    gc.freeze()
    return app


def end_with(server: int) -> None:
    """Stop this worker when its server process is gone; it would hold the port otherwise.

    A server that is stopped regularly ends its workers itself. `server` is its process id, handed
    in because it may be gone when this worker starts.
    """

    def watch() -> None:
        while os.getppid() == server:
            time.sleep(_LOOK_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def end_when_told() -> None:
    """Reset the signal handlers of a new worker: a stop while it loads ends it at once.

    It inherits the server's handlers, which do nothing in a worker: it would continue until it is
    killed. Its own handlers are set when it begins to serve.
    """
    for told in (signal.SIGTERM, signal.SIGINT):
        signal.signal(told, signal.SIG_DFL)


_of_the_server: Snapshot | None = None
"""The snapshot that the server read before it forked its workers: none reads it again, and all
answer by the same until the service is started anew.
"""

_LOOK_SECONDS = 0.5
_SERVER_VARIABLE = "COVERCARD_SERVER_PROCESS"
_FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


HEADER_BYTES = 32_768
"""Size of all headers of a request in bytes; above it, 431."""

SECONDS_FOR_PORT = 5.0
"""Longer than the workers of a killed server live on (see `end_with`)."""

SECONDS_TO_STOP = 10
"""Limit of a graceful stop, for a client that never ends its request."""


@click.command()
def serve() -> None:
    """Serve on COVERCARD_HOST and COVERCARD_PORT until stopped."""
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings

    from service.cli.service_manager import service_manager
    from service.logs import configure_logging, logging_config
    from service.settings import load_settings, misnamed_settings

    configure_logging()
    for complaint in misnamed_settings(os.environ):
        echo(f"covercard: {complaint}", err=True)
    settings = load_settings()
    check_port(settings.host, settings.port)
    manager = service_manager(os.environ, os.getpid())
    with metrics_folder():
        from service.bootstrap.app import create_app
        from service.bootstrap.snapshot import read_snapshot
        from service.bootstrap.threads import most_threads

        global _of_the_server
        _of_the_server = read_snapshot(settings)
        create_app(settings, snapshot=_of_the_server)  # a wrong file stops the start here
        prepare_records(settings)
        prepare_log(settings)
        prepare_payer_data(settings)
        os.environ[_SERVER_VARIABLE] = str(os.getpid())
        options: dict[str, Any] = {
            "address": settings.host,
            "port": settings.port,
            "workers": settings.workers,
            "interface": Interfaces.WSGI,
            "log_access": False,
            "log_dictconfig": logging_config(),
            # HTTP/2, with attacks on its streams, ends at the proxy.
            "http": HTTPModes.http1,
            "websockets": False,
            "http1_settings": HTTP1Settings(
                header_read_timeout=settings.header_timeout * 1000, max_buffer_size=HEADER_BYTES
            ),
            "respawn_failed_workers": True,
            "workers_kill_timeout": SECONDS_TO_STOP,
            "blocking_threads": most_threads(settings),
        }
        os.register_at_fork(after_in_child=end_when_told)
        at = f"http://{settings.host}:{settings.port}/cds-services"
        echo(f"Covercard on {at} (stop: Ctrl-C)", err=True)
        gc.collect()
        gc.freeze()  # what the workers share stays shared: no collection writes to it
        if manager is not None:
            manager.begin(settings.host, settings.port)
        Granian("service.cli.serve:wsgi_app", factory=True, **options).serve()


def check_port(host: str, port: int, patience: float = SECONDS_FOR_PORT) -> None:
    """Raise ConfigurationError unless this process can listen there.

    Workers share a port, and a second service would share it with the first, each answering half of
    the calls. A service that is stopping gets `patience` seconds to release it.
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


def prepare_records(settings: Settings) -> None:
    """Close the folder of the records and its files to other users.

    Raises ConfigurationError if they cannot be trusted. A folder that cannot be written is told by
    readiness, and may be repaired while the service runs.
    """
    from service.decision_log.records_folder import RecordsFolder

    folder = RecordsFolder(settings.records_dir)
    with contextlib.suppress(OSError):
        folder.make()
        folder.check_files()


def prepare_log(settings: Settings) -> None:
    """Prepare the database's tables before the workers start; an unavailable one may come later.

    Raises ConfigurationError if an operator must act first.
    """
    from service.auth.auth_tables import AUTH
    from service.database.table_revisions import prepare
    from service.decision_log.log_revision import DECISION_LOG
    from service.errors import StoreUnavailable

    try:
        for tables in (DECISION_LOG, AUTH):
            prepare(settings.database_url, tables)
    except StoreUnavailable as error:
        echo(
            f"covercard: the log's database is unavailable ({error}); records wait in the segments",
            err=True,
        )


def prepare_payer_data(settings: Settings) -> None:
    """Prepare the tables of the payer's own records, where a database holds them.

    Calls are answered without a database that is unavailable. Raises ConfigurationError if an
    operator must act first.
    """
    from service.errors import StoreUnavailable
    from service.payer_data.sources import prepare_source

    try:
        prepare_source(settings.payer_data)
    except StoreUnavailable as error:
        echo(
            f"covercard: the payer's records are unavailable ({error}); coverage is taken as sent",
            err=True,
        )


@contextlib.contextmanager
def metrics_folder() -> Iterator[None]:
    """The folder of the workers' shared counters, named in the environment meanwhile.

    Must be entered before the application is imported: the metrics library reads it once.
    """
    if _FOLDER_VARIABLE in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="covercard-metrics-") as folder:
        os.environ[_FOLDER_VARIABLE] = folder
        yield
