"""Errors of the operating system for operators: what, where, and what to do next."""

from __future__ import annotations

import errno
import os
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
    errno.ELOOP: "name what the link leads to",
    errno.EIO: "check the disk",
}


def with_repair(error: OSError, place: Path | str | None = None) -> str:
    """The error as "place: reason: repair"; `place` by default the path that it names.

    The reason is the system's own text: a library's may quote secrets, and so may a name that is
    no path.
    """
    where = place or _path(error) or "standard output"
    why = os.strerror(error.errno).lower() if error.errno else type(error).__name__
    repair = _NEXT.get(error.errno or 0)
    return f"{where}: {why}" + (f": {repair}" if repair else "")


def _path(error: OSError) -> str | None:
    named = error.filename
    if named is None:
        return None
    path = os.fsdecode(named) if isinstance(named, str | bytes | Path) else ""
    return path if os.sep in path and "://" not in path else "a file"
