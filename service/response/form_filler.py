"""Form filler: QuestionnaireResponses prefilled from call, policy and notice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from cards.naming import NamedService, codes_phrase, fill, services_phrase
from cards.questionnaires import Form
from cards.questionnaires.response_draft import (
    Answers,
    AnswerValue,
    Coded,
    DtrShape,
    Measured,
    ResponseDraft,
    begun_response,
)
from cards.vocabulary import Json
from service.decision.determination import Determination
from service.decision.facts import (
    NOT_TOLD,
    QUANTITY,
    TABLE,
    FactKind,
    Facts,
    FactSpec,
    Family,
    Value,
)
from service.fhir.order_details import OrderDetails
from service.fhir.people import Person
from service.policies.notices import Notice
from service.response.response_links import ResponseLinks

PURPOSE_OF_NO_NEED = "retain-doc"
"""The documentation reason of a form that no notice and no policy gives one."""


@dataclass(frozen=True, slots=True)
class PrefillContext:
    """Data for prefilling a form. References are "Type/id"; `now` has a time zone.

    `determinations` share their policy, coverage and program; there may be none. `details` are
    those of their orders. `purpose` is a code of CRD's documentation reasons.
    """

    patient: str
    person: Person | None
    member_id: str | None
    orders: tuple[str, ...]
    coverage: str | None
    encounter: str | None
    determinations: tuple[Determination, ...]
    details: tuple[OrderDetails, ...]
    facts: tuple[Facts, ...]
    notice: Notice | None
    purpose: str
    shape: DtrShape
    now: datetime


@dataclass(frozen=True, slots=True)
class FormFiller:
    """Prefilling of forms."""

    links: ResponseLinks
    new_uuid: Callable[[], str]

    def begun(self, form: Form, filling: PrefillContext) -> Json:
        """The prefilled QuestionnaireResponse, in progress; the patient's blanks stay empty."""
        services = named_services(filling.determinations)
        return begun_response(
            form,
            ResponseDraft(
                id=self.new_uuid(),
                patient=filling.patient,
                authored=filling.now,
                orders=filling.orders,
                coverage=filling.coverage,
                encounter=filling.encounter,
                purpose=filling.purpose,
                shape=filling.shape,
                answers={**self._answers(filling, services), **_of_facts(form, filling)},
                blanks=_blanks(filling, form, services),
            ),
        )

    def _answers(self, filling: PrefillContext, services: Sequence[NamedService]) -> Answers:
        answers: dict[str, list[AnswerValue]] = {}
        if filling.person and filling.person.name:
            answers["patient-name"] = [filling.person.name]
        if filling.person and filling.person.birth_date:
            answers["birth-date"] = [filling.person.birth_date]
        if services:
            answers["service"] = [f"{services_phrase(services)} ({codes_phrase(services)})"]
            answers["service-code"] = list(dict.fromkeys(s.code for s in services))
        answers["diagnosis"] = list(
            dict.fromkeys(diagnosis for d in filling.details for diagnosis in d.diagnoses)
        )
        if filling.member_id:
            answers["member-id"] = [filling.member_id]
        by = [d.providers for d in filling.details]
        answers["ordering-npi"] = list(dict.fromkeys(n for p in by for n in p.ordered_by))
        answers["performing-npi"] = list(dict.fromkeys(n for p in by for n in p.performed_by))
        answers["units"] = list(_units(filling.facts))
        answers["place"] = [d.place for d in filling.details if d.place]
        if filling.determinations:
            first = filling.determinations[0]
            answers["planned-on"] = list(_planned_days(filling.determinations))
            if first.coverage is not None and first.coverage.payer is not None:
                answers["plan"] = [self.links.insurer(first)]
                send_to, call = first.coverage.payer.requests or (None, None)
                answers["send-to"] = [send_to] if send_to else []
                answers["call"] = [call] if call else []
            if all(d.payer and d.payer.out_of_network for d in filling.determinations):
                answers["performing-network"] = ["out-of-network"]
            if first.policy is not None:
                wording = first.policy.wording[first.program.program]
                answers["reason"] = [fill(wording.statement, services)]
        return answers


def _of_facts(form: Form, filling: PrefillContext) -> Answers:
    """Answers to the items whose linkId names a fact of the policy or of the table.

    Orders that share a form share their answer; where they differ, a person writes it.
    """
    policy = filling.determinations[0].policy if filling.determinations else None
    found: dict[str, list[AnswerValue]] = {}
    for link_id in form.link_ids() if policy is not None else ():
        spec = policy.facts.get(link_id) or TABLE.get(link_id) if policy else None
        if spec is None or (spec.source and spec.source.family is Family.ANSWER):
            continue
        told = {facts.get(spec) for facts in filling.facts}
        fact = told.pop() if len(told) == 1 else NOT_TOLD
        if fact.known:
            found[link_id] = [*_as_answers(spec, fact.value)]
    return found


def _as_answers(spec: FactSpec, value: Value | None) -> Iterator[AnswerValue]:
    """A fact as answers; none of an age, which a form asks as a day or as years of some day."""
    if isinstance(value, frozenset):
        yield from (Coded(code.system, code.value) for code in sorted(value))
    elif isinstance(value, Decimal) and spec.unit not in (None, "1"):
        yield Measured(value, str(spec.unit))
    elif isinstance(value, bool | Decimal | str | date) and spec.kind is not FactKind.AGE:
        yield value


def named_services(determinations: Sequence[Determination]) -> tuple[NamedService, ...]:
    """The matched services of the orders, without duplicates."""
    met = {s.code: s for d in determinations for s in d.matched}
    return tuple(NamedService(s.code.value, s.name, s.group_name) for s in met.values())


def _blanks(
    filling: PrefillContext, form: Form, services: Sequence[NamedService]
) -> Mapping[str, str]:
    """The notice's texts for the blanks of its form."""
    notice = filling.notice
    if notice is None or notice.questionnaire != form.id or not filling.determinations:
        return {}
    first = filling.determinations[0]
    if first.policy is None:
        return {}
    reason = first.policy.reason_for_patient(first.program.program)
    suggested = ((b.blank, b.suggests(reason)) for b in notice.blanks if b.by != "patient")
    return {blank: fill(text, services) for blank, text in suggested if text}


def _units(facts: Sequence[Facts]) -> Sequence[Decimal]:
    """The quantity of the order; several orders have no sum of units."""
    told = facts[0].get(TABLE[QUANTITY]).value if len(facts) == 1 else None
    return [told] if isinstance(told, Decimal) else []


def _planned_days(determinations: Sequence[Determination]) -> Sequence[date]:
    """The day of service, if all orders have the same."""
    days = {d.order.service_day for d in determinations}
    told = days.pop() if len(days) == 1 else None
    return [told.single] if told and told.single else []
