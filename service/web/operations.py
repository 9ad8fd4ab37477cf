"""Operations endpoints: /livez, /readyz and /metrics, without patient data."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum

from flask import Blueprint, Response
from prometheus_client import CONTENT_TYPE_LATEST

from service.auth.clients import TrustedClient
from service.decision_log.clock_check import ClockState
from service.decision_log.recorder import Health
from service.payer_data.port import PayerData
from service.policies.policy_store import PolicyStore
from service.web.client_auth import open_to_all
from service.web.json_body import json_response
from service.web.metrics import CheckFigures, Metrics


class State(StrEnum):
    """Readiness, from good to bad. FAILING alone takes the instance out of load balancing."""

    READY = "ready"
    DEGRADED = "degraded"
    """Calls are answered and recorded; an operator should act."""
    FAILING = "failing"


@dataclass(frozen=True, slots=True)
class HealthFinding:
    """Result of one check; `facts` are for the operator, without patient data."""

    state: State
    facts: dict[str, object] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Check:
    """A readiness check; `look` returns at once and never raises."""

    name: str
    look: Callable[[], HealthFinding]


def records_check(health: Callable[[], Health]) -> Check:
    """Check of recording: the segments, and the database behind them."""

    def look() -> HealthFinding:
        found = health()
        facts: dict[str, object] = {
            "segments": "unwritable" if found.refusing else "written",
            "store": "up" if found.store_up else "away",
            "waiting_bytes": found.waiting.bytes,
            "waiting_seconds": round(found.waiting.seconds, 1),
            "set_aside": found.waiting.set_aside,
            "lost": found.lost,
        }
        warnings: tuple[str, ...] = ()
        if found.lost:
            told = f"{found.lost} answered records are gone: the log lines name their segment"
            warnings = (told,)
        if found.not_anchored is not None:
            facts["not_anchored"] = found.not_anchored
            told = "the place of COVERCARD_RECORDS_ANCHOR did not take the end of the chain"
            warnings = (*warnings, told)
        if found.refusing:
            return HealthFinding(State.FAILING, facts, warnings)
        behind = found.waiting.set_aside or found.not_anchored is not None
        whole = found.store_up and not behind and not found.lost
        return HealthFinding(State.READY if whole else State.DEGRADED, facts, warnings)

    return Check("records", look)


def clock_check(watch: Callable[[], ClockState]) -> Check:
    """Check of this machine's clock: by a wrong one, records look past their retention."""

    def look() -> HealthFinding:
        found = watch()
        facts: dict[str, object] = {
            "jumped_seconds": round(found.jumped),
            "newest_record_ahead_seconds": max(0, round(found.behind)),
        }
        if found.trouble is None:
            return HealthFinding(State.READY, facts)
        return HealthFinding(State.DEGRADED, facts, (f"{found.trouble}; do not prune",))

    return Check("clock", look)


def policies_check(policies: PolicyStore, today: Callable[[], date]) -> Check:
    """Check of policies in force; an overdue review is a warning."""

    def look() -> HealthFinding:
        day = today()
        in_force = [v for v in policies if v.in_force_on(day)]
        overdue = tuple(
            f"{v.id} {v.version}: review was due {v.review_next}; effect: {v.when_overdue}"
            for v in in_force
            if v.review_overdue_on(day)
        )
        state = State.READY if in_force else State.FAILING
        return HealthFinding(state, {"in_force": len(in_force)}, overdue)

    return Check("policies", look)


def snapshot_check(
    policies: str,
    access: str,
    watched: Callable[[], HealthFinding] | None,
    bundle_made: datetime | None = None,
) -> Check:
    """Check of the snapshot in force, with the digests of its policies and of its clients.

    `bundle_made` is the moment at which its bundle of policies was made.

    `watched` compares it with the files, and tells of a snapshot that was refused; None: nobody
    compares.
    """

    made = {"bundle_made": bundle_made.isoformat()} if bundle_made else {}

    def look() -> HealthFinding:
        found = watched() if watched is not None else HealthFinding(State.READY)
        facts = {"policies": policies, "access": access, **made, **found.facts}
        return HealthFinding(found.state, facts, found.warnings)

    return Check("snapshot", look)


def clients_check(clients: Collection[TrustedClient] | None) -> Check:
    """Check of the clients' key sets. None: open mode.

    Calls with a known key continue while a key set is unavailable; the log names its URL.
    """

    def look() -> HealthFinding:
        if clients is None:
            return HealthFinding(State.READY, {"asked_for": False})
        away = sum(each.keys.away for each in clients)
        demos = sum(each.demo for each in clients)
        warnings = ("a client is trusted whose keys anyone has",) if demos else ()
        facts: dict[str, object] = {
            "asked_for": True,
            "clients": len(clients),
            "key_sets_away": away,
        }
        return HealthFinding(State.DEGRADED if away else State.READY, facts, warnings)

    return Check("clients", look)


def payer_data_check(source: PayerData | None) -> Check:
    """Check of the payer's records; while they are unavailable, answers rest on the calls."""

    def look() -> HealthFinding:
        if source is None:
            return HealthFinding(State.READY, {"source": "none"})
        health = source.health()
        facts: dict[str, object] = {
            "source": health.kind,
            "asked": health.asked,
            "failed": health.failed,
            "refused": health.refused,
        }
        if health.not_told:
            facts["not_told"] = list(health.not_told)
        return HealthFinding(State.READY if health.up else State.DEGRADED, facts)

    return Check("payer_data", look)


def operations_blueprint(
    checks: Sequence[Check],
    metrics: Metrics,
    health: Callable[[], Health],
    snapshot: Mapping[str, str] | None = None,
    ages: Callable[[], Mapping[str, float]] = dict,
) -> Blueprint:
    """The endpoints. Readiness is the worst state of all checks; `snapshot` has its digests.

    `ages` tells the seconds since the last import of each kind of the payer's records.
    """
    operations = Blueprint("operations", __name__)
    order = list(State)

    @operations.get("/livez")
    @open_to_all
    def live() -> Response:
        return json_response({"status": "alive"})

    @operations.get("/readyz")
    @open_to_all
    def ready() -> Response:
        found = {check.name: check.look() for check in checks}
        worst = max((f.state for f in found.values()), key=order.index, default=State.READY)
        body = {
            "status": worst,
            "checks": {name: {"status": f.state, **f.facts} for name, f in found.items()},
            "warnings": [w for f in found.values() for w in f.warnings],
        }
        return json_response(body, 503 if worst is State.FAILING else 200)

    @operations.get("/metrics")
    @open_to_all
    def measure() -> Response:
        found = {check.name: check.look() for check in checks}
        figures = {
            name: CheckFigures(order.index(f.state), len(f.warnings)) for name, f in found.items()
        }
        shown = metrics.exposition(health, figures, snapshot, ages())
        response = Response(shown, content_type=CONTENT_TYPE_LATEST)
        response.headers["Cache-Control"] = "no-store"
        return response

    return operations
