"""Packages of npm that tests need, below build/: each with the hash that the lock file names."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.materials import MissingPart

_FILES = ("package.json", "package-lock.json")
_SECONDS = 400


def install(source: Path, home: Path, flags: Sequence[str] = ()) -> None:
    """Install what the lock file in `source` names into `home`, unless it is there.

    Raises MissingPart where Node, npm or the packages cannot be had.
    """
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise MissingPart(f"{program} (Node 20 or later)")
    home.mkdir(parents=True, exist_ok=True)
    wanted = [(name, (source / name).read_bytes()) for name in _FILES]
    if is_installed(source, home):
        return
    for name, content in wanted:
        (home / name).write_bytes(content)
    command = ["npm", "ci", "--silent", "--no-audit", "--no-fund", *flags]
    try:
        subprocess.run(command, cwd=home, check=True, timeout=_SECONDS, stdout=subprocess.DEVNULL)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as trouble:
        # npm ci removes what was there before it begins: a half installation is none.
        shutil.rmtree(home / "node_modules", ignore_errors=True)
        raise MissingPart(f"the packages of npm ({trouble})") from trouble


def is_installed(source: Path, home: Path) -> bool:
    """Whether `home` has the packages of the lock file in `source`."""
    if shutil.which("node") is None or not (home / "node_modules").is_dir():
        return False
    return all(
        (home / name).is_file() and (home / name).read_bytes() == (source / name).read_bytes()
        for name in _FILES
    )
