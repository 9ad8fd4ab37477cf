"""Lint rule on files that look like the library's and are not read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from service.errors import Finding
from service.policies.cases import CASES
from service.policies.folder import NOTICES, LibraryFolder
from service.policies.manifest import MANIFEST
from service.policies.program_table import PROGRAMS
from service.policies.value_set_files import VALUE_SETS

_AT_THE_TOP = (("payers.yaml",), (PROGRAMS,), (MANIFEST,))


def every_file_is_read(folder: LibraryFolder) -> Iterator[Finding]:
    """A version with a wrong name or in a wrong folder would never be in force."""
    top = folder.directory
    for path in sorted(top.rglob("*")):
        within = path.relative_to(top).parts
        folders = within[1:-1] if within[0] in (NOTICES, VALUE_SETS) else within[:-1]
        if path.suffix.lower() not in (".yaml", ".yml") or not path.is_file():
            continue
        if path.name[0] == "." or any(f[0] in "._" for f in folders) or within in _AT_THE_TOP:
            continue
        name = CASES if path.stem.lower() == Path(CASES).stem else f"{path.stem}.yaml"
        if len(folders) != 1:
            yield Finding(path, "(file)", "is not read there", "put it into its policy's folder")
        elif path.name != name:
            yield Finding(path, "(file)", "is not read under this name", f"rename it to {name}")
