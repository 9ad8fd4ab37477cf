"""Keeping of errors with forms: in the log, and counted by form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from service.decision_log.form_error_rows import form_error_row
from service.decision_log.recorder import Recorder
from service.dtr.form_errors import FormError
from service.web.metrics import Metrics


@dataclass(frozen=True, slots=True)
class KeepFormErrors:
    """Keeping of errors with forms; `clock` gives the current time with a time zone."""

    recorder: Recorder
    metrics: Metrics
    clock: Callable[[], datetime]

    def keep(self, client: str, errors: Sequence[FormError]) -> None:
        """Keep a client's errors, durable on return. Raises RecordsUnavailable."""
        now = self.clock()
        self.recorder.record_feedback(
            [
                form_error_row(
                    client=client,
                    canonical=error.canonical,
                    severity=error.severity,
                    code=error.code,
                    text=error.text,
                    received_at=now,
                )
                for error in errors
            ]
        )
        for error in errors:
            self.metrics.form_error(error.form)
