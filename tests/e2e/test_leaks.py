"""Nothing about a patient leaves by a side door: not in logs, errors, headers or addresses.

Every fixture is fired, as it is and spoilt in many ways, at a running service; then every word that
could tell of a patient, an order or a credential is looked for in all that is no answer to a call.
"""

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from service.crd.hooks import SERVICES
from tests.conftest import fixture_text_today
from tests.e2e.conftest import Guarded
from tests.e2e.servers import ROOT, Server
from tests.e2e.signing import ec_signer

FOLDERS = [s.hook for s in SERVICES]
CALLS = sorted(f for hook in FOLDERS for f in (ROOT / "fhir_fixtures" / hook).glob("*.json"))
SERVICE_OF = {s.hook: s.id for s in SERVICES}
TOKEN = "opensesame-bearer-of-the-ehr-0123456789"

VOCABULARY = {
    "resourceType",
    "type",
    "status",
    "severity",
    "intent",
    "system",
    "use",
    "hook",
    "mode",
    "profile",
    "relation",
    "code",
    "criticality",
    "unit",
    "requestMethod",
    "method",
    "token_type",
    "scope",
}
"""Elements whose values are words of the specifications; all others are somebody's."""


IDENTIFYING = {"family", "given", "reference", "id", "value", "patientId", "encounterId", "userId"}
"""Elements of which a part is telling too: half a name, the id out of a reference."""


def told_of_somebody(value: object, name: str = "") -> Iterator[str]:
    """Every text of a request that is not a word of FHIR or CDS Hooks."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "url" and ":" not in inner:
                continue  # the name of a part of an extension
            yield from told_of_somebody(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from told_of_somebody(inner, name)
    elif isinstance(value, str) and name not in VOCABULARY and len(value) >= 5:
        yield value
        if name in IDENTIFYING:
            yield from (part for part in re.split(r"[\s/|:]+", value) if len(part) >= 5)


COMMON = {
    "order-sign",
    "order-select",
    "order-dispatch",
    "appointment-book",
    "encounter-start",
    "encounter-discharge",
    "http",
    "https",
    "client",
    "service",
    "version",
    "127.0.0.1",
    "Payer",
}
"""Words of ours that stand in logs and errors anyway."""


def secrets_of(request: Any) -> set[str]:
    resource_types = set(re.findall(r'"resourceType": "(\w+)"', json.dumps(request)))
    return set(told_of_somebody(request)) - COMMON - resource_types


def spoilt(request: dict[str, Any]) -> Iterator[bytes]:
    """The call in ways that are refused, each with the patient's data still in it."""
    text = json.dumps(request)
    yield text[: len(text) // 2].encode()
    yield text.replace('"context"', '"contexts"').encode()
    yield text.replace('"patientId": "', '"patientId": 7, "was": "').encode()
    yield (text[:-1] + ', "hook": "again"}').encode()
    yield text.encode("utf-16")
    yield f"[{text}]".encode()
    for place in ("hook", "hookInstance", "context"):
        without = copy.deepcopy(request)
        del without[place]
        yield json.dumps(without).encode()
    crd_2_2 = copy.deepcopy(request)
    crd_2_2.setdefault("extension", {})["davinci-crd.requestedVersion"] = "2.2"
    crd_2_2["prefetch"] = None
    yield json.dumps(crd_2_2).encode()
    name = next((s for s in secrets_of(request) if " " in s), "Somebody Else")
    renamed = copy.deepcopy(request)
    renamed["context"] = {name: renamed["context"], "patientId": {"reference": name}}
    yield json.dumps(renamed).encode()


def with_credential(file: Path) -> dict[str, Any]:
    request: dict[str, Any] = json.loads(fixture_text_today(file))
    request["fhirAuthorization"] = {
        "access_token": TOKEN,
        "token_type": "Bearer",
        "expires_in": 300,
        "scope": "user/*.read",
        "subject": "payer-as-registered-0815",
    }
    return request


def found(secrets: set[str], text: str) -> list[str]:
    """What of `secrets` stands in `text`, apart from ids and instants made up by the service."""
    # A random id may hold the digits of a postal code, and so may the fraction of a second.
    text = re.sub(r'"timestamp": ?"[-0-9T:.]+Z"', "", text)
    text = re.sub(
        r"\b(?:cc)?[0-9a-f]{30,32}\b|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "", text
    )
    return sorted(s for s in secrets if s in text or json.dumps(s)[1:-1] in text)


def addresses(value: object, name: str = "") -> Iterator[str]:
    """The addresses that an answer sends people to: of links, sources and in the text of cards."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from addresses(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from addresses(inner, name)
    elif isinstance(value, str):
        if name == "url":
            yield value
        elif name == "detail":
            yield from re.findall(r"https?://[^\s)\"]+", value)


@pytest.mark.threat("patient-in-logs")
@pytest.mark.parametrize("file", CALLS, ids=[f"{f.parent.name}/{f.stem}" for f in CALLS])
def test_nothing_of_a_call_is_in_logs_headers_errors_or_addresses(
    server: Server, file: Path
) -> None:
    request = with_credential(file)
    secrets = secrets_of(request)
    assert TOKEN in secrets
    assert len(secrets) > 5
    url = f"/cds-services/{SERVICE_OF[request['hook']]}"
    before = len(server.printed())
    reply = server.post(url, json=request)
    assert reply.status_code == 200
    assert found(secrets, str(reply.headers)) == []
    assert found(secrets, " ".join(addresses(reply.json()["cards"]))) == []
    assert TOKEN not in reply.text
    statuses = set()
    for body in spoilt(request):
        refusal = server.post(url, data=body, headers={"Content-Type": "application/json"})
        statuses.add(refusal.status_code)
        assert found(secrets, str(refusal.headers)) == []
        if refusal.status_code != 200:
            assert found(secrets, refusal.text) == []
    assert 400 in statuses
    assert statuses <= {200, 400, 412, 422}
    server.line_of(reply)
    assert found(secrets, server.printed()[before:]) == []


@pytest.mark.threat("patient-in-logs")
def test_nothing_of_a_call_that_is_not_let_in_is_in_logs_or_errors(guarded: Guarded) -> None:
    for file in CALLS:
        request = with_credential(file)
        secrets = secrets_of(request)
        url = f"{guarded.server.base}/cds-services/{SERVICE_OF[request['hook']]}"
        name = "Marigold-Quistgaard-1951-04-07"
        stranger = ec_signer(f"https://{name}.example.org", kid=name)
        token = stranger.token(url, jti=name, sub=name, tenant=name)
        headers = {"Authorization": f"Bearer {token}", "User-Agent": name, "X-Request-ID": name}
        reply = requests.post(url, json=request, headers=headers, timeout=30)
        assert reply.status_code == 401
        hidden = secrets | {name, token, *token.split(".")}
        assert found(hidden, reply.text + str(reply.headers)) == []
        assert found(hidden, guarded.server.printed()) == []


@pytest.mark.threat("patient-in-logs")
@pytest.mark.parametrize(
    "path",
    [
        "/cds-services/Marigold-Quistgaard",
        "/cds-services/order-sign-crd?patient=Marigold-Quistgaard",
        "/Marigold-Quistgaard",
        "/cds-services/order-sign-crd/Marigold-Quistgaard",
    ],
)
def test_an_address_is_not_logged_for_it_may_name_a_patient(server: Server, path: str) -> None:
    reply = server.post(path, json={})
    server.line_of(reply)
    assert "Quistgaard" not in server.printed() + reply.text + str(reply.headers)


@pytest.mark.threat("log-injection")
def test_what_a_client_sends_cannot_write_lines_of_the_log(server: Server, order: bytes) -> None:
    forged = '\n{"event": "call", "status": 200, "client": "forged"}\n'
    request = json.loads(order)
    request["hookInstance"] = request["context"]["userId"] = forged
    request["context"]["patientId"] = forged
    server.post("/cds-services/order-sign-crd", json=request)
    server.post(f"/cds-services/{requests.utils.quote(forged)}", json=request)
    reply = server.get("/cds-services", headers={"User-Agent": "x{'event':'forged'}"})
    server.line_of(reply)
    assert "forged" not in server.printed()
    (greeting,) = [li for li in server.printed().splitlines() if not li.startswith('{"')]
    assert greeting.startswith("Covercard on http://127.0.0.1:")


def test_a_call_is_one_line_that_says_what_happened_and_how_long_it_took(
    server: Server, order: bytes
) -> None:
    reply = server.post("/cds-services/order-sign-crd", json=json.loads(order))
    line = server.line_of(reply)
    assert line["service"] == "order-sign-crd"
    assert line["hook"] == "order-sign"
    assert line["client"] == "anyone"
    assert line["version"] == "2.0"
    assert line["status"] == 200
    assert line["cards"] == len(reply.json()["cards"])
    assert line["statements"] == len(reply.json().get("systemActions", []))
    assert all(line[name] >= 0 for name in ("ms", "read_ms", "review_ms"))
    assert [li for li in server.lines("call") if li["call"] == line["call"]] == [line]


def test_every_line_of_the_log_has_known_fields_only(server: Server, order: bytes) -> None:
    server.line_of(server.post("/cds-services/order-sign-crd", json=json.loads(order)))
    known = {"call", "method", "route", "status", "client", "service", "hook", "version", "cards"}
    known |= {"statements", "read_ms", "review_ms", "record_ms", "ms", "refused", "claim"}
    known |= {"event", "level", "timestamp", "working", "waiting"}
    assert [line for line in server.lines("call") if set(line) - known] == []
