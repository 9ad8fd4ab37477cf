"""Text of a policy's version, as its file has it, with what its manifest says of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from service.errors import LibraryError
from service.policies import files
from service.policies.manifest import MANIFEST, Manifest, ManifestEntry, hash_of, name_of


@dataclass(frozen=True, slots=True)
class PolicyText:
    """A version's file: its name in the library, its text with the text's SHA-256.

    `published` is its valid entry in the manifest, None without one.
    """

    file: str
    text: str
    sha256: str
    published: ManifestEntry | None

    @property
    def is_as_published(self) -> bool:
        """Whether the text is the one that was published."""
        return self.published is not None and self.published.sha256 == self.sha256


def policy_text(libraries: Iterable[Path], policy_id: str, version: str) -> PolicyText | None:
    """The text of a version in one of these folders; None if none has it."""
    for library in libraries:
        path = library / policy_id / f"{version}.yaml"
        if path.parent.parent == library and path.is_file():
            name = name_of(path, library)
            return PolicyText(
                name, path.read_text("utf-8"), hash_of(path), _published(library, name)
            )
    return None


def _published(library: Path, name: str) -> ManifestEntry | None:
    try:
        manifest = files.load(library / MANIFEST, Manifest).data
    except (LibraryError, OSError):
        return None  # lint tells what is wrong with it
    return manifest.latest().get(name)
