"""Threads of a worker, which the server starts on demand."""

from __future__ import annotations

from service.bootstrap.security import MOST_HELD
from service.bootstrap.wire_pages import MOST_VISITORS
from service.settings import Settings

SPARE_THREADS = 8


def most_threads(settings: Settings) -> int:
    """The most threads of a worker.

    One for each call, at work or waiting for an EHR, for each body under way and for each place of
    visitors and readers, for each refusal that is held, and spare ones for discovery and health.
    """
    calls = settings.max_concurrent_calls + settings.max_waiting_calls
    return calls + settings.bodies_at_a_time + MOST_VISITORS + MOST_HELD + SPARE_THREADS
