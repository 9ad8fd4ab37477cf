"""Errors with forms as rows of the feedback's table: both are what clients report afterwards.

`card_uuid` holds the form's canonical, `reason_code` the issue's code, `reason_display` its
severity, `comment` its text, which may hold a patient's data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256

import msgspec
from sqlalchemy import Connection, select

from service.decision_log.instants import microseconds
from service.decision_log.queries import TimeSpan
from service.decision_log.rows import FeedbackRow, told
from service.decision_log.tables import feedback

SERVICE = "$log-questionnaire-errors"
OUTCOME = "form-error"
_ISSUE_TYPES = "http://hl7.org/fhir/issue-type"
_TEXTS_SHOWN = 3
_json = msgspec.json.Encoder().encode


def form_error_row(
    *, client: str, canonical: str, severity: str, code: str, text: str, received_at: datetime
) -> FeedbackRow:
    """The row of one issue; the same issue again within the day is the same row."""
    at = microseconds(received_at)
    said = (client, canonical, severity, code, text, str(received_at.date()))
    return FeedbackRow(
        feedback_id=sha256(_json(said)).hexdigest(),
        received_at=at,
        client=client,
        service_id=SERVICE,
        card_uuid=told(canonical) or "",
        outcome=OUTCOME,
        outcome_at=at,
        accepted_suggestions="[]",
        reason_system=_ISSUE_TYPES,
        reason_code=told(code),
        reason_display=severity,
        comment=told(text, 1000),
    )


@dataclass(slots=True)
class FormErrors:
    """Errors with one version of a form: by issue code, by client, and the latest texts."""

    canonical: str
    codes: Counter[str] = field(default_factory=Counter)
    clients: Counter[str] = field(default_factory=Counter)
    texts: list[str] = field(default_factory=list)
    latest_at: int = 0


def form_errors(connection: Connection, span: TimeSpan) -> list[FormErrors]:
    """The errors of a period by form and version, most of them first."""
    found: dict[str, FormErrors] = {}
    for canonical, client, code, text, at in _rows(connection, span):
        own = found.setdefault(canonical, FormErrors(canonical))
        own.codes[code or "(no code)"] += 1
        own.clients[client] += 1
        own.latest_at = max(own.latest_at, at)
        if text and text not in own.texts and len(own.texts) < _TEXTS_SHOWN:
            own.texts.append(text)
    return sorted(found.values(), key=lambda e: (-e.codes.total(), e.canonical))


def _rows(
    connection: Connection, span: TimeSpan
) -> Iterator[tuple[str, str, str | None, str | None, int]]:
    f = feedback.c
    wanted = (
        select(f.card_uuid, f.client, f.reason_code, f.comment, f.received_at)
        .where(f.service_id == SERVICE)
        .order_by(f.received_at.desc())
    )
    if span.since is not None:
        wanted = wanted.where(f.received_at >= microseconds(span.since))
    if span.until is not None:
        wanted = wanted.where(f.received_at < microseconds(span.until))
    for row in connection.execute(wanted.execution_options(yield_per=1000)):
        yield tuple(row)
