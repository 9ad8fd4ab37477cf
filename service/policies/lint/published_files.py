"""Lint rules on published files: not edited, not removed, none unpublished."""

from __future__ import annotations

from collections.abc import Iterator

from service.errors import Finding
from service.policies.folder import LibraryFolder
from service.policies.manifest import MANIFEST, hash_of, name_of


def published_file_is_not_edited(folder: LibraryFolder) -> Iterator[Finding]:
    latest = folder.manifest.data.latest() if folder.manifest else {}
    for name, entry in latest.items():
        path = folder.directory / name
        if path.is_file() and hash_of(path) != entry.sha256:
            repair = (
                "restore it, and put what changes into a version of its own; an end or a correction"
                f" is published again: covercard policy publish {path.parent.name} --because REASON"
            )
            yield Finding(path, "(file)", f"was published on {entry.on} and edited since", repair)


def published_file_is_there(folder: LibraryFolder) -> Iterator[Finding]:
    if folder.manifest is None:
        return
    for i, entry in enumerate(folder.manifest.data.published):
        if not (folder.directory / entry.file).is_file():
            problem = f"{entry.file} was published on {entry.on} and is gone"
            repair = "restore it: a version that is over keeps answering for its days"
            yield folder.manifest.finding(("published", i, "file"), problem, repair)


def correction_has_its_reason(folder: LibraryFolder) -> Iterator[Finding]:
    if folder.manifest is None:
        return
    seen: set[str] = set()
    for i, entry in enumerate(folder.manifest.data.published):
        if entry.file in seen and entry.because is None:
            problem = f"{entry.file} was published again without a reason"
            yield folder.manifest.finding(("published", i), problem, "add because: and the reason")
        seen.add(entry.file)


def file_is_published(folder: LibraryFolder) -> Iterator[Finding]:
    """An unpublished file is in effect like any other, without protection of its content."""
    latest = folder.manifest.data.latest() if folder.manifest else {}
    manifest = folder.directory / MANIFEST
    broken = {f.file for f in folder.findings}
    for file in folder.every_file:
        if name_of(file.path, folder.directory) not in latest and manifest not in broken:
            repair = f"covercard policy publish {file.folder}, once it is approved"
            yield Finding(file.path, "(file)", "is not published yet", repair, warning=True)
