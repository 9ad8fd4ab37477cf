"""Hook calls for contract tests: the fixtures in any version, posted to their hook's service."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from service.crd.hooks import SERVICES
from tests.conftest import FIXTURES, fixture_text

Json = dict[str, Any]
SERVICE_OF_HOOK = {s.hook: s.id for s in SERVICES}
FIXTURE_NAMES = sorted(
    path.relative_to(FIXTURES).with_suffix("").as_posix()
    for hook in SERVICE_OF_HOOK
    for path in (FIXTURES / hook).glob("*.json")
)
"""Every fixture, as `order-sign/mrs-medicare-advantage`."""

_UUID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
PRIMARY_HOOKS = ("order-sign", "order-dispatch", "appointment-book")


def call_of(name: str, version: str | None = None, **configuration: object) -> Json:
    """A fixture's request, asking for that version of CRD; for none where `version` is None."""
    request: Json = json.loads(fixture_text(FIXTURES / f"{name}.json"))
    return asking(request, version, **configuration)


def asking(request: Json, version: str | None, **configuration: object) -> Json:
    """A copy of the request with the version and the configuration that it asks for."""
    changed = copy.deepcopy(request)
    extension = changed.setdefault("extension", {})
    extension.pop("davinci-crd.requestedVersion", None)
    if version is not None:
        extension["davinci-crd.requestedVersion"] = version
    if configuration:
        extension["davinci-crd.configuration"] = {
            name.replace("_", "-"): value for name, value in configuration.items()
        }
    if not extension:
        del changed["extension"]
    return changed


def post(client: FlaskClient, request: Mapping[str, Any]) -> TestResponse:
    """The reply of the service of the request's hook."""
    return client.post(f"/cds-services/{SERVICE_OF_HOOK[request['hook']]}", json=request)


def answer(client: FlaskClient, request: Mapping[str, Any]) -> Json:
    """The body of the 200 that the request is answered with."""
    reply = post(client, request)
    assert reply.status_code == 200, reply.get_data(as_text=True)
    body: Json = reply.get_json()
    return body


def resources_in(value: object) -> Iterator[Json]:
    """Every resource in a value, those in Bundles one by one."""
    if isinstance(value, dict):
        if "resourceType" in value and value["resourceType"] != "Bundle":
            yield value
            return
        for child in value.values():
            yield from resources_in(child)
    elif isinstance(value, list):
        for child in value:
            yield from resources_in(child)


def orders_of(request: Json) -> list[Json]:
    """The orders, or appointments, that stand in a request's context."""
    context = request["context"]
    return [*resources_in(context.get("draftOrders")), *resources_in(context.get("appointments"))]


def coverages_of(request: Json) -> list[Json]:
    """The Coverages of a request's prefetch, without the resources that came with them."""
    found = resources_in(request["prefetch"]["coverage"])
    return [resource for resource in found if resource["resourceType"] == "Coverage"]


def coverage_of(request: Json) -> Json:
    """The first of these Coverages."""
    return coverages_of(request)[0]


def received(request: Json, updated: Json) -> Json:
    """The resource of the request that came back updated."""
    found = [
        r
        for r in resources_in([request["context"], request.get("prefetch")])
        if (r["resourceType"], r.get("id")) == (updated["resourceType"], updated["id"])
    ]
    assert found
    return found[0]


def change_orders(request: Json, change: Callable[[Json], object]) -> Json:
    """A copy of the request with each order changed in place."""
    changed = copy.deepcopy(request)
    for order in orders_of(changed):
        change(order)
    return changed


def with_numbered_uuids(*texts: bytes) -> list[bytes]:
    """The texts with a number in place of each UUID made for them, the same one for the same."""
    seen: dict[bytes, bytes] = {}

    def number(uuid: re.Match[bytes]) -> bytes:
        return seen.setdefault(uuid[0], b"uuid %d" % len(seen))

    return [_UUID.sub(number, text) for text in texts]
