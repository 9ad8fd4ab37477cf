"""Place of a running server among the records: its process, and how its last reload came out.

`covercard reload` finds the server there. The file is locked for as long as the server runs: a
process that has its number later is not taken for it. It has its size from the start, and is
written in place: a full disk keeps nobody from learning why a reload was refused.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

import msgspec
import structlog

from service.cli.snapshots.board import ReloadOutcome
from service.errors import ConfigurationError
from service.private_files import make_private_folder, open_private
from service.settings import Settings

log = structlog.get_logger(__name__)

_OF_ANY_PORT = "server-*.json"
_SIZE = 16_384
_LONGEST_REASON = 12_000
_TRIES = 1000
_LOOK_SECONDS = 1.0
"""Far more than whoever looks whether a server runs has its file locked for."""
_MORE = "\n(the log of the service has all of it)"


class _Told(msgspec.Struct, frozen=True):
    process: int
    reload: ReloadOutcome | None = None


class ServerPlace:
    """The place of the server on the port of these settings."""

    def __init__(self, settings: Settings) -> None:
        self.path = settings.records_dir / f"server-{settings.port}.json"
        self._held: int | None = None

    def take(self) -> None:
        """Be the server of this place, until this process ends.

        A folder that cannot be written is logged: SIGHUP still reloads.
        """
        try:
            make_private_folder(self.path.parent)
            descriptor = open_private(self.path, os.O_RDWR | os.O_CREAT)
            _lock(descriptor)
            self._write(descriptor, _Told(os.getpid()))
        except (OSError, ConfigurationError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            log.warning(
                "covercard reload will not find this server: send SIGHUP",
                file=str(self.path),
                why=why,
            )
            return
        self._held = descriptor
        for other in sorted(self.path.parent.glob(_OF_ANY_PORT)):
            with contextlib.suppress(ConfigurationError):  # whose it is, its own start says
                told = None if other == self.path else _read(other)
                if told is not None:
                    log.warning(
                        "another service has this folder of records: each needs its own",
                        setting="COVERCARD_RECORDS_DIR",
                        file=str(other),
                        process=told.process,
                    )

    def tell(self, outcome: ReloadOutcome) -> None:
        """Write how a reload came out, for the command that asked for it."""
        if self._held is None:
            return
        why = outcome.why
        if len(why) > _LONGEST_REASON:
            why = why[:_LONGEST_REASON] + _MORE
        told = _Told(os.getpid(), msgspec.structs.replace(outcome, why=why))
        try:
            self._write(self._held, told)
        except OSError as error:
            log.warning("how the reload came out cannot be written", why=error.strerror)

    @staticmethod
    def _write(descriptor: int, told: _Told) -> None:
        written = msgspec.json.encode(told)
        if len(written) > _SIZE and told.reload is not None:  # many characters of several bytes
            short = msgspec.structs.replace(told.reload, why=_MORE.strip())
            written = msgspec.json.encode(_Told(told.process, short))
        os.pwrite(descriptor, written.ljust(_SIZE), 0)

    def process(self) -> int:
        """The process of the server that runs. Raises ConfigurationError where none does."""
        told = _read(self.path)
        if told is None:
            raise ConfigurationError(
                f"no service runs that has {self.path.name} in {self.path.parent}:"
                " COVERCARD_RECORDS_DIR and COVERCARD_PORT must be those of the service"
            )
        return told.process

    def told(self) -> ReloadOutcome | None:
        """Outcome of the last reload; None before the first one. Raises as `process`."""
        self.process()
        told = _read(self.path)
        return told.reload if told is not None else None


def _lock(descriptor: int) -> None:
    """Lock a server's file for this process: workers do not inherit the lock, and it ends with the
    process however that ends. Raises BlockingIOError where another server has it.
    """
    until = time.monotonic() + _LOOK_SECONDS
    while True:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= until:
                raise
        time.sleep(0.01)


def _read(path: Path) -> _Told | None:
    """The content of a server's file, while it runs; None where none does."""
    try:
        descriptor = open_private(path, os.O_RDWR)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        with contextlib.suppress(BlockingIOError):
            fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None
        for _ in range(_TRIES):
            with contextlib.suppress(msgspec.DecodeError):  # it is being written
                return msgspec.json.decode(os.pread(descriptor, _SIZE, 0), type=_Told)
        return None
    finally:
        os.close(descriptor)
