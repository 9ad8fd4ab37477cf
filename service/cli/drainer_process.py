"""The drainer's process: it moves what the workers have recorded into the rows of the log.

It has an interpreter of its own: a batch that is moved in a worker takes half of that worker's time
from the calls that come meanwhile. It gives way to the workers where processors are short. Signals
to all processes of the service leave it alone: the server process tells it to stop, after the
workers, by one byte over the socket pair that links the two. The end of the stream says that the
server process is gone: then the workers have some seconds for their last calls.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from pathlib import Path

import structlog

from service.cli.worker_process import SECONDS_TO_STOP, SERVING

PROCESS_NAME = "covercard-drain"
"""Name of the process in `ps -o comm`, on Linux."""

_NICENESS = 5
"""A third of a worker's share of a processor that both want: several times what the rows take."""

_STOP = b"x"

log = structlog.get_logger(__name__)

_link: socket.socket | None = None


def become_drainer(link: socket.socket) -> None:
    """Turn this process, just forked with the signals to stop blocked, into the drainer's."""
    global _link
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    _name_this_process()
    _link = link


def tell_to_stop(link: socket.socket) -> None:
    """Tell the drainer at the other end of this link to move what is left, and to end."""
    with contextlib.suppress(OSError):  # it has ended
        link.sendall(_STOP)


def drain_records() -> None:
    """Drain the segments until the server process says stop, and once more then.

    Settings are those of the environment. An error ends the process with a line of the log.
    Raises RuntimeError in any process that is not the drainer's.
    """
    from service.logs import OUT, configure_logging

    if _link is None:
        raise RuntimeError("this process is no drainer")
    configure_logging()
    with contextlib.suppress(OSError):  # a hardened unit of systemd forbids it
        os.nice(_NICENESS)
    try:
        from service.bootstrap.app import wire_recorder
        from service.settings import load_settings

        recorder = wire_recorder(load_settings())
        recorder.start()
        _wait_for_the_end(_link)
        recorder.stop()
    except Exception as error:
        log.error("the drainer has failed", exc_info=error)
        raise SystemExit(1) from None
    finally:
        OUT.drain()


def _wait_for_the_end(link: socket.socket) -> None:
    try:
        link.sendall(SERVING)
        if link.recv(1):
            return
    except OSError as error:
        log.warning("the link to the server process is broken", kind=type(error).__name__)
    time.sleep(SECONDS_TO_STOP)


def _name_this_process() -> None:
    """Give this process a name of its own among those of the service, where Linux lets it."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            Path("/proc/self/comm").write_text(PROCESS_NAME, "ascii")
