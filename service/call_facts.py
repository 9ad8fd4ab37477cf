"""Facts of the call at hand, which are on each line that is logged until its answer."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar

Fact = str | int | float | None

_noted: ContextVar[dict[str, Fact]] = ContextVar("facts of the call")


def begin_call() -> None:
    """Forget what was noted of the thread's call before."""
    _noted.set({})


def note(**facts: Fact) -> None:
    """Add facts to the current call's lines. Never a value of the call itself."""
    try:
        _noted.get().update(facts)
    except LookupError:
        _noted.set(facts)


def noted() -> Mapping[str, Fact]:
    """The facts of the current call; empty outside of one."""
    return _noted.get({})
