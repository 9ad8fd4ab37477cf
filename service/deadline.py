"""Deadlines for blocking work: a thread that is abandoned when time is up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TypeVar

T = TypeVar("T")


def run_with_deadline(work: Callable[[], T], seconds: float) -> T:
    """The result of `work`, or its exception; TimeoutError after `seconds`."""
    ended: SimpleQueue[tuple[T] | Exception] = SimpleQueue()

    def run() -> None:
        try:
            ended.put((work(),))
        except Exception as error:
            ended.put(error)

    threading.Thread(target=run, name="in-time", daemon=True).start()
    try:
        outcome = ended.get(timeout=seconds)
    except Empty:
        raise TimeoutError(f"no answer in {seconds:g} s") from None
    if isinstance(outcome, Exception):
        raise outcome
    return outcome[0]
