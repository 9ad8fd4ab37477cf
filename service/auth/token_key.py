"""The service's own key for its access tokens: a private file, made where there is none."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from service.errors import ConfigurationError

_LENGTH = 32
"""Bytes."""


def token_key(file: Path, name: str) -> bytes:
    """The key in `file`, which is made, for its owner alone, if it is absent.

    All workers and instances need the same one. Raises ConfigurationError, in which `name` is the
    setting, for a file that cannot be used.
    """
    try:
        with contextlib.suppress(FileExistsError):
            _make(file)
        key = file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{name}: {file} cannot be used: {error.strerror}") from error
    if len(key) < _LENGTH:
        raise ConfigurationError(f"{name}: {file} must hold at least {_LENGTH} random bytes")
    return key


def _make(file: Path) -> None:
    if file.exists():
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    # Whole before it has its name: another worker may look at the same moment.
    waiting = file.with_name(f"{file.name}.{secrets.token_hex(8)}")
    descriptor = os.open(waiting, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(secrets.token_bytes(_LENGTH))
            opened.flush()
            os.fsync(opened.fileno())
        os.link(waiting, file)
    finally:
        waiting.unlink()
