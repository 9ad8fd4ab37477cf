"""Plain YAML is read as the general reader reads it, or left to it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from service.plain_yaml import NotPlain, read_plain
from service.yaml_files import read_yaml
from tests.conftest import ROOT

FILES = sorted(
    path
    for folder in ("service/policies", "examples/policies", "cards/texts", "tests/policies")
    for path in (ROOT / folder).rglob("*.yaml")
)


def general(text: str) -> object:
    """What the general reader gives, or the kind of its error."""
    try:
        return YAML(typ="safe").load(text)
    except (YAMLError, ValueError) as error:
        return type(error)
    except TypeError:  # a key that cannot be one
        return YAMLError


def ours(text: str) -> object:
    try:
        return read_yaml(text)
    except (YAMLError, ValueError) as error:
        return type(error)


def alike(one: object, other: object) -> bool:
    """Equal, and of the same types in the same order all the way down."""
    return repr(one) == repr(other)


@pytest.mark.parametrize("path", FILES, ids=[str(p.relative_to(ROOT)) for p in FILES])
def test_every_file_of_the_project_is_read_as_the_general_reader_does(path: Path) -> None:
    text = path.read_text("utf-8")
    assert alike(ours(text), general(text))


def test_the_policies_are_plain() -> None:
    """They are what is read most: none needs the general reader."""
    policies = [p for p in FILES if p.name.startswith("20") and "tests" not in p.parts]
    assert len(policies) > 5
    for path in policies:
        assert isinstance(read_plain(path.read_text("utf-8")), dict), path


SCALARS = (
    *("1", "0610", "0o17", "0x1F", "-3", "+4", "1_000", "4.5", "1e3", ".5", ".inf", ".nan", "0b1"),
    *("true", "True", "FALSE", "yes", "no", "on", "null", "~", "", "NULL", "nul", "2026-01-31"),
    *("2026-02-31", "2026-01-31T10:00:00Z", "12:30", "=", "<<", "a", "a b", "'1'", '"2026-01-31"'),
    *("'it''s'", '"\\u00e9"', "!x 1", "!!str 1", "&a 1", "*a", "?", "- x", "a: b", "# c", "[]"),
    *(
        "{}",
        "[1, a, [b]]",
        "{a: 1, b: 2}",
        "{a: 1, a: 2}",
        "{1: a, true: b}",
        "|\n  x\n",
        ">-\n  x",
    ),
)
LINES = st.sampled_from(
    [f"{before}{key}{scalar}" for before in ("", "  ", "- ") for key in ("a: ", "b: ", "1: ", "")
     for scalar in SCALARS]
    + ["---", "...", "%YAML 1.1", "\ta: 1", "a:", "b: &x", "c: *x", "<<: *x", "<<: {a: 1}"]
)  # fmt: skip


@settings(max_examples=400)
@given(st.lists(LINES, max_size=5))
@example(["b: &x {a: 1}", "c: {<<: *x, d: 2}"])
@example(["b: &x [1]", "c: *x", "d: *y"])
@example(["%YAML 1.1", "---", "a: yes"])
@example(["a: 1", "---", "b: 2"])
@example(["a: {a: 1, a: 2}"])
@example(["?", "- b: 1"])
def test_any_text_is_read_as_the_general_reader_does(lines: list[str]) -> None:
    text = "\n".join(lines)
    assert alike(ours(text), general(text)), text


@pytest.mark.parametrize(
    "text", ["a: !x 1", "a: 1\na: 2", "a: 1\n---\nb: 2", "<<: {a: 1}", "a: [", "", "? [a]\n: b"]
)
def test_what_is_more_than_plain_is_left_to_the_general_reader(text: str) -> None:
    with pytest.raises(NotPlain):
        read_plain(text)
