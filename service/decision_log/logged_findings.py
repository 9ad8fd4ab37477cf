"""Payer findings in the log: what the payer's own records said of orders, without the patients."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from service.decision.payer_finding import CONTRADICTION, PayerOutcome
from service.decision_log.queries import LoggedCall
from service.decision_log.rows import DeterminationRow

_TOPIC = "payer"
_OUTCOMES = frozenset(PayerOutcome)
_VERSION = "member record "

Trace = Iterable[tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class LoggedFinding:
    """A finding on one order: its kind, and the evidence that the trace has of it."""

    call_id: str
    received_at: datetime
    determination: DeterminationRow
    kind: str
    evidence: str


def findings_of(logged: LoggedCall) -> Iterator[LoggedFinding]:
    """The findings of a call, in the order of its orders."""
    for d in logged.determinations:
        for topic, finding, because in logged.kept.traces[d.position]:
            if topic == _TOPIC and (finding in _OUTCOMES or finding.startswith(CONTRADICTION)):
                yield LoggedFinding(d.call_id, logged.received_at, d, finding, because)


def record_of(trace: Trace) -> tuple[str, ...]:
    """The word of the records in a trace, without the age of a kept answer: to be compared.

    A member's record is named by its version, so that another state of it differs. Empty where the
    records were not asked.
    """
    said = (f"{finding}: {because}" for topic, finding, because in trace if topic == _TOPIC)
    return tuple(each.partition("; read ")[0] for each in said)
