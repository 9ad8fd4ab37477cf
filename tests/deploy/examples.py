"""The files of examples/deploy as data, and the program that they are held to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from service.cli import cli
from service.settings import Settings
from tests.e2e.servers import ROOT

FOLDER = ROOT / "examples" / "deploy"
SETTINGS = frozenset(f"COVERCARD_{name.upper()}" for name in Settings.model_fields)


def documents(path: Path) -> list[Any]:
    """The documents of a YAML file, read strictly: a key that stands twice is an error."""
    return list(YAML(typ="safe", pure=True).load_all(path.read_text("utf-8")))


def takes(words: list[str]) -> bool:
    """Whether `covercard` takes these words; nothing is run."""
    command: Any = cli
    rest = list(words)
    while rest and hasattr(command, "commands"):
        command = command.commands[rest.pop(0)]
    command.make_context(command.name, rest)
    return True
