"""The bodies that the bench fires: the main fixture, grown to the size that EHRs send."""

from __future__ import annotations

import json
import uuid
from copy import deepcopy
from pathlib import Path
from typing import Any

from tests.conftest import fixture_text_today

FIXTURE = Path(__file__).parents[2] / "fhir_fixtures/order-sign/mrs-medicare-advantage.json"
BODY_BYTES = 23 * 1024


def fixture_call() -> dict[str, Any]:
    """One order-sign call: MR spectroscopy, Medicare Advantage, data prefetched."""
    call: dict[str, Any] = json.loads(fixture_text_today(FIXTURE))
    # CDS Hooks makes `extension` an object, HealthChain a list: without it, all understand.
    call.pop("extension", None)
    return call


def written(call: dict[str, Any]) -> bytes:
    return json.dumps(call, indent=2, ensure_ascii=False).encode()


def order_sign_bodies(count: int = 1, size: int = BODY_BYTES) -> list[bytes]:
    """`count` bodies of `size` bytes that differ in their hookInstance, as calls of an EHR do."""
    call = fixture_call()
    text = call["context"]["draftOrders"]["entry"][0]["resource"]["text"]
    short = size - len(written(call))
    if short < 0:
        raise ValueError(f"the fixture has {-short} bytes more than the body that was asked for")
    # A narrative is what makes real orders large; every reader here has to pass over it.
    filler = ("Synthetic narrative of a study that nobody had. " * (short // 48 + 1))[:short]
    text["div"] = text["div"].replace("</div>", filler + "</div>")
    bodies = []
    for _ in range(count):
        call["hookInstance"] = str(uuid.uuid4())
        bodies.append(written(call))
    return bodies


def call_with_orders(count: int, *, of_one_policy: bool = False) -> bytes:
    """One call with `count` orders: every tenth is MR spectroscopy, the others no policy lists.

    `of_one_policy`: all are MR spectroscopy.
    """
    call = fixture_call()
    entries = call["context"]["draftOrders"]["entry"]
    first = entries[0]
    del entries[1:]
    for i in range(1, count):
        entry = deepcopy(first)
        order = entry["resource"]
        order["id"] = f"{first['resource']['id']}-{i}"
        entry["fullUrl"] = f"{first['fullUrl']}-{i}"
        if i % 10 and not of_one_policy:
            order["code"]["coding"][0]["code"] = "70551"
            order["code"]["coding"][0]["display"] = "MRI"
            order["code"]["text"] = "MRI"
        entries.append(entry)
    return json.dumps(call).encode()
