"""Cache of YAML as it was read, kept between two starts: a large library starts without its parser.

A file is known by the digest of its content, so an edited one is read anew. What is kept is plain
data, as JSON; it goes through the models and the rules of lint like what the parser reads. All of
it is thrown away with another version of the program, of Python or of the parser.
"""

from __future__ import annotations

import hashlib
import os
import platform
import stat
import tempfile
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path

import msgspec
import structlog

from service import __version__

FEW_FILES = 100
"""Libraries up to this size are read as fast as their cache would be: none is kept."""

log = structlog.get_logger(__name__)


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
        self._kept: Mapping[str, object] | None = None
        self._used: dict[str, object] = {}
        self._read_anew = 0

    def data(self, content: bytes, read: Callable[[str], object]) -> object:
        """The data of a file's content: as kept, else by `read` from its text (UTF-8).

        Raises UnicodeDecodeError, and what `read` raises.
        """
        if self._kept is None:
            self._kept = self._on_disk()
        key = hashlib.sha256(content).hexdigest()
        if key in self._kept:
            found = self._used[key] = self._kept[key]
            return found
        if self._read_anew == FEW_FILES:
            log.info(
                "policies are read from YAML; the next start takes less", cache=str(self._path)
            )
        self._read_anew += 1
        found = self._used[key] = read(content.decode("utf-8"))
        return found

    def keep(self) -> None:
        """Write what was read of a library that is right; never raises.

        Of files that are no longer there nothing stays.
        """
        kept = self._kept or {}
        if len(self._used) <= FEW_FILES or self._used.keys() == kept.keys():
            return
        files = msgspec.json.encode({k: v for k, v in self._used.items() if _is_json(v)})
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

    def _on_disk(self) -> Mapping[str, object]:
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


def _is_json(data: object) -> bool:
    """Whether data are the same after a way through JSON: a day without quotes is not."""
    try:
        back: object = msgspec.json.decode(msgspec.json.encode(data))
    except (TypeError, ValueError):
        return False
    return back == data


def _is_only_ours(*found: os.stat_result) -> bool:
    """Whether nobody but this process's user can have written a file and its folder."""
    others = stat.S_IWGRP | stat.S_IWOTH
    return all(f.st_uid == os.getuid() and not f.st_mode & others for f in found)
