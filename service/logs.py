"""Logs as JSON, one line an event, on standard output: ours and the libraries' alike.

Of an exception only its kind and place are written: its message may quote what came with a call.
"""

from __future__ import annotations

import contextlib
import json
import logging
import logging.config
import sys
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_encode = json.JSONEncoder(default=repr).encode
"""One encoder for all lines: json.dumps with a default makes a new one for each."""


def _line(_: WrappedLogger, __: str, event: EventDict) -> str:
    return _encode(event)


class _Lines(structlog.WriteLogger):
    """Writes lines. One that cannot be written is told on standard error and stops no call."""

    def msg(self, message: str) -> None:
        try:
            super().msg(message)
        except (OSError, ValueError) as error:
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.write(f"a log line could not be written: {type(error).__name__}\n")

    log = debug = info = warn = warning = error = critical = exception = fatal = failure = msg


_SHARED: list[Processor] = [
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def place_of(error: BaseException) -> list[str]:
    """Where an exception happened, as module:line, without any value; the last eight frames."""
    frames: list[str] = []
    trace = error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_globals.get("__name__", "?")
        frames.append(f"{name}:{trace.tb_lineno}")
        trace = trace.tb_next
    return frames[-8:]


def _kind_and_place(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    exc_info = event.pop("exc_info", None)
    event.pop("exc_text", None)
    if exc_info is True:
        exc_info = sys.exc_info()
    error = exc_info[1] if isinstance(exc_info, tuple) else exc_info
    if isinstance(error, BaseException):
        event["kind"], event["frames"] = type(error).__name__, place_of(error)
    return event


def _is_no_thread_advice(record: logging.LogRecord) -> bool:
    """False for the server's advice on its number of threads, which is ours on purpose.

    A thread waits for an EHR most of the time of a slow call (docs/adr/0006-wsgi-threads.md).
    """
    return not str(record.msg).startswith("Configuration allows spawning up to")


def logging_config() -> dict[str, Any]:
    """The configuration of the standard library's logging, for the server and for `configure`."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "json": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": [*_SHARED, structlog.stdlib.add_logger_name],
                "processors": [
                    _kind_and_place,
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    _line,
                ],
                # Of a library's message only the template: its arguments may be a patient's.
                "use_get_message": False,
            }
        },
        "filters": {"no thread advice": {"()": lambda: _is_no_thread_advice}},
        "handlers": {
            "out": {
                "class": "logging.StreamHandler",
                "formatter": "json",
                "stream": "ext://sys.stdout",
            }
        },
        "root": {"handlers": ["out"], "level": "WARNING"},
        "loggers": {
            "_granian": {
                "handlers": ["out"],
                "level": "INFO",
                "propagate": False,
                "filters": ["no thread advice"],
            },
            "service": {"level": "INFO"},
            # Its warnings quote URLs, and a URL may hold a patient's id.
            "urllib3": {"level": "CRITICAL"},
        },
    }


def configure_logging() -> None:
    """Set up logging for this process; called once at its start."""
    logging.config.dictConfig(logging_config())
    logging.captureWarnings(True)
    # Ours go straight out: a round through the standard library's records would say no more.
    structlog.configure(
        processors=[*_SHARED, _kind_and_place, _line],
        logger_factory=lambda *_: _Lines(sys.stdout),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )
