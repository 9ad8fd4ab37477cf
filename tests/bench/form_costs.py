"""What forms cost: a package, and a step of an adaptive form, beside a hook call of the same order.

Costs are processor time of the calling thread, in whole calls of the application without a network:
the least of many calls in turn.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient

from service.bootstrap.app import RECORDER, create_app
from tests.conftest import ROOT, in_folder
from tests.contract.dtr_preset import ADAPTIVE, FORMS, hook_call, package_input, walked
from tests.contract.dtr_preset import CANONICAL as FORM

SEVERAL = (*FORMS, "abn-record", "conservative-care")
"""Every form at hand: home oxygen with its Libraries and ValueSets is the largest."""
ROUNDS = 250
PACKAGE_AT_MOST = 1.5
STEP_AT_MOST = 1.0


def form_costs(work: Path) -> Iterator[str]:
    """The lines of this measurement: both versions of DTR, against the hook call."""
    app = create_app(
        in_folder(
            work,
            added_policies_dir=ROOT / "examples" / "policies",
            payers_file=ROOT / "examples" / "inferno" / "payers.yaml",
        )
    )
    try:
        yield from _measured(app.test_client())
    finally:
        app.extensions[RECORDER].stop()


def _measured(client: FlaskClient) -> Iterator[str]:
    for version in ("2.0", "2.2"):
        base = f"/fhir/{version}/Questionnaire/"
        given = next(p for p in package_input(version)["parameter"] if p["name"] == "coverage")
        order = hook_call(version)["context"]["draftOrders"]["entry"][0]["resource"]

        def asking(*forms: str, given: Any = given, order: Any = order) -> Any:
            named = [{"name": "questionnaire", "valueCanonical": FORM + form} for form in forms]
            parameters = [given, {"name": "order", "resource": order}, *named]
            return {"resourceType": "Parameters", "parameter": parameters}

        step = walked(client, version, ADAPTIVE[0])[-1]
        acts = {
            "hook": _posting(client, "/cds-services/order-sign-crd", hook_call(version)),
            "package": _posting(client, f"{base}$questionnaire-package", asking(FORMS[0])),
            "several": _posting(client, f"{base}$questionnaire-package", asking(*SEVERAL)),
            "step": _posting(client, f"{base}$next-question", step),
        }
        cost = _least(acts)
        hook = cost["hook"]
        yield (
            f"DTR {version}: a hook call {hook:.0f} µs; a package {cost['package']:.0f} µs, "
            f"{cost['package'] / hook:.2f} of it (at most {PACKAGE_AT_MOST}), one with "
            f"{len(SEVERAL)} forms {cost['several'] / hook:.2f}; $next-question "
            f"{cost['step']:.0f} µs, {cost['step'] / hook:.2f} (at most {STEP_AT_MOST})"
        )


def _least(acts: Mapping[str, Callable[[], object]]) -> Mapping[str, float]:
    """Microseconds of each act."""
    found = dict.fromkeys(acts, float("inf"))
    for _ in range(ROUNDS):
        for name, act in acts.items():
            began = time.thread_time()
            act()
            found[name] = min(found[name], (time.thread_time() - began) * 1e6)
    return found


def _posting(client: FlaskClient, url: str, body: Any) -> Callable[[], object]:
    sent = json.dumps(body).encode()

    def post() -> object:
        reply = client.post(url, data=sent, content_type="application/json")
        assert reply.status_code == 200, reply.get_data(as_text=True)
        return reply

    return post
