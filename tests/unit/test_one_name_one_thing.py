"""One name, one thing: no public class and no module of the two packages is named twice."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from tests.requirements.specifications import ROOT

FILES = [path for package in ("service", "cards") for path in (ROOT / package).rglob("*.py")]

ALEMBICS = {"migrations", "versions", "env"}
"""Folders and a module that Alembic looks for under these names, once for each set of tables."""


def modules() -> Iterator[tuple[str, Path]]:
    for path in FILES:
        name = path.parent.name if path.name == "__init__.py" else path.stem
        if not (name in ALEMBICS and "migrations" in path.parts) and not name[0].isdigit():
            yield name, path


def classes() -> Iterator[tuple[str, Path]]:
    for path in FILES:
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield node.name, path


def told_twice(named: Iterator[tuple[str, Path]]) -> dict[str, list[str]]:
    places = defaultdict(list)
    for name, path in named:
        places[name].append(path.relative_to(ROOT).as_posix())
    return {name: found for name, found in places.items() if len(found) > 1}


def test_each_module_has_a_name_of_its_own() -> None:
    assert told_twice(modules()) == {}


def test_each_public_class_has_a_name_of_its_own() -> None:
    assert told_twice(classes()) == {}
