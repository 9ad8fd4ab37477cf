"""A payer's FHIR server with a token endpoint, as far as the source asks: for tests."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Json = dict[str, Any]

MEMBER = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MB"}]}
SECRET = "a-secret-of-the-tests"
PAS = "http://hl7.org/fhir/us/davinci-pas/StructureDefinition"
NETWORK = "http://hl7.org/fhir/us/davinci-pdex-plan-net/StructureDefinition/network-reference"


def patient(number: str = "TEST-MEMBER-0001", **more: Any) -> Json:
    """Ann Testcase as the payer has her."""
    return {
        "resourceType": "Patient",
        "id": "p1",
        "identifier": [{"type": MEMBER, "value": number}],
        "name": [{"family": "Testcase", "given": ["Ann"]}],
        "birthDate": "1951-04-12",
        **more,
    }


def coverage(number: str = "TEST-MEMBER-0001", **more: Any) -> Json:
    """Ann's Medicare Advantage, since 2022."""
    return {
        "resourceType": "Coverage",
        "id": "c1",
        "meta": {"versionId": "3"},
        "status": "active",
        "type": {"coding": [{"system": "https://nahdo.org/sopt", "code": "111"}]},
        "subscriberId": number,
        "beneficiary": {"reference": "Patient/p1"},
        "period": {"start": "2022-01-01"},
        **more,
    }


def claim_response(action: str = "A1", **more: Any) -> Json:
    """What was decided of MR spectroscopy before the service."""
    review = {
        "url": f"{PAS}/extension-reviewAction",
        "extension": [
            {
                "url": f"{PAS}/extension-reviewActionCode",
                "valueCodeableConcept": {
                    "coding": [{"system": "https://codesystem.x12.org/005010/306", "code": action}]
                },
            }
        ],
    }
    detail = {
        "url": f"{PAS}/extension-itemAuthorizedDetail",
        "extension": [
            {
                "url": "productOrServiceCode",
                "valueCodeableConcept": {
                    "coding": [{"system": "http://www.ama-assn.org/go/cpt", "code": "76390"}]
                },
            }
        ],
    }
    return {
        "resourceType": "ClaimResponse",
        "id": "r1",
        "status": "active",
        "use": "preauthorization",
        "outcome": "complete",
        "patient": {"reference": "Patient/p1"},
        "created": "2026-11-05",
        "preAuthRef": "PA-4711",
        "preAuthPeriod": {"start": "2026-11-05", "end": "2027-02-04"},
        "item": [{"itemSequence": 1, "extension": [detail], "adjudication": [review_of(review)]}],
        **more,
    }


def benefit(day: str = "2026-03-02", **more: Any) -> Json:
    """The claim for Ann's screening test (82270), as the payer has paid it."""
    item = {
        "sequence": 1,
        "productOrService": {
            "coding": [{"system": "http://www.ama-assn.org/go/cpt", "code": "82270"}]
        },
        "servicedDate": day,
        **more.pop("item", {}),
    }
    return {
        "resourceType": "ExplanationOfBenefit",
        "id": "e1",
        "status": "active",
        "use": "claim",
        "outcome": "complete",
        "patient": {"reference": "Patient/p1"},
        "item": [item],
        **more,
    }


def review_of(extension: Json) -> Json:
    return {"extension": [extension], "category": {"text": "submitted"}}


def role(npi: str, *, network: bool) -> Json:
    extension = [{"url": NETWORK, "valueReference": {"reference": "Organization/net"}}]
    return {
        "resourceType": "PractitionerRole",
        "id": f"role-{npi}",
        "active": True,
        "extension": extension if network else [],
        "practitioner": {"identifier": {"value": npi}},
    }


class PayerServer:
    """What it holds, how it behaves, and what it was asked."""

    def __init__(self) -> None:
        self.resources: list[Json] = []
        self.delay = 0.0
        self.status = 200
        self.statuses: dict[str, int] = {}
        self.delays: dict[str, float] = {}
        self.tokens = 0
        self.refuse_token: str | None = None
        self.lives = 3600
        self.asked: list[str] = []
        self.authorizations: list[str | None] = []
        self.token_requests: list[tuple[str | None, dict[str, list[str]]]] = []
        self.url = ""

    @property
    def fhir(self) -> str:
        return f"{self.url}/fhir"

    @property
    def token_url(self) -> str:
        return f"{self.url}/token"

    def found(self, path: str, query: dict[str, list[str]]) -> list[Json]:
        kind = path.rsplit("/", 1)[-1]
        if kind in ("Patient", "Coverage"):
            (number,) = query["identifier"]
            members = [r for r in self.resources if r["resourceType"] in ("Patient", "Coverage")]
            hit = any(number in json.dumps(r) for r in members if r["resourceType"] == kind)
            return members if hit else []
        if kind in ("ClaimResponse", "ExplanationOfBenefit"):
            assert query.get("use") == (["preauthorization"] if kind == "ClaimResponse" else None)
            (person,) = query["patient"]
            return [r for r in self.of(kind) if r["patient"]["reference"] == f"Patient/{person}"]
        (npi,) = next(v for k, v in query.items() if k.endswith(".identifier"))
        return [r for r in self.of(kind) if npi in json.dumps(r)]

    def of(self, kind: str) -> list[Json]:
        return [r for r in self.resources if r["resourceType"] == kind]


@contextlib.contextmanager
def payer_server() -> Iterator[PayerServer]:
    """A server on a free loopback port."""
    state = PayerServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            form = parse_qs(self.rfile.read(length).decode())
            state.token_requests.append((self.headers["Authorization"], form))
            expected = base64.b64encode(f"covercard:{SECRET}".encode()).decode()
            if self.headers["Authorization"] != f"Basic {expected}":
                return self.send(401, {"error": "invalid_client"})
            state.tokens += 1
            token = {"access_token": f"t{state.tokens}", "expires_in": state.lives}
            return self.send(200, {**token, "token_type": "Bearer"})

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            state.asked.append(self.path)
            state.authorizations.append(self.headers["Authorization"])
            kind = parts.path.rsplit("/", 1)[-1]
            time.sleep(state.delays.get(kind, state.delay))
            if self.headers["Authorization"] == f"Bearer {state.refuse_token}":
                return self.send(401, {})
            status = state.statuses.get(kind, state.status)
            if status != 200:
                return self.send(status, {})
            found = state.found(parts.path, parse_qs(parts.query))
            entries = [{"resource": r} for r in found]
            bundle = {"resourceType": "Bundle", "type": "searchset", "entry": entries}
            return self.send(200, bundle)

        def send(self, status: int, body: Json) -> None:
            written = json.dumps(body).encode()
            with contextlib.suppress(OSError):
                self.send_response(status)
                self.send_header("Content-Type", "application/fhir+json")
                self.send_header("Content-Length", str(len(written)))
                self.end_headers()
                self.wfile.write(written)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing is written."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield state
    server.shutdown()
    server.server_close()
