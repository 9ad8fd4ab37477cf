"""Traces: a span a call with its questions and its record, and nothing of what the call holds."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.bootstrap.app import RECORDER, create_app
from service.cli.ehr_stub.fhir_server import DEMO_TOKEN
from service.errors import ConfigurationError
from service.payer_data.sources import prepare_source
from service.web.tracing import OtlpTracing, ToldSpan
from tests.conftest import FIXTURES, NOW, ROOT, fixture_text, in_folder
from tests.e2e.fetch.ehrs import Ehr

MISSING = "SKIPPED LOUDLY: OpenTelemetry is not installed (pip install -r requirements-otel.lock)"
URL = "/cds-services/order-sign-crd"
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


@dataclass
class Told:
    """Keeps what is told."""

    calls: list[tuple[str, ToldSpan, Sequence[ToldSpan]]] = field(default_factory=list)

    def tell(self, traceparent: str, call: ToldSpan, children: Sequence[ToldSpan]) -> None:
        self.calls.append((traceparent, call, children))


@pytest.fixture
def ehr() -> Iterator[Ehr]:
    made = Ehr()
    yield made
    made.close()


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def client(tmp_path: Path, told: Told) -> Iterator[FlaskClient]:
    payer_data = f"sqlite:///{tmp_path}/payer-data.sqlite3"
    prepare_source(payer_data)
    settings = in_folder(tmp_path, payer_data=payer_data)
    app = create_app(settings, clock=lambda: NOW, tracing=told)
    yield app.test_client()
    app.extensions[RECORDER].stop()


def call_of(ehr: Ehr) -> dict[str, Any]:
    """A call whose coverage must be fetched from the EHR."""
    request: dict[str, Any] = json.loads(
        fixture_text(FIXTURES / "order-sign" / "mrs-medicare-advantage.json")
    )
    request["fhirServer"] = ehr.base
    request["fhirAuthorization"] = {
        "access_token": DEMO_TOKEN,
        "token_type": "Bearer",
        "expires_in": 300,
        "scope": "patient/*.rs",
        "subject": "covercard",
    }
    return request


def test_a_call_is_a_span_with_a_child_for_each_question_and_for_the_record(
    client: FlaskClient, told: Told, ehr: Ehr
) -> None:
    request = call_of(ehr)
    del request["prefetch"]["encounter"]
    before = time.time_ns()
    reply = client.post(URL, json=request, headers={"traceparent": TRACEPARENT})
    after = time.time_ns()
    assert reply.status_code == 200
    ((parent, call, children),) = told.calls
    assert parent == TRACEPARENT
    assert call.name == "/cds-services/<service_id>"
    assert call.attributes["http.response.status_code"] == 200
    assert call.attributes["covercard.hook"] == "order-sign"
    assert call.attributes["covercard.call"] == reply.headers["Covercard-Call"]
    names = [child.name for child in children]
    assert names.count("fetch") == len(ehr.requests) > 0
    assert names.count("payer data") == 1
    assert names.count("record") == 1
    fetched = [c.attributes for c in children if c.name == "fetch"]
    assert {"covercard.resource_type": "Encounter", "covercard.outcome": "fetched"} in fetched
    millisecond = 1_000_000  # to which durations are rounded
    for span in (call, *children):
        assert before <= span.began <= span.ended <= after + millisecond
        assert call.began <= span.began and span.ended <= call.ended + millisecond


def test_a_refused_call_is_a_span_with_its_reason(client: FlaskClient, told: Told) -> None:
    client.post(URL, data="{", content_type="application/json")
    ((_, call, _),) = told.calls
    assert call.attributes["http.response.status_code"] == 400
    assert call.attributes["covercard.refusal"] == "MalformedRequest"


def test_what_is_asked_every_few_seconds_is_no_trace(client: FlaskClient, told: Told) -> None:
    for path in ("/livez", "/readyz", "/metrics"):
        client.get(path)
    assert told.calls == []


def words_of(value: Any) -> Iterator[str]:
    """The texts of a call that tell something of it: its values, names of its own, its ids."""
    if isinstance(value, dict):
        for name, child in value.items():
            yield name
            yield from words_of(child)
    elif isinstance(value, list):
        for child in value:
            yield from words_of(child)
    elif isinstance(value, str):
        yield value


OURS = {"order-sign", "2.0", "2.2", "ServiceRequest", "Coverage", "Patient", "Encounter"}
"""Words of the specifications, which a span may say whoever else says them."""


def telling(request: dict[str, Any]) -> dict[str, Any]:
    """The call with ids, names and references that are words of their own."""
    text = json.dumps(request).replace("ann", "marigold-quistgaard").replace("mrs-brain", "ord-774")
    changed: dict[str, Any] = json.loads(text)
    order = changed["context"]["draftOrders"]["entry"][0]["resource"]
    order["requester"] = {"reference": "Quistgaard/ssn-123456789", "display": "Dr. Telling"}
    order["supportingInfo"] = [{"reference": "Marigold/8d1e"}]
    changed["secretMarigold"] = "spoken in confidence"
    return changed


def test_no_span_says_anything_of_the_call(client: FlaskClient, told: Told, ehr: Ehr) -> None:
    request = telling(call_of(ehr))
    del request["prefetch"]["coverage"]
    client.post(URL, json=request)
    refused = telling(call_of(ehr))
    refused["context"]["draftOrders"]["entry"][0]["resource"]["status"] = ["marigold-status"]
    client.post(f"{URL}?patient=marigold-quistgaard", json=refused)
    client.post("/cds-services/marigold-quistgaard-crd", json=request)
    client.get("/policies/marigold-quistgaard")
    client.post("/fhir/Questionnaire/marigold/$questionnaire-package", json=request)
    assert len(told.calls) == 5
    said: list[str] = []
    for _, call, children in told.calls:
        for span in (call, *children):
            said.extend([span.name, *span.attributes])
            said.extend(v for v in span.attributes.values() if isinstance(v, str))
    everything = "\n".join(said).lower()
    for word in ("marigold", "quistgaard", "ord-774", "123456789", "telling", "confidence"):
        assert word not in everything
    assert ehr.base not in everything and str(ehr.port) not in everything
    of_the_call = {w for w in words_of(request) if len(w) > 3} - OURS
    assert of_the_call.isdisjoint(said)


def test_without_the_setting_no_call_takes_a_step_more(tmp_path: Path) -> None:
    """No function of tracing runs, and OpenTelemetry is not even loaded."""
    app = create_app(in_folder(tmp_path), clock=lambda: NOW)
    client = app.test_client()
    text = fixture_text(FIXTURES / "order-sign" / "mrs-medicare-advantage.json")
    run: list[str] = []

    def watch(frame: Any, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.endswith("web/tracing.py"):
            run.append(frame.f_code.co_name)

    sys.setprofile(watch)
    try:
        assert client.post(URL, data=text, content_type="application/json").status_code == 200
    finally:
        sys.setprofile(None)
        app.extensions[RECORDER].stop()
    assert run == []


def test_the_span_that_is_sent_continues_the_callers_trace(tmp_path: Path, ehr: Ehr) -> None:
    memory = pytest.importorskip(
        "opentelemetry.sdk.trace.export.in_memory_span_exporter", reason=MISSING
    )
    exporter = memory.InMemorySpanExporter()
    app = create_app(
        in_folder(tmp_path), clock=lambda: NOW, tracing=OtlpTracing("http://x", exporter)
    )
    request = call_of(ehr)
    del request["prefetch"]["coverage"]
    client = app.test_client()
    state = {"traceparent": TRACEPARENT, "tracestate": "vendor=marigold"}
    assert client.post(URL, json=request, headers=state).status_code == 200
    client.post(URL, json=request, headers={"traceparent": "00-marigold-1-01"})
    client.post(URL, json=request, headers={"traceparent": TRACEPARENT[:-2] + "00"})
    app.extensions[RECORDER].stop()
    spans = exporter.get_finished_spans()
    roots = [s for s in spans if s.name == "/cds-services/<service_id>"]
    assert len(roots) == 2  # the caller of the last one does not sample
    continued, own = roots
    assert f"{continued.context.trace_id:032x}" == TRACE
    assert f"{continued.parent.span_id:016x}" == PARENT
    assert own.parent is None and f"{own.context.trace_id:032x}" != TRACE
    children = [s for s in spans if s.parent and s.parent.span_id == continued.context.span_id]
    assert {"fetch", "record"} <= {s.name for s in children}
    assert all(s.context.trace_id == continued.context.trace_id for s in children)
    assert "marigold" not in "".join(s.to_json() for s in spans)


def test_without_opentelemetry_the_setting_is_refused_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    settings = in_folder(tmp_path, otlp_endpoint="http://127.0.0.1:4318/v1/traces")
    with pytest.raises(ConfigurationError, match=r"COVERCARD_OTLP_ENDPOINT.*covercard\[otel\]"):
        create_app(settings)


def test_opentelemetry_is_no_part_of_the_default_installation() -> None:
    for lock in ("requirements.lock", "requirements-dev.lock"):
        assert "opentelemetry" not in (ROOT / lock).read_text("utf-8")
    locked = (ROOT / "requirements-otel.lock").read_text("utf-8")
    named = re.findall(r"^([\w-]+)==\S+ \\$", locked, flags=re.MULTILINE)
    assert {"opentelemetry-api", "opentelemetry-sdk"} <= set(named)
    assert "://" not in locked and "--find-links" not in locked
