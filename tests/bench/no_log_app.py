"""Covercard without the log: all of it, but for a recorder that keeps nothing."""

from __future__ import annotations

from typing import cast

from flask import Flask

import service.bootstrap.app
from service.decision_log.call_record import CallRecord
from service.decision_log.recorder import Health, Recorder
from service.decision_log.rows import FeedbackRow
from service.settings import Settings, load_settings


class Forgetful:
    """Stands where the recorder stands."""

    def record(self, call: CallRecord) -> None:
        """Nothing is kept of it."""

    def record_feedback(self, feedback: list[FeedbackRow]) -> None:
        """Nor of this."""

    def settle(self, within: float) -> bool:
        """Nothing waits."""
        return True

    def health(self) -> Health:
        return Health()


def forget(_settings: Settings) -> Recorder:
    return cast("Recorder", Forgetful())


def wsgi_app() -> Flask:
    service.bootstrap.app.wire_recorder = forget
    return service.bootstrap.app.create_app(load_settings())
