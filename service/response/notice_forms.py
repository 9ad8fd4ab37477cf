"""Forms of a notice with their buttons: resources created by a click on the notice card."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from cards.advance_notice import FormText
from service.decision.facts import Facts
from service.fhir.order_details import OrderDetails
from service.policies.notices import Notice, NoticeTask
from service.response.card_group import CardGroup
from service.response.form_buttons import FormButtons, FormSuggestion, prefill_context
from service.response.form_filler import PrefillContext
from service.response.response_context import ResponseContext


class NoticeContext(NamedTuple):
    """A group of orders with the same notice, and their call; `details` by order reference."""

    group: CardGroup
    details: Mapping[str, OrderDetails]
    to: ResponseContext
    facts: Mapping[str, Facts]

    def prefill(self, notice: Notice) -> PrefillContext:
        """The data for prefilling a form of this notice."""
        group = self.group
        return prefill_context(
            group.determinations,
            group.pointed_at,
            [self.details[r] for r in group.references],
            [self.facts[r] for r in group.references],
            self.to,
            purpose=notice.doc_purpose,
            notice=notice,
        )


@dataclass(frozen=True, slots=True)
class NoticeForms:
    """Offers of a notice's forms."""

    buttons: FormButtons

    def offered(self, notice: Notice, context: NoticeContext) -> Iterator[FormText]:
        """The notice's own form, and those of its records with their own button."""
        if self.buttons.suggestion is FormSuggestion.NONE:
            return
        yield self._form_text(notice, notice.questionnaire, notice.task, context)
        for kind in notice.records:
            if kind.task is not None:
                yield self._form_text(notice, kind.questionnaire, kind.task, context)

    def _form_text(
        self, notice: Notice, form_id: str, task: NoticeTask, context: NoticeContext
    ) -> FormText:
        told = context.to.version.task_tells_after_completion
        beside = self.buttons.beside_task(form_id, context.to, lambda: context.prefill(notice))
        return FormText(
            button=task.label,
            description=task.description,
            reason=task.reason,
            after_completion=task.after_completion if told else None,
            questionnaire=self.buttons.links.form(form_id).url,
            form=beside.form,
            response=beside.response,
        )
