"""No advance notice in emergency or urgent care, however the EHR codes it (CMS's instructions)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.bootstrap.app import RECORDER, create_app
from service.errors import ConfigurationError
from service.settings import load_settings
from tests.conftest import NOW, in_folder
from tests.contract.answer_rules import parts, stated
from tests.contract.calls import Json, answer, call_of

MA = "order-sign/mrs-medicare-advantage"
V3 = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
V2 = "http://terminology.hl7.org/CodeSystem/v2-0004"
PRIORITY = "http://terminology.hl7.org/CodeSystem/v3-ActPriority"
LOCAL = "urn:oid:2.999.7.31"
ED_VISIT = {"coding": [{"system": "http://www.ama-assn.org/go/cpt", "code": "99284"}]}

EMERGENCIES: dict[str, Json] = {
    "v3": {"class": {"system": V3, "code": "EMER"}},
    "v3 in small letters": {"class": {"system": V3, "code": "emer"}},
    "v2": {"class": {"system": V2, "code": "E"}},
    "v2 by its address of before": {
        "class": {"system": "http://hl7.org/fhir/v2/0004", "code": "E"}
    },
    "no system": {"class": {"code": "E"}},
    "DSTU2's word": {"class": {"code": "emergency"}},
    "a local code with words": {"class": {"system": LOCAL, "code": "7", "display": "Emergency"}},
    "the type of the visit": {"class": {"system": V3, "code": "AMB"}, "type": [ED_VISIT]},
    "its priority": {"priority": {"coding": [{"system": PRIORITY, "code": "EM"}]}},
    "urgent by its priority": {"priority": {"coding": [{"system": PRIORITY, "code": "UR"}]}},
}
OTHERS: dict[str, Json] = {
    "a visit": {"class": {"system": V3, "code": "AMB"}},
    "an inpatient": {"class": {"system": V3, "code": "IMP"}},
    "a letter of another system": {"class": {"system": LOCAL, "code": "E"}},
    "not an emergency": {"class": {"system": LOCAL, "code": "9", "display": "Non-emergency"}},
    "elective": {"priority": {"coding": [{"system": PRIORITY, "code": "EL"}]}},
    "nothing": {},
}


def in_care(encounter: Json, **order: object) -> Json:
    request = call_of(MA)
    request["prefetch"]["encounter"] = {
        "resourceType": "Encounter",
        "id": "visit",
        "status": "in-progress",
        "subject": {"reference": "Patient/ann"},
        **encounter,
    }
    request["context"]["encounterId"] = "visit"
    request["context"]["draftOrders"]["entry"][0]["resource"].update(order)
    return request


def topics(answered: Json) -> list[str]:
    return [card["source"]["topic"]["code"] for card in answered["cards"]]


@pytest.mark.parametrize("how", EMERGENCIES)
def test_in_an_emergency_no_notice_is_asked_for(client: FlaskClient, how: str) -> None:
    answered = answer(client, in_care(EMERGENCIES[how]))
    if "urgent" in how:  # where there is time the plan may be asked, expedited
        assert topics(answered) == ["guideline", "claim"]
        assert "expedited organization determination" in answered["cards"][0]["detail"]
        return
    assert topics(answered) == ["guideline"]
    assert parts(next(stated(answered)), "questionnaire") == []


@pytest.mark.parametrize("how", OTHERS)
def test_in_other_care_it_is(client: FlaskClient, how: str) -> None:
    assert topics(answer(client, in_care(OTHERS[how]))) == ["guideline", "claim"]


@pytest.mark.parametrize("priority", ["stat", "asap", "urgent"])
def test_an_order_that_cannot_wait_gets_no_abn_and_an_expedited_request(
    client: FlaskClient, priority: str
) -> None:
    advantage = answer(client, in_care({}, priority=priority))
    assert topics(advantage) == ["guideline", "claim"]
    assert "expedited organization determination" in advantage["cards"][0]["detail"]
    original = call_of("order-sign/mrs-original-medicare")
    original["context"]["draftOrders"]["entry"][0]["resource"]["priority"] = priority
    assert topics(answer(client, original)) == ["guideline"]


def test_a_routine_order_gets_one(client: FlaskClient) -> None:
    assert topics(answer(client, in_care({}, priority="routine"))) == ["guideline", "claim"]


def test_an_ehrs_own_class_means_what_the_operator_says(tmp_path: Path) -> None:
    pair = f"{LOCAL}|13=emergency"
    app = create_app(in_folder(tmp_path, encounter_classes=pair), clock=lambda: NOW)
    try:
        client = app.test_client()
        own: Any = {"class": {"system": LOCAL, "code": "13"}}
        assert topics(answer(client, in_care(own))) == ["guideline"]
        other: Any = {"class": {"system": LOCAL, "code": "14"}}
        assert topics(answer(client, in_care(other))) == ["guideline", "claim"]
    finally:
        app.extensions[RECORDER].stop()


@pytest.mark.parametrize("wrong", ["13=emergency", "urn:x|13", "urn:x|13=odd"])
def test_a_class_that_means_nothing_stops_the_start(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match="COVERCARD_ENCOUNTER_CLASSES"):
        load_settings(encounter_classes=wrong)
