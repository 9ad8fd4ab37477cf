"""What every 200 must keep, whatever was asked: CDS Hooks 2.0, CRD's cards, and valid FHIR."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from fhir.resources.R4B import get_fhir_model_class
from jsonschema import Draft202012Validator

from tests.contract.card_kinds import kinds

CODING = {
    "type": "object",
    "required": ["code", "system"],
    "properties": {
        "code": {"type": "string", "minLength": 1},
        "system": {"type": "string", "minLength": 1},
        "display": {"type": "string", "minLength": 1},
    },
    "additionalProperties": False,
}
ACTION = {
    "type": "object",
    "required": ["type", "description"],
    "properties": {
        "type": {"enum": ["create", "update", "delete"]},
        "description": {"type": "string", "minLength": 1},
        "resource": {"type": "object", "required": ["resourceType"]},
        "resourceId": {"type": "string", "minLength": 1},
        "extension": {"type": "object", "minProperties": 1},
    },
    "allOf": [
        {
            "if": {"properties": {"type": {"enum": ["create", "update"]}}},
            "then": {"required": ["resource"]},
            "else": {"required": ["resourceId"]},
        }
    ],
    "additionalProperties": False,
}
CARD = {
    "type": "object",
    "required": ["uuid", "summary", "indicator", "source"],
    "properties": {
        "uuid": {"type": "string", "minLength": 1},
        "summary": {"type": "string", "minLength": 1, "maxLength": 139},
        "detail": {"type": "string", "minLength": 1},
        "indicator": {"enum": ["info", "warning"]},
        "source": {
            "type": "object",
            "required": ["label", "topic"],
            "properties": {"label": {"type": "string", "minLength": 1}, "topic": CODING},
            "additionalProperties": False,
        },
        "suggestions": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["label", "uuid"],
                "properties": {
                    "label": {"type": "string", "minLength": 1},
                    "uuid": {"type": "string", "minLength": 1},
                    "isRecommended": {"type": "boolean"},
                    "actions": {"type": "array", "minItems": 1, "items": ACTION},
                },
                "additionalProperties": False,
            },
        },
        "selectionBehavior": {"enum": ["at-most-one", "any"]},
        "overrideReasons": {
            "type": "array",
            "minItems": 1,
            "items": {**CODING, "required": ["code", "system", "display"]},
        },
        "links": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["label", "url", "type"],
                "properties": {
                    "label": {"type": "string", "minLength": 1},
                    "url": {"type": "string", "pattern": "^https?://"},
                    "type": {"enum": ["absolute", "smart"]},
                    "appContext": {"type": "string", "minLength": 1},
                },
                "if": {"required": ["appContext"]},
                "then": {"properties": {"type": {"const": "smart"}}},
                "additionalProperties": False,
            },
        },
        "extension": {
            "type": "object",
            "required": ["davinci-crd.associated-resource"],
            "properties": {
                "davinci-crd.associated-resource": {
                    "type": "array",
                    "minItems": 1,
                    "items": {"type": "object", "required": ["reference"]},
                }
            },
        },
    },
    "dependentRequired": {"suggestions": ["selectionBehavior"]},
    "additionalProperties": False,
}
ANSWER = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["cards"],
    "properties": {
        "cards": {"type": "array", "items": CARD},
        "systemActions": {"type": "array", "items": ACTION},
    },
    "additionalProperties": False,
}
_validator = Draft202012Validator(ANSWER)


def check_answer(answer: Mapping[str, Any]) -> None:
    """Assert the shape of an answer, and that what it creates is valid FHIR R4."""
    errors = [f"{e.json_path}: {e.message}" for e in _validator.iter_errors(answer)]
    assert errors == []
    for card in answer["cards"]:
        # Only the suggestion that 2.0 has beside the launch of a SMART app does nothing.
        idle = [s for s in card.get("suggestions", []) if "actions" not in s]
        assert not idle or kinds(card) == ["SMART launch"]
    for action in created(answer):
        resource = action["resource"]
        get_fhir_model_class(resource["resourceType"]).model_validate(resource)
    for extension in stated(answer):
        get_fhir_model_class("Extension").model_validate(extension)
    uuids = [c["uuid"] for c in answer["cards"]]
    assert len(uuids) == len(set(uuids))
    for card in answer["cards"]:
        for link in card.get("links", []):
            assert urlsplit(link["url"]).hostname


def is_silent_about_an_order(request: Mapping[str, Any], answer: Mapping[str, Any]) -> bool:
    """Whether a 200 of a primary hook says nothing although an order in scope was there.

    Told from the request alone; where it asks for less (its configuration), or its orders bear
    statements already, silence may be right.
    """
    if request["hook"] not in ("order-sign", "order-dispatch", "appointment-book"):
        return False
    extension = request.get("extension") or {}
    configuration = extension.get("davinci-crd.configuration")
    orders = [r for r in _orders(request) if _is_to_be_done(r)]
    if configuration or not orders or any("extension" in order for order in orders):
        return False
    return not answer["cards"] and not answer.get("systemActions")


def _orders(request: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    context = request["context"]
    if request["hook"] == "order-dispatch":
        named = context.get("dispatchedOrders")
        yield from ({} for _ in (named if named is not None else [context.get("order")]))
        return
    name = "draftOrders" if request["hook"] == "order-sign" else "appointments"
    for entry in context[name].get("entry") or ():  # null is as nothing
        resource = entry.get("resource") or {}
        if resource.get("resourceType") in _ORDERS[name]:
            yield resource


_ORDERS = {
    "draftOrders": frozenset(
        {
            "CommunicationRequest",
            "DeviceRequest",
            "MedicationRequest",
            "NutritionOrder",
            "ServiceRequest",
            "VisionPrescription",
        }
    ),
    "appointments": frozenset({"Appointment"}),
}


def _is_to_be_done(order: Mapping[str, Any]) -> bool:
    over = ("revoked", "cancelled", "entered-in-error", "stopped", "noshow")
    return order.get("status") not in over and order.get("doNotPerform") is not True


def created(answer: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Every create action of an answer's suggestions."""
    for card in answer["cards"]:
        for suggestion in card.get("suggestions", []):
            yield from (a for a in suggestion.get("actions", []) if a["type"] == "create")


def stated(answer: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Every coverage-information extension of an answer's systemActions."""
    url = "http://hl7.org/fhir/us/davinci-crd/StructureDefinition/ext-coverage-information"
    for action in answer.get("systemActions", []):
        yield from (e for e in action["resource"]["extension"] if e["url"] == url)


def parts(extension: Mapping[str, Any], name: str) -> list[Any]:
    """The values of an extension's parts of one name; a complex part comes back as it is."""
    values = []
    for part in extension["extension"]:
        if part["url"] == name:
            key = next((k for k in part if k.startswith("value")), None)
            values.append(part[key] if key else part)
    return values
