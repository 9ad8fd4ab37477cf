"""The use case: one hook call from its bytes to its answer, its stops in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo

from cards.vocabulary import Answer
from service.crd.request import HookRequest, RequestReader
from service.crd.service import Asked, Service
from service.decision.coverage import choose_coverage
from service.decision.evaluate import evaluate, in_scope, service_day
from service.decision.model import (
    Coverage,
    CoverageFinding,
    CoverageOutcome,
    Determination,
    Order,
    Policies,
)
from service.errors import UnhandledPayer, UnknownService
from service.fhir.coverages import PayerDirectory, read_coverage
from service.fhir.encounters import is_emergency
from service.fhir.orders import read_order
from service.fhir.resources import Resources, resources_in
from service.respond import Addressee, Decided, Responder


@dataclass(frozen=True, slots=True)
class Review:
    """One call reviewed: what was asked, what was determined, what is answered."""

    request: HookRequest
    determinations: tuple[Determination, ...]
    answer: Answer


class OrderReview:
    """Reviews hook calls. Everything that it needs is handed in; it keeps nothing of a call.

    `clock` gives the current time with a time zone; `zone` is where a day begins.
    """

    def __init__(
        self,
        services: Sequence[Service],
        policies: Policies,
        payers: PayerDirectory,
        responder: Responder,
        clock: Callable[[], datetime],
        zone: tzinfo,
    ) -> None:
        self._readers: Mapping[str, RequestReader] = {s.id: RequestReader(s) for s in services}
        self._policies = policies
        self._payers = payers
        self._responder = responder
        self._clock = clock
        self._zone = zone

    def review(self, service_id: str, body: bytes) -> Review:
        """Answer the call in `body`. Raises a RequestError that says what is wrong with it."""
        reader = self._readers.get(service_id)
        if reader is None:
            raise UnknownService("no CDS service has this id; GET /cds-services lists them")
        request = reader.read(body)
        now = self._clock().astimezone(self._zone)
        resources = gather(request)
        asked = request.service.asked(request, resources)
        coverages = [
            read_coverage(r, resources, self._payers) for r in resources.of_type("Coverage")
        ]
        decided = [
            Decided(a.resource, self._decide(order, request, coverages, resources, now))
            for a in asked
            if in_scope(order := _read(a, resources))
        ]
        determinations = tuple(item.determination for item in decided)
        if request.version.needs_one_coverage:
            refuse_without_payer(determinations)
        to = Addressee(
            version=request.version,
            options=request.options,
            patient=request.patient,
            encounter=f"Encounter/{request.encounter_id}" if request.encounter_id else None,
            ehr=request.fhir_server or "",
            orders_in_request=len(asked),
            answering=request.service.answering,
            now=now,
        )
        return Review(request, determinations, self._responder.answer(decided, to))

    def _decide(
        self,
        order: Order,
        request: HookRequest,
        coverages: Sequence[Coverage],
        resources: Resources,
        now: datetime,
    ) -> Determination:
        today = now.date()
        finding = choose_coverage(coverages, order, request.patient, service_day(order, today))
        return evaluate(
            order,
            finding,
            today=today,
            policies=self._policies,
            patient=request.patient,
            emergency=is_emergency(resources, request.encounter_id),
        )


def _read(asked: Asked, resources: Resources) -> Order:
    """The order asked about; where an appointment was made for it, that sets the day of service."""
    order = read_order(asked.resource, resources)
    if asked.appointment is None or asked.appointment is asked.resource:
        return order
    appointment = read_order(asked.appointment, resources)
    return replace(order, service_day=appointment.service_day or order.service_day)


def gather(request: HookRequest) -> Resources:
    """Everything that came with the call: the context's resources, then the prefetched ones."""
    resources = Resources()
    given: list[tuple[str, Mapping[str, object]]] = [
        ("context", request.context),
        ("prefetch", request.prefetch),
    ]
    for name, values in given:
        for key, value in values.items():
            for resource in resources_in(request.document, value, (name, key)):
                resources.add(resource)
    return resources


def refuse_without_payer(determinations: Sequence[Determination]) -> None:
    """Raise UnhandledPayer where no order has one coverage of a payer of ours.

    CRD 2.2.1 hook-13: no coverage, several, or one whose payer is missing or not ours is a 400.
    An inactive coverage is none of these: it is answered (resp-45).
    """
    if not determinations or any(_answerable(d.finding) for d in determinations):
        return
    finding = determinations[0].finding
    coverage = finding.coverage
    if coverage is None:
        raise UnhandledPayer(_EXPECTED[finding.outcome], "prefetch.coverage")
    if coverage.payer_told:
        raise UnhandledPayer("the payer's identifier is not one handled here", coverage.place)
    raise UnhandledPayer("expected a payor with the identifier of its payer", coverage.place)


def _answerable(finding: CoverageFinding) -> bool:
    if finding.outcome is CoverageOutcome.UNREACHABLE:
        return True
    return finding.coverage is not None and finding.coverage.payer is not None


_EXPECTED = {
    CoverageOutcome.NONE: "expected the patient's coverage, none was given",
    CoverageOutcome.SEVERAL: "expected one active coverage, several fit",
    CoverageOutcome.NOT_ACTIVE: "expected one active coverage, none is active that day",
    CoverageOutcome.OTHER_PATIENT: "expected a coverage of this patient",
}
