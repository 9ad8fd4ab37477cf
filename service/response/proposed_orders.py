"""Orders made of an order: with another code, in its place, or beside it.

What the EHR wrote is kept token for token, as far as it is kept (see `order_update`).
"""

from __future__ import annotations

import msgspec

from cards.coverage_information.reader import is_coverage_information
from cards.vocabulary import Json
from service.decision.offers import OfferedService
from service.fhir.document import Resource

CODE_OF = {
    "ServiceRequest": "code",
    "DeviceRequest": "codeCodeableConcept",
    "MedicationRequest": "medicationCodeableConcept",
}
"""The element that bears the one code of an order; other types are not ordered otherwise."""

_encode = msgspec.json.Encoder().encode
_elements = msgspec.json.Decoder(list[msgspec.Raw])

_SHARED = ("subject", "encounter", "insurance", "reasonCode")
"""What an order beside another has of it, under the same name in every type."""
_REQUESTER = ("requester", "orderer", "prescriber")
_WRITTEN_ON = ("authoredOn", "dateTime", "dateWritten", "created")
_OWN = frozenset({"id", "meta", "text", "identifier", "implicitRules"})
"""What is of this very resource and not of one that takes its place."""

Members = dict[str, msgspec.Raw]


def with_another_code(order: Resource, service: OfferedService) -> Members:
    """The order's elements, its code another one; what of it was stated before is left out."""
    members = _without_statements(order)
    # An element may come as a reference to a Medication or Device instead.
    members.pop(CODE_OF[order.type].replace("CodeableConcept", "Reference"), None)
    members[CODE_OF[order.type]] = msgspec.Raw(_encode(concept_of(service)))
    return members


def in_place_of(order: Resource, service: OfferedService, new_id: str) -> Members:
    """A new order of the same type for the same patient, for another service."""
    members = with_another_code(order, service)
    kept = {name: raw for name, raw in members.items() if name not in _OWN}
    return {
        "resourceType": kept.pop("resourceType"),
        "id": msgspec.Raw(_encode(new_id)),
        **kept,
    }


def beside(order: Resource, service: OfferedService, new_id: str, today: str) -> Members:
    """A draft order for the same patient by the same person, for a further service."""
    members = order.compact_members()
    made: Json = {
        "resourceType": service.resource,
        "id": new_id,
        "status": "draft",
        "intent": "order",
        CODE_OF[service.resource]: concept_of(service),
    }
    if "subject" not in members and "patient" in members:
        made["subject"] = members["patient"]
    made |= {name: members[name] for name in _SHARED if name in members}
    for element, sources in (("authoredOn", _WRITTEN_ON), ("requester", _REQUESTER)):
        told = next((members[s] for s in sources if s in members), None)
        if told is not None:
            made[element] = told
    made.setdefault("authoredOn", today)
    return {name: msgspec.Raw(_encode(value)) for name, value in made.items()}


def concept_of(service: OfferedService) -> Json:
    """The code as a CodeableConcept; the text is our own short name."""
    coding = {"system": service.code.system, "code": service.code.value}
    return {"coding": [coding], "text": service.name}


def _without_statements(order: Resource) -> Members:
    members = order.compact_members()
    if "extension" in members:
        written = order.data["extension"]
        kept = [
            raw
            for raw, value in zip(_elements.decode(members["extension"]), written, strict=True)
            if not is_coverage_information(value)
        ]
        if kept:
            members["extension"] = msgspec.Raw(_encode(kept))
        else:
            del members["extension"]
    return members
