"""Uncaught exceptions, told by type and place only: messages may quote a password or a patient.

Database drivers and HTTP libraries write connection strings, hosts and values into their messages,
and Python prints these below each traceback.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator

Tell = Callable[[BaseException], None]

_FRAMES = 8


def place_of(error: BaseException) -> list[str]:
    """The last eight frames of an exception, as module:line, without values."""
    frames: list[str] = []
    trace = error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_globals.get("__name__", "?")
        frames.append(f"{name}:{trace.tb_lineno}")
        trace = trace.tb_next
    return frames[-_FRAMES:]


def told(error: BaseException) -> str:
    """An exception and those behind it, a line each, the last one first."""
    return "\n".join(
        f"unexpected {type(each).__name__} at {' > '.join(place_of(each)) or '?'}"
        for each in _chain(error)
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        hidden = None if error.__suppress_context__ else error.__context__
        error = error.__cause__ or hidden


def tell_uncaught(tell: Tell) -> None:
    """Have the exceptions told that end this process or a thread, or occur where none can be
    raised.

    A KeyboardInterrupt stays Python's own.
    """
    plain = sys.excepthook

    def of_process(kind: type[BaseException], error: BaseException, trace: object) -> None:
        if isinstance(error, Exception):
            tell(error)
        else:
            plain(kind, error, None)

    def of_thread(told: threading.ExceptHookArgs) -> None:
        if told.exc_value is not None and not isinstance(told.exc_value, SystemExit):
            tell(told.exc_value)

    def unraisable(told: sys.UnraisableHookArgs) -> None:
        if told.exc_value is not None:
            tell(told.exc_value)

    sys.excepthook = of_process
    threading.excepthook = of_thread
    sys.unraisablehook = unraisable
