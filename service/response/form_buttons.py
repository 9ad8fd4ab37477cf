"""Buttons of forms: the resources that a click creates besides the Task, by the setting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

from cards.questionnaires import Form
from cards.questionnaires.payer_address import addressed
from cards.vocabulary import Json
from service.decision.determination import Determination
from service.decision.facts import Facts
from service.fhir.member_identity import card_number
from service.fhir.order_details import OrderDetails
from service.fhir.people import read_person
from service.policies.notices import Notice
from service.response.form_filler import FormFiller, PrefillContext
from service.response.response_context import ResponseContext
from service.response.response_links import ResponseLinks


class FormSuggestion(StrEnum):
    """Resources created by the button of a form."""

    NONE = "none"
    """No button: the EHR finds the form by DTR (CRD 2.2.1 resp-59)."""
    TASK = "task"
    TASK_AND_FORM = "task-and-form"
    """Also the Questionnaire, if the EHR was asked and has no copy."""
    TASK_FORM_AND_RESPONSE = "task-form-and-response"
    """Also a prefilled QuestionnaireResponse; beyond CRD's form completion response (resp-65)."""

    @property
    def brings_form(self) -> bool:
        """Whether the Questionnaire is created."""
        return self in (FormSuggestion.TASK_AND_FORM, FormSuggestion.TASK_FORM_AND_RESPONSE)

    @property
    def brings_response(self) -> bool:
        """Whether a QuestionnaireResponse is created."""
        return self is FormSuggestion.TASK_FORM_AND_RESPONSE


class BesideTask(NamedTuple):
    """The Questionnaire and the begun response; None for each that the EHR does not get."""

    form: Form | None
    response: Json | None


@dataclass(frozen=True, slots=True)
class FormButtons:
    """The resources of each button, by the setting `suggestion`."""

    links: ResponseLinks
    filler: FormFiller
    suggestion: FormSuggestion

    def beside_task(
        self, form_id: str, to: ResponseContext, prefill: Callable[[], PrefillContext]
    ) -> BesideTask:
        """The resources of a form's button; `prefill` gives the data of its response."""
        form = self.links.form(form_id)
        # Only a requested Questionnaire is known to be missing (CRD 2.2.1 dev-20).
        brought = self.suggestion.brings_form and form.canonical in to.questionnaires_missing
        response = None
        if self.suggestion.brings_response:
            response = self.filler.begun(form, prefill())
        return BesideTask(self._brought(form) if brought else None, response)

    def _brought(self, form: Form) -> Form:
        """The form for an EHR that keeps it: with this payer's address in it."""
        resource = addressed(form.resource, f"{self.links.public_url}/fhir")
        return replace(form, resource=resource)


def prefill_context(
    determinations: Sequence[Determination],
    orders: Sequence[str],
    details: Sequence[OrderDetails],
    facts: Sequence[Facts],
    to: ResponseContext,
    *,
    purpose: str,
    notice: Notice | None = None,
) -> PrefillContext:
    """The data for prefilling a form for these orders, which share policy, coverage and program.

    `orders` are the references that the EHR knows, `purpose` is a code of CRD's documentation
    reasons.
    """
    coverage = determinations[0].coverage
    at_hand = to.coverages.get(coverage.reference) if coverage else None
    systems = coverage.payer.member_systems if coverage and coverage.payer else frozenset()
    return PrefillContext(
        patient=to.patient,
        person=read_person(to.patient_at_hand) if to.patient_at_hand else None,
        member_id=card_number(at_hand, systems) if at_hand else None,
        orders=tuple(orders),
        coverage=coverage.reference if coverage else None,
        encounter=to.encounter,
        determinations=tuple(determinations),
        details=tuple(details),
        facts=tuple(facts),
        notice=notice,
        purpose=purpose,
        shape=to.version.dtr,
        now=to.now,
    )
