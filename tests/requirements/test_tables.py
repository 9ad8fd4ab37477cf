"""The tables of statements agree with the published lists, and hold no text of theirs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.requirements import statements as module
from tests.requirements.specifications import LISTS, published_statements
from tests.requirements.statements import SOURCES, all_ids, statements

LISTED = [
    pytest.param(source, path, id=f"{source}-{path.name}")
    for source, published in LISTS.items()
    for path in published.at_hand()
] + [
    pytest.param(source, None, id=source, marks=published.needed)
    for source, published in LISTS.items()
    if not published.at_hand()
]


@pytest.mark.parametrize(("source", "path"), LISTED)
def test_ids_and_bindings_are_those_of_the_published_list(source: str, path: Path) -> None:
    published = published_statements(path, source)
    ours = {s.id: s.binding for s in statements(source)}
    assert ours.keys() == published.keys()
    for id_, statement in published.items():
        if statement.binding is None:
            assert ours[id_] in ("SHALL NOT", "SHOULD NOT"), id_
        else:
            assert ours[id_] == statement.binding, id_


@pytest.mark.parametrize(("source", "path"), LISTED)
def test_the_words_are_not_those_of_the_specification(source: str, path: Path) -> None:
    published = published_statements(path, source)
    for statement in statements(source):
        theirs = f" {' '.join(words(published[statement.id].text))} "
        ours = words(statement.in_short)
        runs = (" ".join(ours[i : i + 7]) for i in range(len(ours) - 6))
        assert not [run for run in runs if f" {run} " in theirs], statement.id


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


@pytest.mark.parametrize("source", SOURCES)
def test_each_statement_is_told_in_a_few_words(source: str) -> None:
    for statement in statements(source):
        assert 1 <= len(words(statement.in_short)) <= 20, statement


def test_what_is_not_applicable_is_a_known_statement_and_has_one_reason() -> None:
    loaded = YAML(typ="safe").load((module.HERE / "not_applicable.yaml").read_text("utf-8"))
    listed = [statement for ids in loaded.values() for statement in ids]
    assert sorted(listed) == sorted(set(listed))
    assert set(listed) <= all_ids()
