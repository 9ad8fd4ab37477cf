"""Records as tests need them: synthetic, small, each with an id of its own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime

from service.decision.coverage import Coverage, CoverageFinding, CoverageOutcome
from service.decision.determination import Determination, TraceStep, UndeterminedReason
from service.decision.order import Code, Order, OrderCoding, ServiceDay
from service.decision.policy import Covered, Program
from service.decision.programs import ProgramFinding
from service.decision_log.call_record import CallRecord, CardShown, DeterminationRecord
from service.decision_log.instants import new_call_id

AT = datetime(2026, 11, 22, 15, 30, tzinfo=UTC)
CPT = "http://www.ama-assn.org/go/cpt"


def determination(order: str = "ServiceRequest/mrs", coverage: str = "Coverage/a") -> Determination:
    code = Code(CPT, "76390")
    found = Coverage(coverage, "prefetch.coverage", payer=None, payer_told=True)
    return Determination(
        order=Order(order, "context", (OrderCoding(code, "code", f"{CPT}|76390"),)),
        finding=CoverageFinding(CoverageOutcome.FOUND, "the only one", found),
        covered=Covered.CONDITIONAL,
        program=ProgramFinding(Program.UNKNOWN, "nothing", ""),
        day=ServiceDay(date(2026, 12, 1), date(2026, 12, 1), "occurrenceDateTime"),
        undetermined=UndeterminedReason.NO_POLICY,
        billing_codes=(code,),
        trace=(TraceStep("date", "2026-12-01", "occurrenceDateTime"),),
    )


def call(
    *,
    at: datetime = AT,
    client: str = "clinic",
    patient: str = "Patient/ann",
    assertion_id: str | None = "cc-1",
    order: str = "ServiceRequest/mrs",
    coverage: str = "Coverage/a",
    cards: Sequence[CardShown] = (),
    answer: bytes = b'{"cards":[],"systemActions":[]}',
    request: bytes | None = b'{"hook":"order-sign"}',
    hook_instance: str = "instance",
    repeated: bool = False,
) -> CallRecord:
    return CallRecord(
        id=new_call_id(at),
        client=client,
        service_id="order-sign-crd",
        hook="order-sign",
        received_at=at,
        seconds=0.002,
        status=200,
        request=request,
        answer=answer,
        service_version="0.1.0",
        hook_instance=hook_instance,
        crd_version="2.0",
        ehr="https://ehr.example.org/fhir",
        patient=patient,
        decided=(DeterminationRecord(determination(order, coverage), assertion_id, stated=True),),
        cards=tuple(cards),
        repeated=repeated,
    )


def shown(uuid: str, policy: str = "mr-spectroscopy", *, form: bool = False) -> CardShown:
    return CardShown(uuid, "claim" if form else "guideline", policy, "2023-10-01", (), form)


def answer_showing(*uuids: str) -> bytes:
    """An answer's bytes with cards of these uuids."""
    source = {"label": "Plan", "topic": {"code": "guideline", "system": "s"}}
    cards = [
        {"uuid": u, "summary": "Not covered", "indicator": "warning", "source": source}
        for u in uuids
    ]
    return json.dumps({"cards": cards, "systemActions": []}).encode()
