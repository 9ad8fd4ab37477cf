"""Example requests of the workbench, with their expected answers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from ruamel.yaml.error import YAMLError

from service.errors import ConfigurationError
from service.fixture_days import with_days
from service.yaml_files import load_yaml

_ROW = re.compile(r"^\| `([^`]+\.json)` \| ([^|]+) \|", re.MULTILINE)

_NAMES = ("Advantage", "CRD", "HCPCS", "Medicare", "MRI", "MRS", "URN")
_SPELLED = {name.lower(): name for name in _NAMES}


@dataclass(frozen=True, slots=True)
class HookFixture:
    """One request and its expected answer.

    `name` is "<hook>/<file>.json"; `cards` are the topics of the cards in order; `statements` the
    (order, covered) pairs of the coverage information.
    """

    name: str
    shows: str
    cards: tuple[str, ...]
    statements: tuple[tuple[str, str], ...]

    @property
    def hook(self) -> str:
        return self.name.partition("/")[0]

    @property
    def title(self) -> str:
        """The file's name as words, with abbreviations in capitals."""
        words = Path(self.name).stem.split("-")
        spelled = " ".join(_SPELLED.get(word, word) for word in words)
        return spelled[:1].upper() + spelled[1:]


class Fixtures:
    """The fixtures in `folder`."""

    def __init__(self, folder: Path, fixtures: tuple[HookFixture, ...]) -> None:
        self._folder = folder
        self._by_name = {f.name: f for f in fixtures}

    def __iter__(self) -> Iterator[HookFixture]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    def by_hook(self) -> Mapping[str, list[HookFixture]]:
        """The fixtures by hook, in the order of the file."""
        hooks: dict[str, list[HookFixture]] = {}
        for fixture in self:
            hooks.setdefault(fixture.hook, []).append(fixture)
        return hooks

    def read(self, name: str, today: date) -> bytes | None:
        """The content of a file, its days reckoned from `today`; None for an unknown name."""
        # Only listed names are read, so that a name cannot leave the folder.
        if name not in self._by_name:
            return None
        return with_days((self._folder / name).read_text("utf-8"), today).encode()


def load_fixtures(folder: Path) -> Fixtures:
    """Read `expected.yaml` and `README.md` of a folder; empty without the folder.

    Raises ConfigurationError if the files contradict each other.
    """
    listing = folder / "expected.yaml"
    if not listing.is_file():
        return Fixtures(folder, ())
    readme = folder / "README.md"
    shown = dict(_ROW.findall(readme.read_text("utf-8"))) if readme.is_file() else {}
    try:
        entries: Any = load_yaml(listing) or {}
        fixtures = tuple(_fixture(name, e, shown.get(name, "")) for name, e in entries.items())
    except (YAMLError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"{listing}: expected for each request its cards and statements ({error})"
        ) from error
    missing = [f.name for f in fixtures if not (folder / f.name).is_file()]
    if missing:
        raise ConfigurationError(f"{listing} names files that are not there: {', '.join(missing)}")
    return Fixtures(folder, fixtures)


def _fixture(name: str, entry: Mapping[str, Any], shows: str) -> HookFixture:
    statements = tuple((s["order"], s["covered"]) for s in entry["statements"])
    return HookFixture(name, shows.strip(), tuple(entry["cards"]), statements)
