"""Prometheus metrics. No label contains data of a patient or a request.

Worker processes share counters in the folder PROMETHEUS_MULTIPROC_DIR, created by
`covercard serve`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from service.decision_log.recorder import Health

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

_QUICK_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1, 5)
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class CheckFigures(NamedTuple):
    """Figures of a readiness check: its state (0 ready, 1 degraded, 2 failing), its warnings."""

    state: int
    warnings: int


T = TypeVar("T", Counter, Gauge, Histogram)


class _Children(Generic[T]):
    """The children of a metric by their labels: the library's own look-up takes longer than to
    count.
    """

    def __init__(self, metric: T) -> None:
        self._metric: T = metric
        self._kept: dict[tuple[str, ...], T] = {}

    def __call__(self, *labels: str) -> T:
        child = self._kept.get(labels)
        if child is None:
            child = self._kept[labels] = self._metric.labels(*labels)
        return child


class Metrics:
    """The metrics of one application. Label values are from fixed sets, and clients' names from the
    operator's file.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._calls = _Children(
            Counter(
                "covercard_calls",
                "Hook calls, by how they ended.",
                ["hook", "version", "client", "outcome"],
                registry=self._registry,
            )
        )
        self._seconds = _Children(
            Histogram(
                "covercard_call_seconds",
                "Time from a hook call's body to its recorded answer.",
                ["hook"],
                buckets=_SECONDS,
                registry=self._registry,
            )
        )
        self._cards = _Children(
            Counter(
                "covercard_cards",
                "Cards shown, by policy and kind.",
                ["policy", "topic"],
                registry=self._registry,
            )
        )
        self._feedback = _Children(
            Counter(
                "covercard_feedback",
                "Feedback received.",
                ["outcome"],
                registry=self._registry,
            )
        )
        self._form_errors = _Children(
            Counter(
                "covercard_form_errors",
                "Errors with forms that clients reported.",
                ["form"],
                registry=self._registry,
            )
        )
        self._fetches = _Children(
            Counter(
                "covercard_fetches",
                "Queries to EHRs, by how they ended.",
                ["outcome"],
                registry=self._registry,
            )
        )
        self._payer_findings = _Children(
            Counter(
                "covercard_payer_findings",
                "Orders, by what the payer's own records say of them.",
                ["finding"],
                registry=self._registry,
            )
        )
        self._in_flight = _Children(
            Gauge(
                "covercard_in_flight",
                "Now: requests in all (open), tokens being checked or in line for it (checking),"
                " calls at work (working), calls waiting for an EHR (waiting).",
                ["state"],
                registry=self._registry,
                multiprocess_mode="livesum",
            )
        )
        self._places = _Children(
            Gauge(
                "covercard_places",
                "The most of each: threads for requests (open), tokens (checking), calls (working,"
                " waiting), over all workers. Where open has reached its number, requests queue.",
                ["state"],
                registry=self._registry,
                multiprocess_mode="livesum",
            )
        )
        self._refusals = _Children(
            Counter(
                "covercard_refusals",
                "Requests refused, by client and reason: a limit, or the kind of error.",
                ["client", "reason"],
                registry=self._registry,
            )
        )
        self._unkept = _Children(
            Counter(
                "covercard_refusals_not_kept",
                "Refused calls that are counted and not kept in the decision log, by client.",
                ["client"],
                registry=self._registry,
            )
        )
        self._payer_data = _Children(
            Histogram(
                "covercard_payer_data_seconds",
                "Questions to the source of the payer's own records, by how they ended.",
                ["outcome"],
                buckets=_QUICK_SECONDS,
                registry=self._registry,
            )
        )

    def call(
        self, hook: str, version: str, client: str, outcome: str, seconds: float | None
    ) -> None:
        """Count a hook call with its outcome: "answered", "refused", "failed" or "unavailable".

        `seconds` is None for a call refused before its body was read.
        """
        self._calls(hook, version, client, outcome).inc()
        if seconds is not None:
            self._seconds(hook).observe(seconds)

    def most(self, **places: int) -> None:
        """The most of each state of `covercard_in_flight`, in this worker."""
        for state, number in places.items():
            self._places(state).set(number)

    def places(self, working: int, waiting: int) -> None:
        """Calls of this worker that are at work, and that wait for an EHR, now."""
        self._in_flight("working").set(working)
        self._in_flight("waiting").set(waiting)

    def count(self, state: str, change: int) -> None:
        """One more (1) or one less (-1) is "open" or "checking"."""
        self._in_flight(state).inc(change)

    def refusal(self, client: str, reason: str) -> None:
        """Count a refused request; `client` is empty where it is not known."""
        self._refusals(client, reason).inc()

    def not_kept(self, client: str) -> None:
        """Count a refused call that is not kept."""
        self._unkept(client).inc()

    def card(self, policy: str | None, topic: str) -> None:
        self._cards(policy or "", topic).inc()

    def feedback(self, outcome: str) -> None:
        self._feedback(outcome).inc()

    def form_error(self, form: str) -> None:
        """Count an error with a form, by the id of one on file."""
        self._form_errors(form).inc()

    def fetch(self, outcome: str) -> None:
        """Count a query to an EHR by its outcome, from a fixed set."""
        self._fetches(outcome).inc()

    def payer_data(self, outcome: str, seconds: float) -> None:
        """A question to the payer's own records has ended: "answered" or "unreachable"."""
        self._payer_data(outcome).observe(seconds)

    def payer_finding(self, kind: str) -> None:
        """Count an order by a kind of its payer finding, from a fixed set."""
        self._payer_findings(kind).inc()

    def exposition(
        self,
        health: Callable[[], Health],
        checks: Mapping[str, CheckFigures] | None = None,
        snapshot: Mapping[str, str] | None = None,
    ) -> bytes:
        """All metrics in Prometheus' text format, over all workers.

        `checks` has the figures of each readiness check, as the worker that is asked sees them;
        `snapshot`, the digests of the snapshot that it answers by.
        """
        shown = CollectorRegistry()
        shown.register(_SnapshotCollector(snapshot or {}))
        shown.register(_ChecksCollector(checks or {}))
        shown.register(_RecordsCollector(health))
        if FOLDER_VARIABLE in os.environ:
            _forget_dead_workers(Path(os.environ[FOLDER_VARIABLE]))
            MultiProcessCollector(shown)  # type: ignore[no-untyped-call]
        else:
            shown.register(_Forwarding(self._registry))
        return generate_latest(shown)


def _forget_dead_workers(folder: Path) -> None:
    """Remove what workers that are gone had in flight: nobody else would ever take it off."""
    for file in folder.glob("gauge_live*_*.db"):
        pid = file.stem.rpartition("_")[2]
        if pid.isdigit() and not Path("/proc", pid).exists():
            mark_process_dead(int(pid), str(folder))  # type: ignore[no-untyped-call]


class _Forwarding(Collector):
    """A collector that forwards another registry's metrics."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Metric]:
        return self._registry.collect()

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
