"""Which kind of CRD response a card or a systemAction is, told by its shape alone.

The shapes are those of CRD 2.2.1's response models (resp-22, resp-24, resp-65 and so on), which a
card of 2.0 must fit, too: test kits and clients tell cards apart by nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

Json = Mapping[str, Any]

ORDER_TYPES = {
    "CommunicationRequest",
    "Device",
    "DeviceRequest",
    "Medication",
    "MedicationRequest",
    "NutritionOrder",
    "ServiceRequest",
    "VisionPrescription",
}
COVERAGE_INFORMATION = (
    "http://hl7.org/fhir/us/davinci-crd/StructureDefinition/ext-coverage-information"
)


def kinds(card: Json) -> list[str]:
    """The kinds whose shape the card has; a good card has one."""
    return [kind for kind, fits in _CARDS.items() if fits(card)]


def is_coverage_information(action: Json) -> bool:
    """Whether a systemAction updates an order with coverage information."""
    extensions = action.get("resource", {}).get("extension", [])
    return action["type"] == "update" and any(e["url"] == COVERAGE_INFORMATION for e in extensions)


def _is_external_reference(card: Json) -> bool:
    links = card.get("links", [])
    absolute = all(link["type"] == "absolute" and "appContext" not in link for link in links)
    return bool(links) and absolute and "suggestions" not in card


def _is_instructions(card: Json) -> bool:
    return bool(card.get("detail")) and "links" not in card and "suggestions" not in card


def _is_smart_launch(card: Json) -> bool:
    links = card.get("links", [])
    return bool(links) and all(link["type"] == "smart" for link in links)


def _is_form_completion(card: Json) -> bool:
    asked = [sum(asks_for_a_form(a) for a in actions) for actions in _suggested(card)]
    return bool(asked) and "links" not in card and all(count == 1 for count in asked)


def _is_additional_orders(card: Json) -> bool:
    actions = [a for actions in _suggested(card) for a in actions]
    return bool(actions) and all(_creates(a, ORDER_TYPES) for a in actions)


def _is_alternate_request(card: Json) -> bool:
    changed = [a for actions in _suggested(card) for a in actions if a["type"] != "create"]
    return any(
        a["type"] == "delete" or a["resource"]["resourceType"] != "Coverage" for a in changed
    )


def _is_coverage_update(card: Json) -> bool:
    return any(
        a.get("resource", {}).get("resourceType") == "Coverage"
        for actions in _suggested(card)
        for a in actions
    )


def asks_for_a_form(action: Json) -> bool:
    """Whether an action creates a Task to complete a questionnaire, as test kits recognize one."""
    if not _creates(action, {"Task"}):
        return False
    task = action["resource"]
    codes = {c["code"] for c in task["code"]["coding"]}
    forms = [i["valueCanonical"] for i in task["input"] if i["type"].get("text") == "questionnaire"]
    addressed = [urlsplit(form) for form in forms]
    return "complete-questionnaire" in codes and [
        (a.scheme in ("http", "https"), bool(a.hostname), "|" in a.path) for a in addressed
    ] == [(True, True, False)]


def _suggested(card: Json) -> Iterator[list[Json]]:
    for suggestion in card.get("suggestions", []):
        yield suggestion.get("actions", [])


def _creates(action: Json, types: set[str]) -> bool:
    return action["type"] == "create" and action["resource"]["resourceType"] in types


_CARDS: Mapping[str, Callable[[Json], bool]] = {
    "external reference": _is_external_reference,
    "instructions": _is_instructions,
    "SMART launch": _is_smart_launch,
    "form completion": _is_form_completion,
    "additional orders": _is_additional_orders,
    "alternate request": _is_alternate_request,
    "coverage update": _is_coverage_update,
}
