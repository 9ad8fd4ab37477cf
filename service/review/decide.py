"""Decide step: read an order, choose its coverage, evaluate it, apply the notices on file.

Hooks and $questionnaire-package share this step: the same order gets the same determination.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import date, datetime

from service.crd.cds_service import ReviewTarget
from service.decision.coverage import Coverage, CoverageFinding, choose_coverage
from service.decision.documentation_on_file import with_documentation_on_file
from service.decision.evaluate import evaluate, in_scope, service_day
from service.decision.facts import FactSpec
from service.decision.order import Order, ServiceDay
from service.decision.policy import Policies
from service.decision.situations import NO_SITUATIONS, Situations
from service.decision.submitted_form import (
    FormAcceptanceRule,
    FormsAtHand,
    SubmittedForm,
    with_notices_on_file,
)
from service.ehr.fhir_query import FhirQuery
from service.ehr.unread_data import has_unread_code, unreachable, with_trouble
from service.fhir.document import Resource
from service.fhir.encounters import EncounterClasses
from service.fhir.fact_reader import FhirFacts
from service.fhir.fact_readers.at_hand import FormOf
from service.fhir.order_details import OrderDetails
from service.fhir.orders import VISIT_TYPE, patients_of, read_order
from service.fhir.questionnaire_responses import named_by
from service.fhir.resources import Resources
from service.interpreter_lock import giving_way
from service.response.response_context import Decided
from service.review.alike_orders import NotInCommon, SharedDetermination, order_of
from service.review.payer_facts import with_payers_facts
from service.review.payer_records import PayerRecords, RecordsOfCall


@dataclass(frozen=True, slots=True)
class DecisionContext:
    """The context of decisions: a call's data and day.

    `patient` is "Patient/id"; `now`, the time of the call in the service's time zone, and `today`
    its day; `started`,
    its start by `time.monotonic()`; `failed`, the EHR's unanswered queries; `searched`, the types
    and codes that it was searched for and answered in full; `submitted_forms`, the completed
    forms of this service at hand; `performer`, the reference to whom the orders go to, where the
    call tells it; `other_payers_count`, whether a coverage of another payer makes several (CRD
    2.2.1 hook-13).
    """

    patient: str
    encounter_id: str | None
    resources: Resources
    coverages: Sequence[Coverage]
    now: datetime
    started: float = field(default_factory=time.monotonic)
    failed: Set[FhirQuery] = frozenset()
    searched: Set[tuple[str, str]] = frozenset()
    submitted_forms: Sequence[SubmittedForm] = ()
    performer: str | None = None
    other_payers_count: bool = True

    today: date = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "today", self.now.date())


@dataclass(frozen=True, slots=True)
class DecideStep:
    """Decisions by `policies` and `payer_records`; `form_rules`: acceptance rules of forms;
    `encounter_classes`, what the classes of EHRs' encounters mean; `situations`, where the notices
    of a day are not given.

    `form_of`: the id of the form that a canonical names, if it is one of this service's.
    `by_facts`: whether any policy has rules; without, nothing is fetched for facts.
    """

    policies: Policies
    form_rules: Sequence[FormAcceptanceRule]
    payer_records: PayerRecords
    form_of: FormOf
    by_facts: bool = True
    encounter_classes: EncounterClasses = field(default_factory=EncounterClasses)
    situations: Callable[[date], Situations] = lambda _today: NO_SITUATIONS

    def missing(
        self, target: ReviewTarget, context: DecisionContext
    ) -> tuple[FhirFacts, Sequence[FactSpec]] | None:
        """The facts that would settle an order that rules leave open, by what is at hand.

        None where no policy with rules speaks of it, or nothing is open. The payer's own records
        are left aside: they decide no rule.
        """
        order = _read(target, context.resources, context.patient)
        codes = [c.code for c in order.codings if c.code is not None]
        if not any(v.rules for code in codes for v in self.policies.versions_for(code)):
            return None
        day = service_day(order, context.today)
        chosen = choose_coverage(context.coverages, order, context.patient, day)
        facts = self._facts(target, order, chosen, day, context)
        determination = evaluate(
            order,
            chosen,
            today=context.today,
            policies=self.policies,
            patient=context.patient,
            facts=facts,
        )
        return (facts, determination.missing) if determination.missing else None

    def names(self, resource: Resource, resources: Resources) -> bool:
        """Whether a policy names a code of the order or visit, in whichever version."""
        codings = _order(resource, resources).codings
        return any(c.code is not None and self.policies.versions_for(c.code) for c in codings)

    def decide(self, targets: Sequence[ReviewTarget], context: DecisionContext) -> list[Decided]:
        """The determination of each order; orders that are not to be carried out are left out.

        So is a visit that no policy in force speaks of, while an order is always answered (CRD
        2.2.1 hook-16).
        """
        read = [(t, _read(t, context.resources, context.patient)) for t in giving_way(targets)]
        read = [(target, order) for target, order in read if in_scope(order)]
        alike = {target.alike.resource: target.alike for target, _ in read if target.alike}
        once = [(a, _read(a, context.resources, context.patient)) for a in alike.values()]
        known = self.payer_records.of_call(
            context.patient,
            [(t.resource, order) for t, order in (*once, *read) if t.alike is None],
            context.resources,
            context.now,
            context.started,
            context.performer,
        )
        forms = FormsAtHand(context.submitted_forms, self.form_rules, context.patient)
        shared = {
            target.resource: self._decide_once(target, order, context, known, forms)
            for target, order in once
        }
        decided = [
            self._of_alike(target, order, found, context)
            if target.alike and (found := shared[target.alike.resource])
            else self._decide(target, order, context, known, forms)
            for target, order in giving_way(read)
        ]
        return [d for d in decided if d.resource.type != VISIT_TYPE or d.determination.policy]

    def _decide_once(
        self,
        alike: ReviewTarget,
        order: Order,
        context: DecisionContext,
        known: RecordsOfCall | None,
        forms: FormsAtHand,
    ) -> SharedDetermination | None:
        """The determination of alike orders; None where each is to be decided by itself."""
        try:
            decided = self._decide(alike, order, context, known, forms)
            return SharedDetermination(decided.determination)
        except NotInCommon:
            return None

    def _of_alike(
        self,
        target: ReviewTarget,
        order: Order,
        shared: SharedDetermination,
        context: DecisionContext,
    ) -> Decided:
        """The decision of an order, by that of its stand-in."""
        found = shared.of(order)
        facts = self._facts(target, order, found.finding, found.day, context)
        details = OrderDetails(target.resource, context.resources, context.performer)
        return Decided(target.resource, found, details, facts)

    def _decide(
        self,
        target: ReviewTarget,
        order: Order,
        context: DecisionContext,
        known: RecordsOfCall | None,
        forms: FormsAtHand,
    ) -> Decided:
        resource, resources = target.resource, context.resources
        day = service_day(order, context.today)
        chosen = choose_coverage(
            context.coverages,
            order,
            context.patient,
            day,
            others_count=context.other_payers_count,
        )
        chosen = with_trouble(chosen, order, resource, resources, context.failed)
        payer = None
        if known is not None:
            asked_about = target.alike.resource if target.alike else resource
            chosen, payer = known.of(asked_about, chosen, day)
        facts = self._facts(target, order, chosen, day, context)
        determination = evaluate(
            order,
            chosen,
            today=context.today,
            policies=self.policies,
            patient=context.patient,
            situations=self.situations(context.today),
            unread_code=has_unread_code(resource, resources, context.failed),
            payer=payer,
            facts=with_payers_facts(facts, payer),
        )
        determination = with_notices_on_file(determination, forms, today=context.today)
        if context.submitted_forms:
            determination = with_documentation_on_file(
                determination,
                context.submitted_forms,
                patient=context.patient,
                named=frozenset(map(resources.local, named_by(resource.data))),
            )
        details = OrderDetails(resource, resources, context.performer)
        return Decided(resource, determination, details, facts, _depends_on(target))

    def _facts(
        self,
        target: ReviewTarget,
        order: Order,
        chosen: CoverageFinding,
        day: ServiceDay,
        context: DecisionContext,
    ) -> FhirFacts:
        """The facts of an order; those that were read to plan what to fetch count on, if nothing
        was fetched since.
        """

        def read() -> FhirFacts:
            return FhirFacts(
                order=order,
                resource=target.resource,
                finding=chosen,
                resources=context.resources,
                patient=context.patient,
                day=day,
                today=context.today,
                form_of=self.form_of,
                encounter_id=context.encounter_id,
                classes=self.encounter_classes,
                searched=context.searched,
                unreachable=unreachable(context.failed) if context.failed else frozenset(),
            )

        if context.failed or context.searched:
            return read()
        # The payer's records may have corrected the coverage: then it is another object.
        under = (chosen.outcome, id(chosen.coverage))
        key = ("facts", target.resource, day, under)
        return context.resources.once(key, read)


def _depends_on(target: ReviewTarget) -> tuple[str, ...]:
    """The appointment that set the order's day, where it is one of the EHR's."""
    booked = target.appointment
    if booked is None or booked is target.resource or booked.id is None:
        return ()
    return (booked.reference,)


def _order(resource: Resource, resources: Resources) -> Order:
    """The order, read once as long as nothing new is at hand."""
    return resources.once(("order", resource), lambda: read_order(resource, resources))


def _read(target: ReviewTarget, resources: Resources, patient: str) -> Order:
    """The target's order; its appointment, if any, sets the day of service.

    Of an appointment of several patients (mother and child), this patient's part is read.
    """
    if target.alike is not None:
        return order_of(target.resource, _read(target.alike, resources, patient))
    order = _order(target.resource, resources)
    if "participant" in target.resource.data and patient in patients_of(target.resource, resources):
        order = replace(order, patient=patient)
    if target.appointment is None or target.appointment is target.resource:
        return order
    appointment = _order(target.appointment, resources)
    return replace(order, service_day=appointment.service_day or order.service_day)
