"""The Task that puts a form on somebody's to-do list (CRD profile-taskquestionnaire)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cards.fhir_json import CRD_TEMP, SDC_TEMP, concept
from cards.vocabulary import Json


@dataclass(frozen=True, slots=True)
class PayerReference:
    """The payer as a Task can name it: the EHR's own reference to it, or its identifier."""

    name: str
    reference: str | None = None
    system: str | None = None
    identifier: str | None = None

    def as_json(self) -> Json:
        made: Json = {"type": "Organization", "display": self.name}
        if self.reference:
            made["reference"] = self.reference
        if self.system and self.identifier:
            made["identifier"] = {"system": self.system, "value": self.identifier}
        return made


@dataclass(frozen=True, slots=True)
class FormRequest:
    """Which form, for whom, on behalf of which orders.

    `questionnaire` is the canonical without a version; `patient`, `encounter` and `orders` are
    "Type/id"; `authored` carries its time zone; `after_completion` is a code of CRD's
    afterCompletionCode value set.
    """

    questionnaire: str
    description: str
    reason: str
    after_completion: str
    patient: str
    encounter: str | None
    orders: tuple[str, ...]
    payer: PayerReference
    authored: datetime


def questionnaire_task(form: FormRequest) -> Json:
    """A Task that passes both versions' profile and that a client can tell by its input's text."""
    task: Json = {
        "resourceType": "Task",
        "basedOn": [{"reference": r} for r in form.orders],
        "status": "ready",
        "intent": "order",
        "code": concept(SDC_TEMP, "complete-questionnaire"),
        "description": form.description,
        "for": {"reference": form.patient},
        "authoredOn": form.authored.isoformat(timespec="seconds"),
        "requester": form.payer.as_json(),
        "reasonCode": concept(text=form.reason),
        "input": [
            {
                "type": concept(SDC_TEMP, "questionnaire", "questionnaire"),
                "valueCanonical": form.questionnaire,
            },
            {
                "type": concept(CRD_TEMP, "after-completion-action"),
                "valueCodeableConcept": concept(CRD_TEMP, form.after_completion),
            },
        ],
    }
    if form.encounter:
        task["encounter"] = {"reference": form.encounter}
    return task
