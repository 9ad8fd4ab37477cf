"""How deep a call is nested is seen in steps where the call is costly, and comes to the same."""

from __future__ import annotations

import time
from random import Random
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service import interpreter_lock
from service.crd import validation
from service.crd.validation import MAX_DEPTH, check_depth
from service.errors import MalformedRequest
from service.interpreter_lock import CostlyCalls

COSTLY = CostlyCalls(lambda: 0.005, lambda _: None)

LEAVES: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=2), st.just([]), st.just({})
)
SHALLOW = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=4)
    ),
    max_leaves=8,
)


def nested(value: Any, levels: int, random: Random) -> Any:
    """A value within so many lists and objects, some of which have others beside it."""
    for _ in range(levels):
        value = random.choice(
            ([value], {"a": value}, [1, value, "b"], {"a": None, "b": value, "c": []}, [{}, value])
        )
    return value


def is_deep(data: Any) -> bool:
    try:
        check_depth(data)
    except MalformedRequest:
        return True
    return False


def is_deep_as_costly(data: Any) -> bool:
    with COSTLY.computing():
        return is_deep(data)


@pytest.mark.threat("costly-call")
@given(SHALLOW, st.integers(MAX_DEPTH - 6, MAX_DEPTH + 2), st.randoms(use_true_random=False))
@example([], MAX_DEPTH - 1, Random(1))
@example([], MAX_DEPTH, Random(1))
@example(1, MAX_DEPTH, Random(1))
@example(1, MAX_DEPTH + 1, Random(1))
def test_a_costly_call_may_be_nested_as_deep_as_any_other(
    value: Any, levels: int, random: Random
) -> None:
    data = nested(value, levels, random)
    assert is_deep_as_costly(data) is is_deep(data)


@pytest.mark.threat("costly-call")
@given(
    st.lists(st.tuples(SHALLOW, st.integers(0, MAX_DEPTH + 2)), min_size=1, max_size=3),
    st.sampled_from([0, 1, 62, 63, 64, 65, 130]),
    st.integers(0, MAX_DEPTH + 2),
    st.randoms(use_true_random=False),
)
def test_so_it_may_with_many_lists_at_some_level(
    parts: list[tuple[Any, int]], beside: int, levels: int, random: Random
) -> None:
    many = [nested(value, within, random) for value, within in parts] + [[]] * beside
    random.shuffle(many)
    data = nested(many, levels, random)
    assert is_deep_as_costly(data) is is_deep(data)


@pytest.mark.parametrize("scalar", [None, True, 0, 1.5, "", "text"])
def test_a_scalar_is_not_nested(scalar: object) -> None:
    assert not is_deep(scalar)
    assert not is_deep_as_costly(scalar)


def at_each_level(values: list[Any], levels: int) -> list[Any]:
    """These values at each of so many levels."""
    data = [*values]
    for _ in range(levels - 1):
        data = [*values, data]
    return data


@pytest.mark.threat("costly-call")
@pytest.mark.parametrize(
    "data",
    [
        [*range(300_000)],
        [[]] * 100_000,
        [[[]] * 3_000] * 64,
        at_each_level([[]] * 63, MAX_DEPTH - 1),
        at_each_level([[]] * 64, MAX_DEPTH - 1),
        at_each_level([*range(5_000)], MAX_DEPTH),
    ],
    ids=["scalars", "lists", "wide lists", "63 a level", "64 a level", "5000 scalars a level"],
)
def test_each_value_is_looked_at_once_or_twice(data: Any) -> None:
    """Seconds would be many times: a walk of as many values takes some hundredths."""
    began = time.thread_time()
    assert not is_deep_as_costly(data)
    assert time.thread_time() - began < 1


@pytest.mark.threat("costly-call")
def test_a_call_of_many_values_gives_way_between_some_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gave: list[None] = []
    monkeypatch.setattr(interpreter_lock.CostlyCalls, "give_way", lambda _: gave.append(None))
    for data in ([*range(100_000)], [[n] for n in range(10_000)], {"entry": [[]] * 10_000}):
        gave.clear()
        assert not is_deep(data)
        assert gave == []
        assert not is_deep_as_costly(data)
        assert len(gave) > 99
    assert validation._AT_A_TIME <= 100
