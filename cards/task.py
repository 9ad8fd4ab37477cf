"""Task for completing a form (CRD profile-taskquestionnaire)."""

from __future__ import annotations

from datetime import datetime

import msgspec

from cards.fhir_json import CRD_TEMP, SDC_TEMP, concept
from cards.vocabulary import Json


class PayerReference(msgspec.Struct, frozen=True):
    """The payer in a Task: by its identifier, or by its name alone."""

    name: str
    system: str | None = None
    identifier: str | None = None

    def as_json(self) -> Json:
        """The reference.

        By name alone it leads nowhere: a contained Organization would be found in the Task, but not
        by a reader that takes the whole answer for the resource (as the logical model does).
        """
        made: Json = {"type": "Organization", "display": self.name}
        if self.system and self.identifier:
            made["identifier"] = {"system": self.system, "value": self.identifier}
        return made


class FormRequest(msgspec.Struct, frozen=True):
    """A request to complete a form, for a patient and orders.

    `id` is the Task's, for a resource to be created carries one too (CRD 2.2.1 resp-62);
    `questionnaire` is the canonical without a version; `patient`, `encounter` and `orders` are
    "Type/id", `orders` those that have an id; `authored` carries its time zone; `after_completion`
    is a code of CRD's afterCompletionCode value set, None where the version has none. `response` is
    the "Type/id" of a response already begun.
    """

    id: str
    questionnaire: str
    description: str
    reason: str
    after_completion: str | None
    patient: str
    encounter: str | None
    orders: tuple[str, ...]
    payer: PayerReference
    authored: datetime
    response: str | None = None


def written_instant(at: datetime) -> str:
    """An instant as a FHIR dateTime, to the second."""
    return at.isoformat(timespec="seconds")


def questionnaire_task(form: FormRequest) -> Json:
    """A Task of the profile, recognizable for clients by its input's text."""
    task: Json = {
        "resourceType": "Task",
        "id": form.id,
        "status": "ready",
        "intent": "order",
        "code": concept(SDC_TEMP, "complete-questionnaire"),
        "description": form.description,
        "for": {"reference": form.patient},
        "authoredOn": written_instant(form.authored),
        "requester": form.payer.as_json(),
        "reasonCode": concept(text=form.reason),
        "input": [
            {
                "type": concept(SDC_TEMP, "questionnaire", "questionnaire"),
                "valueCanonical": form.questionnaire,
            }
        ],
    }
    if form.after_completion:
        task["input"].append(
            {
                "type": concept(CRD_TEMP, "after-completion-action"),
                "valueCodeableConcept": concept(CRD_TEMP, form.after_completion),
            }
        )
    if form.orders:
        task["basedOn"] = [{"reference": r} for r in form.orders]
    if form.encounter:
        task["encounter"] = {"reference": form.encounter}
    if form.response:
        task["output"] = [
            {
                "type": concept(SDC_TEMP, "questionnaire-response"),
                "valueReference": {"reference": form.response},
            }
        ]
    return task
