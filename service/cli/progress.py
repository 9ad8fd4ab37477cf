"""Progress bars on standard error, after one second."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from service.cli.terminal import console

_PATIENCE_SECONDS = 1.0


@contextlib.contextmanager
def progress(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """A context with a function to advance the bar. Shows nothing without a terminal."""
    screen = console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=screen,
        transient=True,
    )
    task = bar.add_task(label, total=total)
    begun = time.monotonic()
    shown = False

    def advance(by: int = 1) -> None:
        nonlocal shown
        bar.advance(task, by)
        if not shown and screen.is_terminal and time.monotonic() - begun > _PATIENCE_SECONDS:
            shown = True
            bar.start()

    try:
        yield advance
    finally:
        if shown:
            bar.stop()


@contextlib.contextmanager
def waiting(label: str) -> Iterator[None]:
    """The same without a total: a pulsing bar."""
    screen = console(stderr=True)
    bar = Progress(TextColumn("{task.description}"), BarColumn(), console=screen, transient=True)
    bar.add_task(label, total=None)
    timer = threading.Timer(_PATIENCE_SECONDS, bar.start)
    timer.daemon = True
    if screen.is_terminal:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if timer.is_alive():
            timer.join()
        bar.stop()
