"""A piece of work that takes too long is interrupted; one thread looks after all of them."""

import threading
import time

import pytest

from service.decision_log import time_limit
from service.decision_log.time_limit import TimeLimit


def limiting_threads() -> set[threading.Thread]:
    return {t for t in threading.enumerate() if t.name == "records-limit"}


def test_work_beyond_its_time_is_interrupted_once() -> None:
    ended = threading.Event()
    interrupts: list[float] = []

    def interrupt() -> None:
        interrupts.append(time.monotonic())
        ended.set()

    limit = TimeLimit(interrupt)
    began = time.monotonic()
    with limit.of(0.1):
        assert ended.wait(60)
        time.sleep(2 * time_limit._LOOK_SECONDS)
    (at,) = interrupts
    assert at - began >= 0.1


def test_work_within_its_time_is_not_and_starts_no_thread_of_its_own() -> None:
    interrupts: list[bool] = []
    limit = TimeLimit(lambda: interrupts.append(True))
    before = limiting_threads()
    for _ in range(100):
        with limit.of(0.5):
            pass
    assert len(limiting_threads() - before) == 1
    time.sleep(0.5 + 2 * time_limit._LOOK_SECONDS)
    assert not interrupts
    assert limit._looking


def test_the_thread_ends_when_nothing_is_limited_and_another_begins_when_something_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time_limit, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(time_limit, "_IDLE_LOOKS", 2)
    limit = TimeLimit(lambda: None)
    with limit.of(5):
        pass
    until = time.monotonic() + 60
    while limit._looking and time.monotonic() < until:
        time.sleep(0.01)
    assert not limit._looking
    with limit.of(5):
        assert limit._looking
