"""The service's own key for its access tokens: a private file, made where there is none."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from service.errors import ConfigurationError
from service.private_files import open_private, written_whole

_LENGTH = 32
"""Bytes."""


def token_key(file: Path, name: str) -> bytes:
    """The key in `file`, which is made if it is absent; workers and instances share it.

    Raises ConfigurationError, in which `name` is the setting, for a file that cannot be used.
    """
    try:
        # Another worker may make it at the same moment: the first one's counts.
        with contextlib.suppress(FileExistsError), written_whole(file, replace=False) as made:
            made.write(secrets.token_bytes(_LENGTH))
        with os.fdopen(open_private(file, os.O_RDONLY), "rb") as opened:
            key = opened.read()
    except OSError as error:
        raise ConfigurationError(f"{name}: {file} cannot be used: {error.strerror}") from error
    if len(key) < _LENGTH:
        raise ConfigurationError(f"{name}: {file} must hold at least {_LENGTH} random bytes")
    return key
