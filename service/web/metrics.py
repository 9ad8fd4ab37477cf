"""Prometheus metrics. No label contains data of a patient or a request.

Worker processes count in shared memory; Prometheus' client writes the text.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from service.decision_log.recorder import Health
from service.shared_counts import SharedCounts

_QUICK_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1, 5)
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


@dataclass(frozen=True, slots=True)
class _Described:
    """A metric: its help text, its labels, and a histogram's upper bounds."""

    text: str
    labels: tuple[str, ...]
    bounds: tuple[float, ...] = ()


_COUNTERS = {
    "covercard_calls": _Described(
        "Hook calls, by how they ended.", ("hook", "version", "client", "outcome")
    ),
    "covercard_cards": _Described("Cards shown, by policy and kind.", ("policy", "topic")),
    "covercard_feedback": _Described("Feedback received.", ("outcome",)),
    "covercard_form_errors": _Described("Errors with forms that clients reported.", ("form",)),
    "covercard_fetches": _Described("Queries to EHRs, by how they ended.", ("outcome",)),
    "covercard_payer_findings": _Described(
        "Orders, by what the payer's own records say of them.", ("finding",)
    ),
    "covercard_refusals": _Described(
        "Requests refused, by client and reason: a limit, or the kind of error.",
        ("client", "reason"),
    ),
    "covercard_refusals_not_kept": _Described(
        "Refused calls that are counted and not kept in the decision log, by client.", ("client",)
    ),
}
_GAUGES = {
    "covercard_in_flight": _Described(
        "Now: requests in all (open), tokens being checked or in line for it (checking), calls"
        " at work (working), calls waiting for an EHR (waiting).",
        ("state",),
    ),
    "covercard_places": _Described(
        "The most of each: threads for requests (open), tokens (checking), calls (working,"
        " waiting), over all workers. Where open has reached its number, requests queue.",
        ("state",),
    ),
}
_HISTOGRAMS = {
    "covercard_call_seconds": _Described(
        "Time from a hook call's body to its recorded answer.", ("hook",), _SECONDS
    ),
    "covercard_payer_data_seconds": _Described(
        "Questions to the source of the payer's own records, by how they ended.",
        ("outcome",),
        _QUICK_SECONDS,
    ),
}
OF_THE_LIVING = frozenset(_GAUGES)
"""The metrics that end with the process that set them."""


class CheckFigures(NamedTuple):
    """Figures of a readiness check: its state (0 ready, 1 degraded, 2 failing), its warnings."""

    state: int
    warnings: int


class Metrics:
    """The metrics of one application. Label values are from fixed sets, and clients' names from the
    operator's file.
    """

    def __init__(self, counts: SharedCounts | None = None) -> None:
        self._counts = counts or SharedCounts()

    def call(
        self, hook: str, version: str, client: str, outcome: str, seconds: float | None
    ) -> None:
        """Count a hook call with its outcome: "answered", "refused", "failed" or "unavailable".

        `seconds` is None for a call refused before its body was read.
        """
        self._counts.add(("covercard_calls", hook, version, client, outcome), 1)
        if seconds is not None:
            self._observe("covercard_call_seconds", hook, _SECONDS, seconds)

    def most(self, **places: int) -> None:
        """The most of each state of `covercard_in_flight`, in this worker."""
        for state, number in places.items():
            self._counts.set(("covercard_places", state), number)

    def places(self, working: int, waiting: int) -> None:
        """Calls of this worker that are at work, and that wait for an EHR, now."""
        self._counts.set(("covercard_in_flight", "working"), working)
        self._counts.set(("covercard_in_flight", "waiting"), waiting)

    def count(self, state: str, change: int) -> None:
        """One more (1) or one less (-1) is "open" or "checking"."""
        self._counts.add(("covercard_in_flight", state), change)

    def refusal(self, client: str, reason: str) -> None:
        """Count a refused request; `client` is empty where it is not known."""
        self._counts.add(("covercard_refusals", client, reason), 1)

    def not_kept(self, client: str) -> None:
        """Count a refused call that is not kept."""
        self._counts.add(("covercard_refusals_not_kept", client), 1)

    def card(self, policy: str | None, topic: str) -> None:
        self._counts.add(("covercard_cards", policy or "", topic), 1)

    def feedback(self, outcome: str) -> None:
        self._counts.add(("covercard_feedback", outcome), 1)

    def form_error(self, form: str) -> None:
        """Count an error with a form, by the id of one on file."""
        self._counts.add(("covercard_form_errors", form), 1)

    def fetch(self, outcome: str) -> None:
        """Count a query to an EHR by its outcome, from a fixed set."""
        self._counts.add(("covercard_fetches", outcome), 1)

    def payer_data(self, outcome: str, seconds: float) -> None:
        """A question to the payer's own records has ended: "answered" or "unreachable"."""
        self._observe("covercard_payer_data_seconds", outcome, _QUICK_SECONDS, seconds)

    def payer_finding(self, kind: str) -> None:
        """Count an order by a kind of its payer finding, from a fixed set."""
        self._counts.add(("covercard_payer_findings", kind), 1)

    def _observe(self, name: str, label: str, bounds: Sequence[float], seconds: float) -> None:
        bucket = bisect_left(bounds, seconds)
        self._counts.observe((name, label), bucket, len(bounds) + 1, seconds)

    def exposition(
        self,
        health: Callable[[], Health],
        checks: Mapping[str, CheckFigures] | None = None,
        snapshot: Mapping[str, str] | None = None,
        ages: Mapping[str, float] | None = None,
    ) -> bytes:
        """All metrics in Prometheus' text format, over all workers.

        `checks` has the figures of each readiness check, as the worker that is asked sees them;
        `snapshot`, the digests of the snapshot that it answers by; `ages`, the seconds since the
        last import of each kind of the payer's records.
        """
        shown = CollectorRegistry()
        shown.register(_SnapshotCollector(snapshot or {}))
        shown.register(_ChecksCollector(checks or {}))
        shown.register(_RecordsCollector(health))
        shown.register(_CountsCollector(self._counts))
        shown.register(_AgesCollector(ages or {}))
        return generate_latest(shown)


class _CountsCollector(Collector):
    """Counts of all workers, read on each scrape."""

    def __init__(self, counts: SharedCounts) -> None:
        self._counts = counts

    def collect(self) -> Iterable[Metric]:
        totals: dict[str, list[tuple[Sequence[str], Sequence[float]]]] = {}
        for (name, *labels), values in sorted(self._counts.totals().items()):
            totals.setdefault(name, []).append((labels, values))
        for name in (*_COUNTERS, *_GAUGES, *_HISTOGRAMS):
            yield _family(name, totals.get(name, ()))

    def describe(self) -> Iterable[Metric]:
        return ()


class _SnapshotCollector(Collector):
    """The digests of the snapshot in force, as labels."""

    def __init__(self, digests: Mapping[str, str]) -> None:
        self._digests = digests

    def collect(self) -> Sequence[Metric]:
        if not self._digests:
            return []
        found = GaugeMetricFamily(
            "covercard_snapshot",
            "1, with the digests of the snapshot in force: its policies, and its clients and"
            " readers (access).",
            labels=list(self._digests),
        )
        found.add_metric(list(self._digests.values()), 1)
        return [found]

    def describe(self) -> Iterable[Metric]:
        return ()


def _family(name: str, totals: Iterable[tuple[Sequence[str], Sequence[float]]]) -> Metric:
    """A metric with its values, by the values of its labels."""
    if name in _HISTOGRAMS:
        described = _HISTOGRAMS[name]
        histogram = HistogramMetricFamily(name, described.text, labels=described.labels)
        bounds = [*map(floatToGoString, described.bounds), "+Inf"]
        for labels, (*buckets, seconds) in totals:
            histogram.add_metric(
                labels, list(zip(bounds, accumulate(buckets), strict=True)), seconds
            )
        return histogram
    family: GaugeMetricFamily | CounterMetricFamily
    if name in _GAUGES:
        described = _GAUGES[name]
        family = GaugeMetricFamily(name, described.text, labels=described.labels)
    else:
        described = _COUNTERS[name]
        family = CounterMetricFamily(name, described.text, labels=described.labels)
    for labels, (value,) in totals:
        family.add_metric(labels, value)
    return family


class _ChecksCollector(Collector):
    """Readiness checks, each with its state and its number of warnings."""

    def __init__(self, checks: Mapping[str, CheckFigures]) -> None:
        self._checks = checks

    def collect(self) -> Sequence[Metric]:
        state = GaugeMetricFamily(
            "covercard_check_state",
            "State of a readiness check: 0 ready, 1 degraded, 2 failing.",
            labels=["check"],
        )
        warnings = GaugeMetricFamily(
            "covercard_check_warnings", "Warnings of a readiness check.", labels=["check"]
        )
        for name, figures in self._checks.items():
            state.add_metric([name], figures.state)
            warnings.add_metric([name], figures.warnings)
        return [state, warnings]

    def describe(self) -> Iterable[Metric]:
        return ()


class _AgesCollector(Collector):
    """Ages of the payer's own records, by kind; a kind that was never imported has none."""

    def __init__(self, ages: Mapping[str, float]) -> None:
        self._ages = ages

    def collect(self) -> Sequence[Metric]:
        age = GaugeMetricFamily(
            "covercard_payer_data_age_seconds",
            "Time since the last import of the payer's own records.",
            labels=["kind"],
        )
        for kind, seconds in self._ages.items():
            age.add_metric([kind], seconds)
        return [age]

    def describe(self) -> Iterable[Metric]:
        return ()


class _RecordsCollector(Collector):
    """Health of the decision log, read on each scrape."""

    def __init__(self, health: Callable[[], Health]) -> None:
        self._health = health

    def collect(self) -> Sequence[Metric]:
        health = self._health()
        values = {
            ("covercard_store_up", "Whether the decision log's database takes records."): int(
                health.store_up
            ),
            ("covercard_segments_written", "Whether records can be written."): int(
                not health.refusing
            ),
            (
                "covercard_waiting_bytes",
                "Bytes in the segments that are not in the database yet.",
            ): health.waiting.bytes,
            (
                "covercard_waiting_seconds",
                "Age of the oldest record that is not in the database yet.",
            ): health.waiting.seconds,
            (
                "covercard_records_set_aside",
                "Files of records that a person must look at.",
            ): health.waiting.set_aside,
            ("covercard_records_lost", "Answered records that are gone."): health.lost,
        }
        return [GaugeMetricFamily(name, text, value=v) for (name, text), v in values.items()]

    def describe(self) -> Iterable[Metric]:
        return ()
