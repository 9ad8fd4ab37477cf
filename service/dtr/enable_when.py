"""Questionnaire.item.enableWhen: whether an item is asked, by the answers so far (FHIR R4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from operator import ge, gt, le, lt
from typing import Any

Answers = Mapping[str, Sequence[Any]]
"""Values by linkId: plain JSON, of a coding or quantity its object."""

_ORDERED: Mapping[str, Callable[[Any, Any], bool]] = {">": gt, "<": lt, ">=": ge, "<=": le}


def is_enabled(item: Mapping[str, Any], answers: Answers) -> bool:
    """Whether an item's own conditions hold; those of its groups are not looked at."""
    conditions = item.get("enableWhen", ())
    if not conditions:
        return True
    held = [_holds(condition, answers) for condition in conditions]
    return any(held) if item.get("enableBehavior") == "any" else all(held)


def _holds(condition: Mapping[str, Any], answers: Answers) -> bool:
    values = answers.get(condition["question"], ())
    expected = next(v for k, v in condition.items() if k.startswith("answer"))
    operator = condition["operator"]
    if operator == "exists":
        return bool(values) is expected
    if operator == "!=":
        return bool(values) and not any(_equal(value, expected) for value in values)
    if operator == "=":
        return any(_equal(value, expected) for value in values)
    compare = _ORDERED[operator]
    return any(_ordered(value, expected, compare) for value in values)


def _equal(value: Any, expected: Any) -> bool:
    if isinstance(value, Mapping) and isinstance(expected, Mapping):
        if "code" in expected:
            same_system = value.get("system") == expected.get("system")
            return same_system and value.get("code") == expected["code"]
        return bool(value.get("value") == expected.get("value"))
    return bool(value == expected)


def _ordered(value: Any, expected: Any, compare: Callable[[Any, Any], bool]) -> bool:
    left, right = _plain(value), _plain(expected)
    comparable = isinstance(left, Decimal) is isinstance(right, Decimal)
    return comparable and None not in (left, right) and compare(left, right)


def _plain(value: Any) -> Decimal | str | None:
    """A number, or a text as days and instants are written: these sort by their text."""
    if isinstance(value, Mapping):
        value = value.get("value")
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float | Decimal):
        return Decimal(str(value))
    return value if isinstance(value, str) else None
