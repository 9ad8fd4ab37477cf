"""Orders made of an order: another code, another order in its place, one beside it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from cards.coverage_information import EXTENSION_URL
from service.decision.offers import OfferedService
from service.decision.order import Code
from service.fhir.document import Document, Resource
from service.response.proposed_orders import beside, in_place_of, with_another_code

Json = dict[str, Any]
BED = OfferedService(Code("urn:codes", "E0290"), "Hospital bed without rails", "DeviceRequest")
ORDER: Json = {
    "resourceType": "DeviceRequest",
    "id": "bed",
    "meta": {"versionId": "3"},
    "identifier": [{"value": "placer-1"}],
    "extension": [
        {"url": EXTENSION_URL, "extension": [{"url": "covered", "valueCode": "covered"}]},
        {"url": "urn:priority", "valueDecimal": 1.50},
    ],
    "status": "draft",
    "intent": "order",
    "codeCodeableConcept": {"coding": [{"code": "E0250"}]},
    "parameter": [{"valueQuantity": {"value": 1.50}}],
    "subject": {"reference": "Patient/ann"},
    "authoredOn": "2026-11-20",
    "requester": {"reference": "Practitioner/quill"},
}


def order(data: Json) -> Resource:
    text = json.dumps(data).replace("1.5}", "1.50}").encode()
    read = json.loads(text)
    return Resource(read, Document(text, read), ())


def plain(members: dict[str, msgspec.Raw]) -> Json:
    written: Json = msgspec.json.decode(msgspec.json.encode(members))
    return written


def test_an_update_changes_the_code_and_leaves_every_token_of_the_rest() -> None:
    members = with_another_code(order(ORDER), BED)
    assert b'"value":1.50' in msgspec.json.encode(members)
    changed = plain(members)
    assert changed["codeCodeableConcept"]["coding"] == [{"system": "urn:codes", "code": "E0290"}]
    assert changed["id"] == "bed"
    assert changed["identifier"] == ORDER["identifier"]
    # What was stated of the other code does not hold for this one.
    assert [e["url"] for e in changed["extension"]] == ["urn:priority"]


def test_an_order_in_its_place_has_an_id_of_its_own_and_no_identifier() -> None:
    made = plain(in_place_of(order(ORDER), BED, "new"))
    assert (made["resourceType"], made["id"]) == ("DeviceRequest", "new")
    assert made.keys().isdisjoint({"identifier", "meta"})
    assert made["subject"] == ORDER["subject"]


def test_an_order_beside_it_is_a_draft_for_the_same_patient_by_the_same_person() -> None:
    made = plain(beside(order(ORDER), BED, "new", "2026-11-22"))
    assert made == {
        "resourceType": "DeviceRequest",
        "id": "new",
        "status": "draft",
        "intent": "order",
        "codeCodeableConcept": {
            "coding": [{"system": "urn:codes", "code": "E0290"}],
            "text": "Hospital bed without rails",
        },
        "subject": ORDER["subject"],
        "authoredOn": "2026-11-20",
        "requester": ORDER["requester"],
    }


@pytest.mark.parametrize("missing", ["authoredOn", "requester"])
def test_what_the_order_does_not_tell_is_not_made_up_but_for_the_day(missing: str) -> None:
    told = {k: v for k, v in ORDER.items() if k != missing}
    made = plain(beside(order(told), BED, "new", "2026-11-22"))
    assert made.get(missing) == ("2026-11-22" if missing == "authoredOn" else None)
