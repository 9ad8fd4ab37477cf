"""Output shapes of the log: JSON and CSV rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from service.decision_log.instants import instant
from service.decision_log.queries import LoggedCall, LoggedDecision
from service.decision_log.rows import CallRow, DeterminationRow, FeedbackRow
from service.shown_text import shown

Json = dict[str, Any]

_CALL = (
    "client",
    "service_id",
    "hook",
    "hook_instance",
    "crd_version",
    "ehr",
    "patient",
    "encounter",
    "status",
    "token_use",
    "service_version",
    "policies_digest",
    "repeated",
)
_LISTS = ("codes", "billing_codes", "notices")
_DETERMINATION = tuple(
    n for n in DeterminationRow.__struct_fields__ if n not in ("call_id", "position", *_LISTS)
)
COLUMNS = ("call_id", "received_at", *_CALL, "elapsed_ms", "position", *_DETERMINATION, *_LISTS)
"""Columns of the CSV: a row for each determination, or one for a call without any."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What makes a spreadsheet take text for a formula."""


def decision_json(decision: LoggedDecision) -> Json:
    """A determination with its call's columns."""
    return {
        "call_id": decision.call_id,
        "received_at": decision.received_at.isoformat(),
        "client": decision.client,
        "hook": decision.hook,
        "ehr": decision.ehr,
        "patient": decision.patient,
        "repeated": decision.repeated,
        **_determination(decision.determination),
    }


def call_json(logged: LoggedCall, said: Iterable[FeedbackRow], *, bodies: bool) -> Json:
    """A call with its determinations, their traces, its cards and the feedback on them."""
    traces = logged.kept.traces
    shape: Json = {
        **_call(logged.row),
        "determinations": [
            {**_determination(d), "trace": traces[d.position]} for d in logged.determinations
        ],
        "cards": [
            {"uuid": c["uuid"], "topic": c["source"]["topic"]["code"], "summary": c["summary"]}
            for c in logged.cards
        ],
        "feedback": [_feedback(item) for item in said],
    }
    if bodies:
        shape["request"] = logged.request
        shape["answer"] = logged.answer
    return shape


def csv_rows(logged: LoggedCall) -> Iterable[Mapping[str, Any]]:
    """The rows of a call, by COLUMNS."""
    for row in decision_rows(logged):
        yield row | {name: " ".join(row[name]) for name in _LISTS if name in row}


def decision_rows(logged: LoggedCall) -> Iterable[Json]:
    """A row for each determination of a call, or one without any."""
    of_call = _call(logged.row)
    for d in logged.determinations:
        yield {**of_call, "position": d.position, **_determination(d)}
    if not logged.determinations:
        yield of_call


def _call(row: CallRow) -> Json:
    return {
        "call_id": row.call_id,
        "received_at": instant(row.received_at).isoformat(),
        **{name: getattr(row, name) for name in _CALL},
        "repeated": bool(row.repeated),
        "elapsed_ms": row.elapsed_us / 1000,
    }


def _determination(d: DeterminationRow) -> Json:
    values = {name: getattr(d, name) for name in _DETERMINATION}
    lists = {name: msgspec.json.decode(getattr(d, name)) for name in _LISTS}
    return {**values, "stated": bool(d.stated), **lists}


def _feedback(item: FeedbackRow) -> Json:
    return {
        "card": item.card_uuid,
        "outcome": item.outcome,
        "at": instant(item.outcome_at).isoformat(),
        "accepted_suggestions": msgspec.json.decode(item.accepted_suggestions),
        "reason": item.reason_code,
        "comment": item.comment,
    }


def csv_cell(value: object) -> object:
    """A cell without control characters that is no formula (CSV injection).

    An apostrophe stands before text that would be one.
    """
    if not isinstance(value, str):
        return value
    plain = shown(value)
    return f"'{plain}" if plain.lstrip(" ").startswith(_FORMULA) else plain
