"""Logging: JSON lines on standard output, of this program and of libraries.

Of an exception, type and place are logged; its message may quote a call.
"""

from __future__ import annotations

import contextlib
import json
import logging
import logging.config
import os
import sys
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from service.call_facts import noted
from service.log_writer import LogWriter
from service.shown_text import shown
from service.uncaught import place_of, tell_uncaught

_encode = json.JSONEncoder(default=repr).encode
"""One encoder for all lines: json.dumps with a default creates one for each."""


def _line(_: WrappedLogger, __: str, event: EventDict) -> str:
    return _encode(event)


def _left_out(number: int) -> str:
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    event = {"lines": number, "event": "log lines were left out", "level": "warning"}
    return _line(None, "", stamp(None, "", event)) + "\n"


def _standard_output() -> int:
    """The descriptor of standard output; where it is closed, one that leads nowhere.

    Its number would be the next file's that is opened, such as the database.
    """
    return os.open(os.devnull, os.O_WRONLY) if sys.stdout is None else 1


OUT = LogWriter(_standard_output(), _left_out)
"""Standard output: all lines of the service, of libraries too, in one order."""


class _Lines:
    """Logger of lines to the service's standard output."""

    def msg(self, message: str) -> None:
        OUT.write(message + "\n")

    log = debug = info = warn = warning = error = critical = exception = fatal = failure = msg


class _LinesOfACommand(structlog.WriteLogger):
    """Logger of lines to standard error. A failure to write one does not stop the command."""

    def msg(self, message: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().msg(message)

    log = debug = info = warn = warning = error = critical = exception = fatal = failure = msg


def with_facts_of_call(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """A line with what is noted of its call; what the line says itself counts."""
    facts = noted()
    return {**event, **facts, **event} if facts else event


_SHARED: list[Processor] = [
    with_facts_of_call,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


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
    """Log filter of the server's advice on its number of threads, which is chosen on purpose.

    Most of a slow call's time its thread waits for an EHR (docs/adr/0006-wsgi-threads.md).
    """
    return not str(record.msg).startswith("Configuration allows spawning up to")


def logging_config() -> dict[str, Any]:
    """Configuration of the standard library's logging."""
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
                # The template of a library's message only: its arguments may be patient data.
                "use_get_message": False,
            }
        },
        "filters": {"no thread advice": {"()": lambda: _is_no_thread_advice}},
        "handlers": {
            "out": {
                "class": "logging.StreamHandler",
                "formatter": "json",
                "stream": OUT,
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
            # Its warnings quote URLs, which may contain a patient's id.
            "urllib3": {"level": "CRITICAL"},
        },
    }


def configure_logging() -> None:
    """Set up logging of this process, once at its start."""
    logging.config.dictConfig(logging_config())
    logging.captureWarnings(True)
    tell_uncaught(_log_uncaught)
    # This program's lines skip the standard library's records, which would add nothing.
    structlog.configure(
        processors=[*_SHARED, _kind_and_place, _line],
        logger_factory=lambda *_: _Lines(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )


def log_of_a_command() -> None:
    """Set up logging of a command: readable lines on standard error, without messages either."""
    structlog.configure(
        processors=[
            *_SHARED,
            _kind_and_place,
            structlog.dev.ConsoleRenderer(colors=False),
            lambda _, __, line: shown(str(line)),
        ],
        logger_factory=lambda *_: _LinesOfACommand(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )


def _log_uncaught(error: BaseException) -> None:
    structlog.get_logger(__name__).error("unexpected error", exc_info=error)
