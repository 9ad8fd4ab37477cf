"""Key of the installation: authenticates the records of its segments.

Its file is made at the first start, readable by its owner only. Without it the records in the
segments cannot be told from forged ones.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path

from service.errors import ConfigurationError
from service.os_errors import with_repair

KEY_FILE = "chain.key"
"""Name of the file of an installation's key in its folder of records."""

_BYTES = 32
_FEWEST_BYTES = 16
_MOST_BYTES = 4096


@dataclass(frozen=True, slots=True)
class ChainKey:
    """The key; `id` names it in segments and rows, and discloses nothing of it."""

    secret: bytes = field(repr=False)

    @property
    def id(self) -> str:
        return hashlib.sha256(b"covercard key " + self.secret).hexdigest()[:16]


def read_key(file: Path) -> ChainKey | None:
    """The key in a file; None if there is no file.

    Raises ConfigurationError if the file cannot be a key, or others can read it.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(
            f"the key of the records cannot be read: {with_repair(error, file)}"
        ) from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ConfigurationError(f"{file}: is no regular file; move it away")
        if found.st_mode & 0o077:
            raise ConfigurationError(f"{file}: others can read the key; run `chmod 600 {file}`")
        secret = os.read(descriptor, _MOST_BYTES).strip()
    finally:
        os.close(descriptor)
    if len(secret) < _FEWEST_BYTES:
        raise ConfigurationError(
            f"{file}: expected a key of at least {_FEWEST_BYTES} bytes; bring back the copy of it"
        )
    return ChainKey(secret)


def chain_key(folder: Path, configured: Path | None) -> ChainKey:
    """The installation's key: in the configured file, or in the folder's, which is made if missing.

    Raises OSError if it cannot be written, ConfigurationError as `read_key` does, and where the
    configured file is missing.
    """
    if configured is None:
        return make_key(folder / KEY_FILE)
    key = read_key(configured)
    if key is None:
        raise ConfigurationError(
            f"COVERCARD_RECORDS_KEY_FILE: {configured}: there is no such key file; bring back the"
            " copy of it, or correct the name"
        )
    return key


def make_key(file: Path) -> ChainKey:
    """The key in a file, created if there is none; of several processes, one creates it.

    Raises OSError if it cannot be written, ConfigurationError as `read_key` does.
    """
    found = read_key(file)
    return (
        found
        if found is not None
        else write_key(file, ChainKey(secrets.token_hex(_BYTES).encode()))
    )


def write_key(file: Path, key: ChainKey) -> ChainKey:
    """Write the key to its file; returns the file's, which another process may have written."""
    fresh = file.with_name(f".{file.name}-{os.getpid()}-{secrets.token_hex(4)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with os.fdopen(os.open(fresh, flags, 0o600), "wb") as out:
        out.write(key.secret + b"\n")
        out.flush()
        os.fsync(out.fileno())
    try:
        # A link, not a rename: whoever comes second finds the first one's key.
        with contextlib.suppress(FileExistsError):
            os.link(fresh, file)
    finally:
        fresh.unlink()
    written = read_key(file)
    return written if written is not None else key
