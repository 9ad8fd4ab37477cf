"""covercard serve: the service under a production WSGI server."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from service.cli.terminal import echo

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication
    from flask import Flask

    from service.cli.snapshots.keeper import SnapshotKeeper
    from service.settings import Settings
    from service.shared_counts import SharedCounts


def wsgi_app() -> WSGIApplication:
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


def _wired() -> WSGIApplication:
    from multiprocessing.util import Finalize

    from service.bootstrap.app import RECORDER, create_app, wire_recorder
    from service.bootstrap.lasting import Lasting
    from service.bootstrap.snapshot import Snapshot, read_snapshot
    from service.cli.late_answers import late_answer
    from service.cli.snapshots.files_watch import FilesWatch
    from service.cli.snapshots.follower import CurrentApplication, Follower
    from service.logs import OUT
    from service.settings import load_settings
    from service.web.body_deadline import BodyDeadline, BodyWatch

    settings = load_settings()
    keeper = _of_the_server
    lasting = Lasting()
    # Under the server process the drainer has a process of its own.
    lasting.of(RECORDER, lambda: wire_recorder(settings, drains=keeper is None))
    watch = BodyWatch(late_answer)
    watch.start()

    def build(snapshot: Snapshot) -> Flask:
        outcome = (lambda: None) if keeper is None else (lambda: keeper.board.outcome)
        files = FilesWatch(settings, snapshot.digests, outcome)
        app = create_app(
            settings, snapshot=snapshot, lasting=lasting, watched=files.look, counts=_counts
        )
        app.wsgi_app = BodyDeadline(app.wsgi_app, watch, settings.body_timeout)  # type: ignore[method-assign]
        return app

    number, snapshot = keeper.held if keeper else (0, read_snapshot(settings))
    app = build(snapshot)
    current = CurrentApplication(app)
    recorder = app.extensions[RECORDER]
    recorder.start()
    # A worker is a process of multiprocessing, which leaves out what is registered with atexit.
    Finalize(None, recorder.stop, exitpriority=1)
    Finalize(None, OUT.drain, exitpriority=0)
    if keeper is not None:
        Follower(keeper.board, number, current, build).start()
    # Objects created so far live as long as the process: excluded from garbage collection.
    gc.collect()
    gc.freeze()
    return current


_of_the_server: SnapshotKeeper | None = None
"""The keeper of the snapshot that the server read before it forked its workers: none reads the
files again, and all answer by the same until the server puts another one into force.
"""

_counts: SharedCounts | None = None
"""What the workers have counted, each in a region of its own."""


HEADER_BYTES = 32_768
"""Size of all headers of a request in bytes; above it, 431."""


@click.command()
def serve() -> None:
    """Serve on COVERCARD_HOST and COVERCARD_PORT until stopped."""
    # A stop during the start ends it at once, whatever it is at: nothing is lost. A hangup waits
    # until the server process takes it for a reload: by itself it would end the start.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings

    from service.cli.drainer_process import drain_records
    from service.cli.listening import bound_socket, shown_address
    from service.cli.server_process import ServerProcess
    from service.cli.service_manager import service_manager
    from service.logs import configure_logging, logging_config
    from service.settings import load_settings, misnamed_settings

    configure_logging()
    for complaint in misnamed_settings(os.environ):
        echo(f"covercard: {complaint}", err=True)
    settings = load_settings()
    listener = bound_socket(settings.host, settings.port)
    with contextlib.suppress(FileNotFoundError):  # no folder for temporary files: nothing is there
        remove_left_metrics(Path(tempfile.gettempdir()))
    manager = service_manager(os.environ, os.getpid())
    from service.bootstrap.app import create_app
    from service.bootstrap.snapshot import read_snapshot
    from service.bootstrap.threads import most_threads
    from service.cli.snapshots.keeper import SnapshotKeeper
    from service.cli.snapshots.server_place import ServerPlace
    from service.shared_counts import SharedCounts
    from service.web.metrics import OF_THE_LIVING

    snapshot = read_snapshot(settings)
    create_app(settings, snapshot=snapshot)  # a wrong file stops the start here
    if (made := snapshot.library.made) is not None:
        echo(f"Policies of the bundle made {made.isoformat()}", err=True)
    prepare_records(settings)
    prepare_log(settings)
    prepare_payer_data(settings)
    place = ServerPlace(settings)
    global _of_the_server, _counts
    _of_the_server = keeper = SnapshotKeeper(settings, snapshot, place.tell)
    _counts = SharedCounts(settings.worker_processes, OF_THE_LIVING)
    options: dict[str, Any] = {
        "listener": listener,
        "regions": _counts,
        "reload": keeper.reload,
        "drain": drain_records,
        "workers": settings.worker_processes,
        "interface": Interfaces.WSGI,
        "log_access": False,
        "log_dictconfig": logging_config(),
        # HTTP/2, with attacks on its streams, ends at the proxy.
        "http": HTTPModes.http1,
        "websockets": False,
        "http1_settings": HTTP1Settings(
            header_read_timeout=settings.header_timeout * 1000, max_buffer_size=HEADER_BYTES
        ),
        "blocking_threads": most_threads(settings),
    }
    at = f"http://{shown_address(listener)}/cds-services"
    echo(f"Covercard on {at} (stop: Ctrl-C)", err=True)
    gc.collect()
    gc.freeze()  # what the workers share stays shared: no collection writes to it
    if manager is not None:
        manager.begin(*listener.getsockname()[:2])
    server = ServerProcess("service.cli.serve:wsgi_app", factory=True, **options)
    keeper.stopping = lambda: server.told_to_stop
    server.on_startup(place.take)  # from here on SIGHUP is understood
    server.serve()


def prepare_records(settings: Settings) -> None:
    """Close the folder of the records and its files to other users, and read their key.

    Raises ConfigurationError if they cannot be trusted, or the key cannot be had. A folder that
    cannot be written is told by readiness, and may be repaired while the service runs.
    """
    from service.decision_log.chain_key import chain_key
    from service.decision_log.records_folder import RecordsFolder

    folder = RecordsFolder(settings.records_dir)
    with contextlib.suppress(OSError):
        folder.make()
        folder.check_files()
        chain_key(settings.records_dir, settings.records_key_file)


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


def remove_left_metrics(folder: Path) -> None:
    """Remove what killed servers of former versions left there: `covercard-metrics-…`.

    Only this user's, and only where none of the processes named in it lives. Nothing depends on it.
    """
    for left in folder.glob("covercard-metrics-*"):
        with contextlib.suppress(OSError):
            if left.is_symlink() or left.stat().st_uid != os.geteuid():
                continue
            processes = [file.stem.rpartition("_")[2] for file in left.glob("*.db")]
            if processes and not any(Path("/proc", number).exists() for number in processes):
                shutil.rmtree(left)
