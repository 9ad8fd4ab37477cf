"""Forms of a notice with their buttons: resources created by a click on the notice card."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from cards.advance_notice import FormText
from service.decision.facts import Facts
from service.fhir.member_identity import card_number
from service.fhir.order_details import OrderDetails
from service.policies.notices import Notice, NoticeTask
from service.response.card_group import CardGroup
from service.response.form_filler import FormFiller, PrefillContext
from service.response.response_context import ResponseContext
from service.response.response_links import ResponseLinks


class NoticeSuggestion(StrEnum):
    """Resources created by a button of the notice card."""

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
        return self in (NoticeSuggestion.TASK_AND_FORM, NoticeSuggestion.TASK_FORM_AND_RESPONSE)

    @property
    def brings_response(self) -> bool:
        """Whether a QuestionnaireResponse is created."""
        return self is NoticeSuggestion.TASK_FORM_AND_RESPONSE


class NoticeContext(NamedTuple):
    """A group of orders with the same notice, and their call; `details` by order reference."""

    group: CardGroup
    details: Mapping[str, OrderDetails]
    to: ResponseContext
    facts: Mapping[str, Facts]

    def prefill(self, notice: Notice) -> PrefillContext:
        """The data for prefilling a form of this notice."""
        group, to = self.group, self.to
        coverage = group.first.coverage
        at_hand = to.coverages.get(coverage.reference) if coverage else None
        systems = coverage.payer.member_systems if coverage and coverage.payer else frozenset()
        return PrefillContext(
            patient=to.patient,
            person=to.person,
            member_id=card_number(at_hand, systems) if at_hand else None,
            orders=group.pointed_at,
            coverage=coverage.reference if coverage else None,
            encounter=to.encounter,
            determinations=group.determinations,
            details=tuple(self.details[r] for r in group.references),
            facts=tuple(self.facts[r] for r in group.references),
            notice=notice,
            purpose=notice.doc_purpose,
            shape=to.version.dtr,
            now=to.now,
        )


@dataclass(frozen=True, slots=True)
class NoticeForms:
    """Offers of a notice's forms, by the setting `suggestion`."""

    links: ResponseLinks
    filler: FormFiller
    suggestion: NoticeSuggestion

    def offered(self, notice: Notice, context: NoticeContext) -> Iterator[FormText]:
        """The notice's own form, and those of its records with their own button."""
        if self.suggestion is NoticeSuggestion.NONE:
            return
        yield self._form_text(notice, notice.questionnaire, notice.task, context)
        for kind in notice.records:
            if kind.task is not None:
                yield self._form_text(notice, kind.questionnaire, kind.task, context)

    def _form_text(
        self, notice: Notice, form_id: str, task: NoticeTask, context: NoticeContext
    ) -> FormText:
        form = self.links.form(form_id)
        # Only a requested Questionnaire is known to be missing (CRD 2.2.1 dev-20).
        missing = form.canonical in context.to.questionnaires_missing
        told = context.to.version.task_tells_after_completion
        response = None
        if self.suggestion.brings_response:
            response = self.filler.begun(form, context.prefill(notice))
        return FormText(
            button=task.label,
            description=task.description,
            reason=task.reason,
            after_completion=task.after_completion if told else None,
            questionnaire=form.url,
            form=form if missing and self.suggestion.brings_form else None,
            response=response,
        )
