"""Lint rule on files that look like the library's and are not read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from service.errors import Finding
from service.policies.cases import CASES
from service.policies.folder import NOTICES, LibraryFolder
from service.policies.manifest import MANIFEST
from service.policies.program_table import PROGRAMS
from service.policies.value_set_files import KINDS, VALUE_SETS

_AT_THE_TOP = (("payers.yaml",), (PROGRAMS,), (MANIFEST,))
_YAML = (".yaml", ".yml")
_TABLES = (".csv", ".json", ".tsv", ".xls", ".xlsx", ".ods")


def every_file_is_read(folder: LibraryFolder) -> Iterator[Finding]:
    """A version with a wrong name or in a wrong folder would never be in force."""
    top = folder.directory
    for path in sorted(top.rglob("*")):
        within = path.relative_to(top).parts
        folders = within[1:-1] if within[0] in (NOTICES, VALUE_SETS) else within[:-1]
        if path.name[0] == "." or any(f[0] in "._" for f in folders) or within in _AT_THE_TOP:
            continue
        suffix = path.suffix.lower()
        if not path.is_file() or suffix not in (*_YAML, *_TABLES):
            continue
        if within[0] == VALUE_SETS:
            yield from _of_a_value_set(path, len(folders))
        elif suffix in _YAML:
            name = CASES if path.stem.lower() == Path(CASES).stem else f"{path.stem}.yaml"
            if len(folders) != 1:
                yield Finding(
                    path, "(file)", "is not read there", "put it into its policy's folder"
                )
            elif path.name != name:
                yield Finding(path, "(file)", "is not read under this name", f"rename it to {name}")


def _of_a_value_set(path: Path, depth: int) -> Iterator[Finding]:
    if depth != 1:
        repair = f"put it into a folder of its own: {VALUE_SETS}/<id>/<first day>{path.suffix}"
        yield Finding(path, "(file)", "is not read there", repair)
    elif path.suffix not in KINDS:
        yield Finding(path, "(file)", "is not read", f"save it as {', '.join(KINDS)}")
