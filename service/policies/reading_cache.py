"""Cache of YAML as it was read, kept between two starts: a large library starts without its parser.

A file is known by the digest of its content, so an edited one is read anew. What is kept is plain
data, as JSON; it goes through the models and the rules of lint like what the parser reads. All of
it is thrown away with another version of the program, of Python or of the parser. Where many files
have to be read anew, helper processes read them, too (see reading_ahead).
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import msgspec
import structlog

from service import __version__
from service.policies.reading_ahead import Found, ReadingAhead, helpers_at_hand

FEW_FILES = 100
"""Libraries up to this size are read as fast as their cache would be: none is kept, and nobody
helps.
"""

log = structlog.get_logger(__name__)

Read = Callable[[str], object]
"""Reads a text (UTF-8) into its plain data."""


class _Kept(msgspec.Struct):
    """The cache's file: by what it was made, and the data of files by the digest of their content.

    `check` is the digest of `files` as they are written.
    """

    made_by: str
    check: str
    files: msgspec.Raw


class ReadingCache:
    """The cache of one library in `folder`; without the folder nothing is kept.

    A cache that another user could have written, or that is damaged, is not used.
    """

    def __init__(self, folder: Path, library: Path) -> None:
        name = hashlib.sha256(str(library.resolve()).encode()).hexdigest()[:16]
        self._path = folder / f"library-{name}.json"
        self._used: dict[str, object] = {}
        self._read_anew = 0
        self._ahead: ReadingAhead | None = None
        self._read_ahead: dict[str, bytes] = {}

    @contextlib.contextmanager
    def reading(self, paths: Sequence[Path], read: Read) -> Iterator[None]:
        """While these files are read, in this sequence; helpers read them from the other end where
        many of them are not kept.
        """
        if len(paths) - len(self._of_before) > FEW_FILES and (helpers := helpers_at_hand()):
            self._ahead = ReadingAhead(paths, lambda c: self._hand_over(c, read), helpers)
        try:
            yield
        finally:
            if self._ahead is not None:
                self._ahead.end()
                self._ahead = None

    def data(self, content: bytes, read: Read) -> object:
        """The data of a file's content: as kept, else by `read` from its text (UTF-8).

        Raises UnicodeDecodeError, and what `read` raises.
        """
        key = _digest(content)
        if key in self._of_before:
            found = self._used[key] = self._of_before[key]
            return found
        if key not in self._read_ahead and self._ahead is not None:
            self._read_ahead.update(self._ahead.found())
        as_json = self._read_ahead.get(key)
        if as_json is not None:
            self._used[key] = msgspec.Raw(as_json)
            return msgspec.json.decode(as_json)
        if self._read_anew == FEW_FILES:
            log.info(
                "policies are read from YAML; the next start takes less", cache=str(self._path)
            )
        self._read_anew += 1
        found = self._used[key] = read(content.decode("utf-8"))
        return found

    def _hand_over(self, content: bytes, read: Read) -> Found | None:
        """The data that a helper hands over; None where they are kept, or the loading process must
        read the file itself: a wrong one, and one that JSON does not have as it is.
        """
        key = _digest(content)
        if key in self._of_before:
            return None
        try:
            as_json = _as_json(read(content.decode("utf-8")))
        except Exception:
            return None  # the loading process comes to the file, and says what is wrong with it
        return None if as_json is None else (key, as_json)

    def keep(self) -> None:
        """Write what was read of a library that is right; never raises.

        Of files that are no longer there nothing stays.
        """
        if len(self._used) <= FEW_FILES or self._used.keys() == self._of_before.keys():
            return
        files = msgspec.json.encode(
            {k: msgspec.Raw(j) for k, v in self._used.items() if (j := _as_json(v)) is not None}
        )
        whole = msgspec.json.encode(_Kept(_made_by(), _digest(files), msgspec.Raw(files)))
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.TemporaryDirectory(dir=self._path.parent) as aside:
                written = Path(aside) / self._path.name
                written.write_bytes(whole)
                written.chmod(0o600)
                written.replace(self._path)
        except OSError as error:
            log.warning("what was read of the policies cannot be kept", why=error.strerror)

    @functools.cached_property
    def _of_before(self) -> Mapping[str, object]:
        """The data kept on disk, by the digest of each file's content."""
        try:
            with self._path.open("rb") as opened:
                if not _is_only_ours(os.fstat(opened.fileno()), self._path.parent.stat()):
                    log.warning("another user can write the cache: not used", cache=str(self._path))
                    return {}
                kept = msgspec.json.decode(opened.read(), type=_Kept)
            if kept.made_by != _made_by() or kept.check != _digest(bytes(kept.files)):
                return {}
            return msgspec.json.decode(kept.files, type=dict[str, object])
        except (OSError, msgspec.DecodeError):
            return {}


def _made_by() -> str:
    return f"{__version__} {platform.python_version()} {version('ruamel.yaml')}"


def _digest(files: bytes) -> str:
    return hashlib.sha256(files).hexdigest()


def _as_json(data: object) -> bytes | None:
    """Data as JSON; None where they come back as others: a day without quotes does."""
    if isinstance(data, msgspec.Raw):
        return bytes(data)
    try:
        written = msgspec.json.encode(data)
        return written if msgspec.json.decode(written) == data else None
    except (TypeError, ValueError):
        return None


def _is_only_ours(*found: os.stat_result) -> bool:
    """Whether nobody but this process's user can have written a file and its folder."""
    others = stat.S_IWGRP | stat.S_IWOTH
    return all(f.st_uid == os.getuid() and not f.st_mode & others for f in found)
