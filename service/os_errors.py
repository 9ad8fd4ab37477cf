"""Errors of the operating system for operators: what, where, and what to do next."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from pathlib import Path

_NEXT: Mapping[int, str] = {
    errno.ENOSPC: "make room, or name another place, and try again",
    errno.EDQUOT: "make room in this user's quota, or name another place, and try again",
    errno.EACCES: "run it as the user that the service runs as, or give that user the right",
    errno.EPERM: "run it as the user that the service runs as, or give that user the right",
    errno.EROFS: "name a place that can be written to",
    errno.ENOENT: "check the name",
    errno.ENOTDIR: "check the name",
    errno.EISDIR: "name a file",
    errno.EIO: "check the disk",
}


def with_repair(error: OSError, place: Path | str | None = None) -> str:
    """The error as "place: reason: repair"; `place` by default the file that it names."""
    where = place or error.filename or "standard output"
    why = (error.strerror or type(error).__name__).lower()
    repair = _NEXT.get(error.errno or 0)
    return f"{where}: {why}" + (f": {repair}" if repair else "")
