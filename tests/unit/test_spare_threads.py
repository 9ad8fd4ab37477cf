"""Threads that are kept for the next work."""

from __future__ import annotations

import os
import threading
from multiprocessing import get_context

import pytest

from service.spare_threads import SpareThreads

SECONDS = 30


def thread_of_next_work(threads: SpareThreads) -> int:
    """Have work done; returns the identifier of the thread that did it."""
    done = threading.Event()
    who: list[int] = []

    def work() -> None:
        who.append(threading.get_ident())
        done.set()

    threads.begin(work)
    assert done.wait(SECONDS)
    return who[0]


def wait_for(number: int, threads: SpareThreads) -> None:
    """Wait until so many threads have no work."""
    for _ in range(100 * SECONDS):
        if len(threads._idle) == number:
            return
        threading.Event().wait(0.01)
    raise AssertionError(f"{len(threads._idle)} threads have no work")


def test_work_that_follows_is_done_by_the_same_thread() -> None:
    threads = SpareThreads("test")
    first = thread_of_next_work(threads)
    wait_for(1, threads)
    assert thread_of_next_work(threads) == first


def test_work_that_does_not_end_holds_up_no_other() -> None:
    threads = SpareThreads("test")
    ended = threading.Event()
    threads.begin(lambda: ended.wait(SECONDS) and None)
    thread_of_next_work(threads)
    assert not ended.is_set()
    ended.set()


def test_a_thread_without_work_ends_after_a_while() -> None:
    threads = SpareThreads("of the test that ends", kept=0.01)
    thread_of_next_work(threads)
    for _ in range(100 * SECONDS):
        if not any(t.name == "of the test that ends" for t in threading.enumerate()):
            break
        threading.Event().wait(0.01)
    else:
        pytest.fail("the thread is still there")
    thread_of_next_work(threads)


def test_work_given_to_a_thread_that_is_about_to_end_is_done() -> None:
    threads = SpareThreads("test", kept=0.0)
    done = threading.Semaphore(0)
    for _ in range(2000):
        threads.begin(lambda: done.release())
    for _ in range(2000):
        assert done.acquire(timeout=SECONDS)


def test_a_forked_process_has_threads_of_its_own() -> None:
    threads = SpareThreads("test")
    thread_of_next_work(threads)
    wait_for(1, threads)

    def work() -> None:
        thread_of_next_work(threads)
        os._exit(7)

    child = get_context("fork").Process(target=work)
    child.start()
    child.join(SECONDS)
    assert child.exitcode == 7
