"""Traces by OpenTelemetry: a span a call, with a child for each question and for the record.

Spans are made when the call has ended, from the times that were taken anyway: a call costs nothing
where no traces are asked for. Names and attributes are of fixed sets, as in the log lines: nothing
of the call's content, no id of a patient or an order, no address of an EHR, no message of an error.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol

from flask import Flask, Response, g, has_request_context, request

from service import __version__
from service.call_facts import Fact, noted
from service.errors import ConfigurationError
from service.fhir.orders import ORDER_TYPES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace.export import SpanExporter

    from service.ehr.fetch_report import FetchReport

Value = str | int | float | bool

_TOLD = ("call", "client", "service", "hook", "version", "cards", "statements", "limit", "claim")
"""What a log line has that a span has too, as covercard.<name>; of fixed sets or this program's."""
_TYPES = ORDER_TYPES | {
    "ClaimResponse",
    "Condition",
    "Coverage",
    "Device",
    "Encounter",
    "Location",
    "Medication",
    "Observation",
    "Organization",
    "Patient",
    "Practitioner",
    "PractitionerRole",
    "Procedure",
    "Questionnaire",
    "QuestionnaireResponse",
}
"""The types of resources that EHRs are asked for."""
_UNTRACED = frozenset({"operations.live", "operations.ready", "operations.measure"})
"""Endpoints that are asked every few seconds."""


class ToldSpan(NamedTuple):
    """A span to be made; times in nanoseconds since 1970 UTC."""

    name: str
    began: int
    ended: int
    attributes: Mapping[str, Value]


class Tracing(Protocol):
    """Destination of traces."""

    def tell(self, traceparent: str, call: ToldSpan, children: Sequence[ToldSpan]) -> None:
        """Send a call's span with its children; `traceparent` is the caller's (W3C), or ""."""


class OtlpTracing:
    """Traces to a collector at an OTLP/HTTP endpoint, or to `exporter`; nothing waits for it.

    Nothing is opened before the first call: a worker is forked from the process that checks the
    files. Raises ConfigurationError where OpenTelemetry is not installed.
    """

    def __init__(self, endpoint: str, exporter: SpanExporter | None = None) -> None:
        try:
            import opentelemetry.exporter.otlp.proto.http.trace_exporter
            import opentelemetry.sdk.trace  # noqa: F401
        except ImportError:
            raise ConfigurationError(
                "COVERCARD_OTLP_ENDPOINT: OpenTelemetry is not installed; run"
                " `pip install 'covercard[otel]'`, or leave the setting away"
            ) from None
        self._endpoint = endpoint
        self._exporter = exporter
        self._lock = threading.Lock()
        self._make: Callable[[str, ToldSpan, Sequence[ToldSpan]], None] | None = None

    def tell(self, traceparent: str, call: ToldSpan, children: Sequence[ToldSpan]) -> None:
        with self._lock:
            if self._make is None:
                self._make = self._opened()
        self._make(traceparent, call, children)

    def _opened(self) -> Callable[[str, ToldSpan, Sequence[ToldSpan]], None]:
        from opentelemetry.context import Context
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
        from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        service = Resource.create({"service.name": "covercard", "service.version": __version__})
        provider = TracerProvider(resource=service)
        provider.add_span_processor(
            SimpleSpanProcessor(self._exporter)
            if self._exporter is not None
            else BatchSpanProcessor(OTLPSpanExporter(endpoint=self._endpoint))
        )
        tracer = provider.get_tracer("covercard", __version__)
        propagator = TraceContextTextMapPropagator()

        def make(traceparent: str, call: ToldSpan, children: Sequence[ToldSpan]) -> None:
            # tracestate is left out: a caller may have written anything into it.
            context = propagator.extract({"traceparent": traceparent}, Context())
            span = tracer.start_span(
                call.name,
                context,
                kind=SpanKind.SERVER,
                attributes=dict(call.attributes),
                start_time=call.began,
            )
            status = call.attributes.get("http.response.status_code")
            if isinstance(status, int) and status >= 500:
                span.set_status(StatusCode.ERROR)
            within = set_span_in_context(span, context)
            for child in children:
                tracer.start_span(
                    child.name,
                    within,
                    kind=SpanKind.CLIENT,
                    attributes=dict(child.attributes),
                    start_time=child.began,
                ).end(child.ended)
            span.end(call.ended)

        return make


def trace_calls(app: Flask, tracing: Tracing) -> None:
    """Tell each call's span when it has its answer. Register after `log_calls`."""

    @app.before_request
    def begin() -> None:
        g.trace_began = time.time_ns(), time.monotonic()

    @app.after_request
    def tell(response: Response) -> Response:
        if request.endpoint not in _UNTRACED and "trace_began" in g:
            facts = noted()
            began, at = g.trace_began
            ended = time.time_ns()
            rule = request.url_rule.rule if request.url_rule is not None else "no route"
            attributes: dict[str, Value] = {
                "http.route": rule,
                "http.response.status_code": response.status_code,
            }
            attributes |= {
                f"covercard.{name}": fact for name in _TOLD if (fact := facts.get(name)) is not None
            }
            if "refusal" in g:
                attributes["covercard.refusal"] = g.refusal
            call = ToldSpan(rule, began, ended, attributes)
            children = [*_fetches(began, at), *g.get("questions", ()), *_record(facts, ended)]
            tracing.tell(request.headers.get("traceparent", ""), call, children)
        return response


def traced(asked: Callable[[str, float], None]) -> Callable[[str, float], None]:
    """The counter of questions to the payer's records; each is a child of its call as well."""

    def question(outcome: str, seconds: float) -> None:
        asked(outcome, seconds)
        if has_request_context() and "trace_began" in g:
            ended = time.time_ns()
            began = ended - round(seconds * 1e9)
            span = ToldSpan("payer data", began, ended, {"covercard.outcome": outcome})
            g.setdefault("questions", []).append(span)

    return question


def _fetches(began: int, at: float) -> Iterator[ToldSpan]:
    """A child for each query to the EHR: its type alone, without id and values."""
    reports: Sequence[FetchReport] = g.get("fetch_reports", ())
    for report in reports:
        start = began + max(0, round((report.started - at) * 1e9))
        # The caller writes references: a type is told only where it is one that is asked for.
        kind = report.what.partition("?")[0].partition("/")[0]
        attributes: dict[str, Value] = {
            "covercard.resource_type": kind if kind in _TYPES else "other",
            "covercard.outcome": report.outcome.value,
        }
        yield ToldSpan("fetch", start, start + report.milliseconds * 1_000_000, attributes)


def _record(facts: Mapping[str, Fact], ended: int) -> Iterator[ToldSpan]:
    """The record in the decision log: the last step before the answer."""
    milliseconds = facts.get("record_ms")
    if isinstance(milliseconds, float):
        yield ToldSpan("record", ended - round(milliseconds * 1e6), ended, {})
