"""Private files: readable by their owner only, reached through no link, and never half written.

They contain patient data or what admits callers: database, its log, segments, used tokens, exports,
backups. A file that others may read is closed and logged; one that cannot be trusted is refused
with a ConfigurationError that names the repair. Other errors stay OSError.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import structlog

from service.errors import ConfigurationError

FILE_MODE = 0o600
FOLDER_MODE = 0o700
_OTHERS = 0o077

log = structlog.get_logger(__name__)


def make_private_folder(path: Path) -> None:
    """Create a folder of this service's own, with the missing ones above it, or check it.

    One that others may enter is closed. A folder of the administrator's, as volumes are mounted,
    keeps its mode: the files in it are closed. Raises ConfigurationError for a link, for another
    user's folder, and where anybody may replace files.
    """
    _create_folders(path)
    descriptor = _opened(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if os.fstat(descriptor).st_uid == 0 and os.geteuid() != 0:
            _refuse_open_folder(path, os.fstat(descriptor).st_mode)
            return
        _close_to_others(descriptor, path, FOLDER_MODE)
    finally:
        os.close(descriptor)


def make_private_file(path: Path) -> None:
    """Create an empty file, with its folder, or check it as `open_private` does."""
    make_folder_of(path)
    os.close(open_private(path, os.O_RDWR | os.O_CREAT))


def make_folder_of(path: Path) -> None:
    """Create the folder of a file; one that exists may have other files, and keeps its mode.

    Raises ConfigurationError if anybody may replace files in it.
    """
    folder = path.parent
    _create_folders(folder)
    _refuse_open_folder(folder, folder.stat().st_mode)


def _refuse_open_folder(folder: Path, mode: int) -> None:
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise ConfigurationError(
            f"{folder}: every user of this machine may replace files in it;"
            f" run `chmod o-w {folder}`, or name another folder"
        )


def open_private(path: Path, flags: int) -> int:
    """A descriptor of a regular file of this user, closed at exec; created with mode 0600.

    A file that others may read is closed to them. Raises ConfigurationError for a link, for what
    is no file, and for another user's file.
    """
    descriptor = _opened(path, flags)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ConfigurationError(f"{path}: is no regular file; move it away")
        _close_to_others(descriptor, path, FILE_MODE)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def check_private(path: Path) -> None:
    """Check a file as `open_private` does, if it exists."""
    with contextlib.suppress(FileNotFoundError):
        os.close(open_private(path, os.O_RDONLY))


@contextlib.contextmanager
def written_whole(path: Path, *, replace: bool) -> Iterator[BinaryIO]:
    """A new private file that gets its name when it is complete and on disk.

    Until then it has a hidden name in the same folder; after an error it is gone. Raises
    FileExistsError if the name is taken and `replace` is False, ConfigurationError if it is that of
    a folder or a device. A link of that name is replaced,
    not followed.
    """
    if path.exists() and not path.is_file():
        raise ConfigurationError(f"{path}: is no regular file; name a file")
    if not replace and (path.exists() or path.is_symlink()):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    make_folder_of(path)
    partial = partial_name(path)
    descriptor = open_private(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if replace:
            partial.replace(path)
        else:
            os.link(partial, path)  # fails where the name was taken meanwhile
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(path.parent)


def partial_name(path: Path) -> Path:
    """A hidden name beside `path` for what is not complete yet."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _create_folders(path: Path) -> None:
    """Each missing folder gets mode 0700; `Path.mkdir` gives it to the last one only."""
    missing = []
    while not path.exists() and not path.is_symlink():
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        folder.mkdir(mode=FOLDER_MODE, exist_ok=True)


def _opened(path: Path, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
    except OSError as error:
        # ELOOP; ENOTDIR where a folder is asked for.
        if path.is_symlink():
            raise ConfigurationError(
                f"{path}: is a link, and links are not followed; name what it leads to"
            ) from error
        raise


def _close_to_others(descriptor: int, path: Path, mode: int) -> None:
    found = os.fstat(descriptor)
    # The administrator works on the service's files, under sudo.
    if found.st_uid != os.geteuid() and os.geteuid() != 0:
        raise ConfigurationError(
            f"{path}: belongs to another user, who can change it;"
            f" run `chown {os.geteuid()} {path}` as administrator"
        )
    if found.st_mode & _OTHERS:
        try:
            os.fchmod(descriptor, mode)
        except OSError as error:
            raise ConfigurationError(
                f"{path}: other users may read it; run `chmod {mode:o} {path}`"
            ) from error
        log.warning(
            "a file was open to other users and is closed now",
            file=str(path),
            mode_before=f"{stat.S_IMODE(found.st_mode):o}",
        )
