"""The verdicts expected of each configuration: every test passes but those that a list names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from ruamel.yaml import YAML

from tests.inferno.suites import Outcome

_FILE = Path(__file__).parent / "expected.yaml"


def expected(name: str) -> Mapping[str, str]:
    """Of the tests that do not pass: the test's number and Inferno's word ("skip")."""
    lists = YAML(typ="safe").load(_FILE)
    return {str(k): str(v["is"]) for k, v in (lists.get(name) or {}).items()}


def reasons(name: str) -> Mapping[str, str]:
    """Why the tests that do not pass do not, by the test's number."""
    lists = YAML(typ="safe").load(_FILE)
    return {str(k): str(v["because"]) for k, v in (lists.get(name) or {}).items()}


def surprises(outcome: Outcome, name: str) -> Iterator[str]:
    """What came out otherwise than the list says: newly failed, newly passed, gone, no reason."""
    told = expected(name)
    for v in outcome.verdicts:
        foreseen = told.get(v.id, "pass")
        if v.result != foreseen:
            yield f"{v.id} {v.title}: {v.result}, expected {foreseen}. {v.said}"
    for number in told.keys() - {v.id for v in outcome.verdicts}:
        yield f"{number}: expected {told[number]}, and the suite has no such test"
