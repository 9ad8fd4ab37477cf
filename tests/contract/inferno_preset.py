"""The presets for Inferno's CRD server suites, made of the fixtures.

`python -m tests.contract.inferno_preset` writes them; a test holds the files against this.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from datetime import date
from typing import Any

from tests.conftest import FIXTURES, fixture_text
from tests.contract.calls import Json, asking, resources_in

FOLDER = FIXTURES / "inferno"
FAR = date(2035, 6, 1)
"""The day from which a preset's days are reckoned: a kit posts them as they are, for years."""
BASE_URL = "https://covercard.example.org"
"""To be replaced by the address of the service under test; the suites want TLS."""

SUITES = {"2.0": "crd_server", "2.2": "crd_server_v221"}
REQUESTS = {
    "any_hook_request_body": ["order-sign/mrs-medicare-advantage"],
    "appointment_book_request_bodies": [
        "appointment-book/mrs-appointment",
        "appointment-book/appointment-for-an-order",
        "appointment-book/hospital-bed-delivery",
    ],
    "encounter_start_request_bodies": [
        "encounter-start/mrs-ordered",
        "encounter-start/office-visit",
    ],
    "encounter_discharge_request_bodies": ["encounter-discharge/mrs-ordered"],
    "order_dispatch_request_bodies": [
        "order-dispatch/mrs-to-an-imaging-center",
        "order-dispatch/hospital-bed",
    ],
    "order_select_request_bodies": ["order-select/mrs-selected", "order-select/hospital-bed"],
    "order_sign_request_bodies": [
        "order-sign/mrs-medicare-advantage",
        "order-sign/mrs-original-medicare",
        "order-sign/every-order-type",
        "order-sign/coverage-that-ends",
        "order-sign/hospital-bed",
        "order-sign/brain-imaging",
    ],
}
TECHNICAL_ISSUES = "technical_issues_request_body"
NO_MEMBER = "no_member_found_request_body"
COVERAGE_NOT_FOUND = "coverage_not_found_request_body"
ONLY_IN_2_2 = {
    "no_active_coverage_request_body": ["order-sign/expired-coverage"],
    TECHNICAL_ISSUES: ["order-sign/mrs-medicare-advantage"],
    NO_MEMBER: ["order-sign/mrs-medicare-advantage"],
    COVERAGE_NOT_FOUND: ["order-sign/mrs-medicare-advantage"],
}
"""Of the payer's own records: examples/inferno/payer-data knows who is a member and of what."""


_MEMBER_NUMBER_OF_NOBODY = {
    "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MB"}]},
    "system": "urn:oid:2.999.7.2",
    "value": "TEST-MEMBER-NOBODY",
}


def preset(version: str) -> Json:
    """The preset of one suite: plain inputs, then the request bodies and the mock EHR's data."""
    bodies = REQUESTS if version == "2.0" else {**REQUESTS, **ONLY_IN_2_2}
    inputs: list[Json] = [
        {"name": "base_url", "title": "CRD server base URL", "type": "text", "value": BASE_URL},
        _radio("authentication_required", "Discovery endpoint requires authentication?", "no"),
        _radio("encryption_method", "JWT Signing Algorithm", "ES384"),
        {"name": "jwks_kid", "title": "CDS Services JWKS kid", "type": "text", "value": ""},
    ]
    every: list[Json] = []
    for name, fixtures in bodies.items():
        calls = [request(fixture, version) for fixture in fixtures]
        if name == TECHNICAL_ISSUES:
            # What the service has to ask for, and does not get: the kit answers with a 500.
            del calls[0]["prefetch"]["coverage"]
        elif name == NO_MEMBER:
            calls[0]["prefetch"]["patient"]["identifier"] = [_MEMBER_NUMBER_OF_NOBODY]
        elif name == COVERAGE_NOT_FOUND:
            for resource in resources_in(calls[0]["prefetch"]["coverage"]):
                number = resource["subscriberId"]
                resource["subscriberId"] = _MEMBER_NUMBER_OF_NOBODY["value"]
                del resource["identifier"]
            known = {**_MEMBER_NUMBER_OF_NOBODY, "value": number}
            calls[0]["prefetch"]["patient"]["identifier"] = [known]
        every.extend(calls)
        inputs.append(textarea(name, calls[0] if name.endswith("_body") else calls))
    inputs.append(textarea("mock_ehr_bundle", mock_ehr(every, version)))
    return {
        "title": f"Covercard (CRD {version})",
        "id": f"covercard-crd-{version.replace('.', '-')}",
        "test_suite_id": SUITES[version],
        "inputs": inputs,
    }


def request(fixture: str, version: str) -> Json:
    """A fixture's call as the kit sends it: it puts in its own hookInstance, server and token."""
    call = asking(json.loads(fixture_text(FIXTURES / f"{fixture}.json", FAR)), version)
    if version == "2.0":
        _as_of_2_0(call)
    call["fhirAuthorization"] = {
        "access_token": "replaced-by-the-kit",
        "token_type": "Bearer",
        "expires_in": 300,
        "scope": "patient/*.read",
        "subject": "covercard",
        "patient": call["context"]["patientId"],
    }
    call["fhirServer"] = "https://replaced-by-the-kit.example.org/fhir"
    coverage = call["prefetch"]["coverage"]
    coverage["entry"] = [
        _with_payer(e) for e in coverage["entry"] if e["resource"]["resourceType"] == "Coverage"
    ]
    if call["hook"] == "order-dispatch":
        # The suite of 2.0.1 reads the names of the ballot that 2.0.1 links to.
        context = call["context"]
        context["order"], context["task"] = (
            context["dispatchedOrders"][0],
            context["fulfillmentTasks"][0],
        )
    without_narrative: Json = plain(call)
    return without_narrative


def _as_of_2_0(call: Json) -> None:
    """Leave out what 2.0.1's profiles do not have, though the service answers it."""
    for resource in resources_in([call["prefetch"]]):
        _draft(resource)
    bundle = call["context"].get("draftOrders")
    if bundle is not None:
        # Coverage information has no place on one: the extension's context lacks the type.
        bundle["entry"] = [
            e for e in bundle["entry"] if e["resource"]["resourceType"] != "VisionPrescription"
        ]


def _draft(resource: Json) -> None:
    """2.0.1's profile fixes the status of an order, for dispatched ones too."""
    if resource["resourceType"] in ("DeviceRequest", "ServiceRequest"):
        resource["status"] = "draft"


def mock_ehr(calls: list[Json], version: str) -> Json:
    """The fixture resources that the calls lead to, for the FHIR server that the kit poses as."""
    held: dict[str, Json] = {}
    for file in sorted((FIXTURES / "resources").glob("*.json")):
        resource = json.loads(fixture_text(file, FAR))
        held[f"{resource['resourceType']}/{resource['id']}"] = plain(resource)
    given = {f"{r['resourceType']}/{r.get('id')}" for r in resources_in(calls)}
    reached: set[str] = set()
    pending = {n for n in held if n in given or any(_names(call, n) for call in calls)}
    while pending:
        reached |= pending
        pending = {n for n in held for r in pending if _names(held[r], n)} - reached
    if version == "2.0":
        for resource in held.values():
            _draft(resource)
    entries = [{"resource": held[name]} for name in sorted(reached)]
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}


def _names(value: object, name: str) -> bool:
    return f'"{name}"' in json.dumps(value)


def _with_payer(entry: Json) -> Json:
    """The coverage with its payer's identifier in place: the kit wants Coverages only."""
    changed = copy.deepcopy(entry)
    for payor in changed["resource"]["payor"]:
        name = payor["reference"].split("/")[1]
        file = FIXTURES / "resources" / f"Organization-{name}.json"
        payor["identifier"] = json.loads(fixture_text(file))["identifier"][0]
    return changed


def plain(value: Any) -> Any:
    """Without narratives, which nobody here looks at and which are most of a fixture's size."""
    if isinstance(value, dict):
        narrative = {"text"} if "resourceType" in value and "div" in str(value.get("text")) else {}
        return {k: plain(v) for k, v in value.items() if k not in narrative}
    return [plain(v) for v in value] if isinstance(value, list) else value


def _radio(name: str, title: str, value: str) -> Json:
    return {"name": name, "title": title, "type": "radio", "value": value}


def textarea(name: str, value: object) -> Json:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return {"name": name, "type": "textarea", "value": text}


def written(version: str) -> str:
    """The text of a preset's file."""
    return json.dumps(preset(version), indent=2, ensure_ascii=False) + "\n"


def files() -> Iterator[tuple[str, str]]:
    """(file name, text) of each preset."""
    for version in SUITES:
        yield f"covercard-crd-{version}.json", written(version)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for file_name, text in files():
        (FOLDER / file_name).write_text(text, "utf-8")
