"""A period that tells one side only goes on at the other (FHIR R4, Period), in every element."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.bootstrap.app import RECORDER, create_app
from service.settings import Settings
from tests.conftest import NOW
from tests.contract.answer_rules import parts, stated
from tests.contract.calls import Json, answer, call_of, coverage_of

MA = "order-sign/mrs-medicare-advantage"
LONG_AGO = {"start": "2019-03-01"}
SHAPES: dict[str, Json] = {
    "an occurrence period": {"occurrencePeriod": LONG_AGO},
    "the bounds of an occurrence": {"occurrenceTiming": {"repeat": {"boundsPeriod": LONG_AGO}}},
    "an occurrence period of which the end alone is told": {"occurrencePeriod": {"end": "2028"}},
}
OTHER_TYPES: dict[str, tuple[str, Json]] = {
    "the bounds of a dosage": (
        "MedicationRequest",
        {"dosageInstruction": [{"timing": {"repeat": {"boundsPeriod": LONG_AGO}}}]},
    ),
    "the validity of a dispense": (
        "MedicationRequest",
        {"dispenseRequest": {"validityPeriod": LONG_AGO}},
    ),
    "a device's occurrence": ("DeviceRequest", {"occurrencePeriod": LONG_AGO}),
    "an appointment's requested period": ("Appointment", {"requestedPeriod": [LONG_AGO]}),
}
CODE_OF = {
    "MedicationRequest": "medicationCodeableConcept",
    "DeviceRequest": "codeCodeableConcept",
}
MRS = {"coding": [{"system": "http://www.ama-assn.org/go/cpt", "code": "76390"}]}


def of_days(days: Json) -> Json:
    """The main fixture's call, its order telling these days."""
    request = call_of(MA)
    order = request["context"]["draftOrders"]["entry"][0]["resource"]
    order.pop("occurrenceDateTime", None)
    order.update(days)
    return request


def of_type(kind: str, elements: Json) -> Json:
    """The main fixture's call, about a resource of another type of the same patient's."""
    if kind == "Appointment":
        request = call_of("appointment-book/mrs-appointment")
        appointment = request["context"]["appointments"]["entry"][0]["resource"]
        appointment.pop("start", None)
        appointment.update(elements)
        return request
    request = of_days({})
    order = request["context"]["draftOrders"]["entry"][0]["resource"]
    order["resourceType"] = kind
    order[CODE_OF[kind]] = order.pop("code")
    order.update(elements)
    return request


def covered(answered: Json) -> list[Any]:
    (statement,) = stated(answered)
    return parts(statement, "covered")


def reasons(answered: Json) -> str:
    (statement,) = stated(answered)
    return str(parts(statement, "reason"))


@pytest.mark.requirement("crd-2.2.1:found-9", "crd-2.2.1:resp-45")
@pytest.mark.parametrize("shape", SHAPES)
def test_an_open_period_is_answered_as_for_today(client: FlaskClient, shape: str) -> None:
    answered = answer(client, of_days(SHAPES[shape]))
    assert covered(answered) == ["not-covered"]
    assert "is not active on the day" not in reasons(answered)
    assert len(answered["cards"]) == 2
    assert "the policy in force on 2026-11-22 was looked up" in reasons(answered)


@pytest.mark.requirement("crd-2.2.1:found-9", "crd-2.2.1:resp-45")
@pytest.mark.parametrize("shape", OTHER_TYPES)
def test_an_open_period_is_one_of_today_in_every_element_that_tells_a_day(
    client: FlaskClient, shape: str
) -> None:
    answered = answer(client, of_type(*OTHER_TYPES[shape]))
    assert "is not active on the day" not in reasons(answered)
    assert len(answered["cards"]) == 2


def test_an_order_that_begins_next_year_is_answered_as_for_its_first_day(
    client: FlaskClient,
) -> None:
    answered = answer(client, of_days({"occurrencePeriod": {"start": "2027-02-01"}}))
    assert "the policy in force on 2027-02-01 was looked up" in reasons(answered)


def test_a_coverage_that_is_over_does_not_count_for_what_goes_on(client: FlaskClient) -> None:
    request = of_days({"occurrencePeriod": LONG_AGO})
    coverage_of(request)["period"] = {"start": "2019-01-01", "end": "2024-12-31"}
    assert "is not active on the day" in reasons(answer(client, request))


def test_a_coverage_that_starts_later_counts_for_what_goes_on(client: FlaskClient) -> None:
    request = of_days({"occurrencePeriod": LONG_AGO})
    coverage_of(request)["period"] = {"start": "2027-01-01"}
    answered = answer(client, request)
    assert "is not active on the day" not in reasons(answered)
    assert covered(answered) == ["not-covered"]


def test_the_coverage_of_today_goes_before_the_one_of_next_year(client: FlaskClient) -> None:
    request = of_days({"occurrencePeriod": LONG_AGO})
    order = request["context"]["draftOrders"]["entry"][0]["resource"]
    order.pop("insurance", None)
    present = coverage_of(request)
    present["period"] = {"start": "2026-01-01", "end": "2026-12-31"}
    request["prefetch"]["coverage"]["entry"].append(
        {"resource": {**present, "id": "next-year", "period": {"start": "2027-01-01"}}}
    )
    (statement,) = stated(answer(client, request))
    assert parts(statement, "coverage") == [{"reference": f"Coverage/{present['id']}"}]


def test_the_days_of_several_dosages_count_together(client: FlaskClient) -> None:
    of_policies_before = {"start": "2023-01-01", "end": "2023-02-01"}
    later = {"start": "2026-12-01", "end": "2026-12-20"}
    dosages = [
        {"timing": {"repeat": {"boundsPeriod": bounds}}} for bounds in (later, of_policies_before)
    ]
    answered = answer(client, of_type("MedicationRequest", {"dosageInstruction": dosages}))
    (statement,) = stated(answered)
    assert parts(statement, "info-needed") == ["timeframe"]


def test_the_answer_of_an_order_that_goes_on_is_the_same_one_tomorrow(
    client: FlaskClient, settings: Settings
) -> None:
    request = of_days({"occurrencePeriod": LONG_AGO})
    order = request["context"]["draftOrders"]["entry"][0]["resource"]
    order["extension"] = [*order.get("extension", []), *stated(answer(client, request))]
    tomorrow = create_app(settings, clock=lambda: NOW + timedelta(days=1))
    try:
        assert answer(tomorrow.test_client(), request)["systemActions"] == []
    finally:
        tomorrow.extensions[RECORDER].stop()
