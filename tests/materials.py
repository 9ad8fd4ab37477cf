"""Where tests find what the project does not hold: published guides, packages, the kits' gems.

Settings name the places. As a convenience a folder `shared` beside the project is looked into.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent


class MissingPart(Exception):
    """Something that a run needs is not on this machine; the message names it."""


def found_beside(path: str) -> Path | None:
    """A file or folder of the material beside the project, if it is there."""
    place = (ROOT.parent / "shared" / path).absolute()
    return place if place.exists() else None
