"""The Task that puts a form on somebody's to-do list (CRD profile-taskquestionnaire)."""

from __future__ import annotations

from datetime import datetime

import msgspec

from cards.fhir_json import CRD_TEMP, SDC_TEMP, concept
from cards.vocabulary import Json

_CONTAINED_PAYER = "payer"


class PayerReference(msgspec.Struct, frozen=True):
    """The payer as a Task can name it: by its identifier, or by its name alone."""

    name: str
    system: str | None = None
    identifier: str | None = None

    def as_json(self) -> Json:
        """The reference; one by name alone points at the `contained` Organization."""
        made: Json = {"type": "Organization", "display": self.name}
        if self.system and self.identifier:
            made["identifier"] = {"system": self.system, "value": self.identifier}
        else:
            made["reference"] = f"#{_CONTAINED_PAYER}"
        return made

    def contained(self) -> list[Json]:
        """What a resource must contain for the reference to lead somewhere."""
        if self.system and self.identifier:
            return []
        organization = {"resourceType": "Organization", "id": _CONTAINED_PAYER}
        return [{**organization, "active": True, "name": self.name}]


class FormRequest(msgspec.Struct, frozen=True):
    """Which form, for whom, on behalf of which orders.

    `questionnaire` is the canonical without a version; `patient`, `encounter` and `orders` are
    "Type/id", `orders` those that have an id; `authored` carries its time zone; `after_completion`
    is a code of CRD's afterCompletionCode value set. `response` is the "Type/id" of a response
    already begun.
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
    response: str | None = None


def questionnaire_task(form: FormRequest) -> Json:
    """A Task that passes both versions' profile and that a client can tell by its input's text."""
    task: Json = {
        "resourceType": "Task",
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
    if form.orders:
        task["basedOn"] = [{"reference": r} for r in form.orders]
    if form.encounter:
        task["encounter"] = {"reference": form.encounter}
    if contained := form.payer.contained():
        task["contained"] = contained
    if form.response:
        task["output"] = [
            {
                "type": concept(SDC_TEMP, "questionnaire-response"),
                "valueReference": {"reference": form.response},
            }
        ]
    return task
