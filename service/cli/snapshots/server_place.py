"""Place of a running server among the records: its process, and how its last reload came out.

`covercard reload` finds the server there. The file of the process is locked for as long as the
server runs: a process that has its number later is not taken for it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

import msgspec
import structlog

from service.cli.snapshots.board import ReloadOutcome
from service.errors import ConfigurationError
from service.private_files import check_private, make_private_folder, open_private, written_whole
from service.settings import Settings

log = structlog.get_logger(__name__)


class ServerPlace:
    """The place of the server on the port of these settings."""

    def __init__(self, settings: Settings) -> None:
        self._process = settings.records_dir / f"server-{settings.port}.pid"
        self._outcome = settings.records_dir / f"server-{settings.port}.reload.json"
        self._held: int | None = None

    @property
    def path(self) -> Path:
        """The file of the process."""
        return self._process

    def take(self) -> None:
        """Be the server of this place, until this process ends.

        A folder that cannot be written is logged: SIGHUP still reloads.
        """
        try:
            make_private_folder(self._process.parent)
            descriptor = open_private(self._process, os.O_RDWR | os.O_CREAT)
            # Of this process: workers do not inherit it, and it ends with it however that ends.
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        except (OSError, ConfigurationError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            log.warning("covercard reload will not find this server: send SIGHUP", why=why)
            return
        self._held = descriptor

    def process(self) -> int:
        """The process of the server that runs. Raises ConfigurationError where none does."""
        try:
            descriptor = open_private(self._process, os.O_RDWR)
        except FileNotFoundError:
            raise self._nobody() from None
        except OSError as error:
            raise ConfigurationError(
                f"{self._process}: cannot be read ({error.strerror})"
            ) from None
        try:
            with contextlib.suppress(BlockingIOError):
                fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
                raise self._nobody()
            written = os.pread(descriptor, 32, 0)
        finally:
            os.close(descriptor)
        if not written.isdigit():
            raise self._nobody()
        return int(written)

    def _nobody(self) -> ConfigurationError:
        return ConfigurationError(
            f"no service runs that has {self._process.name} in {self._process.parent}:"
            " COVERCARD_RECORDS_DIR and COVERCARD_PORT must be those of the service"
        )

    def tell(self, outcome: ReloadOutcome) -> None:
        """Write how a reload came out, for the command that asked for it."""
        try:
            with written_whole(self._outcome, replace=True) as file:
                file.write(msgspec.json.encode(outcome))
        except (OSError, ConfigurationError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            log.warning("how the reload came out cannot be written", why=why)

    def told(self) -> ReloadOutcome | None:
        """Outcome of the last reload; None before the first one."""
        try:
            check_private(self._outcome)
            return msgspec.json.decode(self._outcome.read_bytes(), type=ReloadOutcome)
        except (OSError, msgspec.DecodeError):
            return None
