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

_BYTES = 32
_FEWEST_BYTES = 16


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
        raise ConfigurationError(f"{file}: the key cannot be read ({error.strerror})") from None
    with os.fdopen(descriptor, "rb") as opened:
        if stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o077:
            raise ConfigurationError(f"{file}: others can read the key; run chmod 600 on it")
        secret = opened.read().strip()
    if len(secret) < _FEWEST_BYTES:
        raise ConfigurationError(f"{file}: expected a key of at least {_FEWEST_BYTES} bytes")
    return ChainKey(secret)


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
