"""A time with an offset is an instant: its day is that of COVERCARD_TIME_ZONE, wherever."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from service.bootstrap.app import RECORDER, create_app
from tests.conftest import NOW, in_folder
from tests.contract.answer_rules import parts, stated
from tests.contract.calls import Json, answer, call_of, change_orders, orders_of, resources_in

In = Callable[[str], FlaskClient]
FIRST_DAY = "order-sign/first-day-of-the-policy"


@pytest.fixture
def service_in(tmp_path: Path) -> Iterator[In]:
    """The service in a time zone."""
    apps = []

    def made(zone: str) -> FlaskClient:
        app = create_app(in_folder(tmp_path / zone, time_zone=zone), clock=lambda: NOW)
        apps.append(app)
        return app.test_client()

    yield made
    for app in apps:
        app.extensions[RECORDER].stop()


def covered(client: FlaskClient, request: Json) -> list[str]:
    (statement,) = stated(answer(client, request))
    return [str(code) for code in parts(statement, "covered")]


@pytest.mark.parametrize(
    ("zone", "answered"),
    [
        ("UTC", ["not-covered"]),
        ("America/Denver", ["conditional"]),
        ("Asia/Tokyo", ["not-covered"]),
    ],
)
def test_the_policy_in_force_is_that_of_the_day_in_the_time_zone(
    zone: str, answered: list[str], service_in: In
) -> None:
    # An hour into the policy's first day in UTC: in Denver it is the evening before.
    def at_an_hour_past_midnight(order: Json) -> None:
        order.pop("occurrencePeriod", None)
        order["occurrenceDateTime"] = "2023-10-01T01:00:00Z"

    request = change_orders(call_of(FIRST_DAY), at_an_hour_past_midnight)
    assert covered(service_in(zone), request) == answered


@pytest.mark.parametrize(("zone", "ended"), [("UTC", False), ("America/Denver", True)])
def test_a_coverage_ends_with_its_day_in_the_time_zone(
    zone: str, ended: bool, service_in: In
) -> None:
    request = call_of("order-sign/mrs-medicare-advantage")
    for order in orders_of(request):
        order["occurrenceDateTime"] = "2026-12-15"
    for coverage in resources_in(request["prefetch"]["coverage"]):
        # On the 15th in UTC: in Denver it is the evening of the 14th.
        coverage["period"] = {"start": "2026-01-01", "end": "2026-12-15T03:00:00Z"}
    told = answer(service_in(zone), request)
    assert ("not active on the day of service" in str([*stated(told)])) is ended
