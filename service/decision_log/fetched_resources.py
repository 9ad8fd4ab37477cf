"""Fetched resources of a call: stored with it, and replayed without a request."""

from __future__ import annotations

import msgspec

from service.decision_log.stored_json import read_kept
from service.ehr.fetch_report import FetchReport, Outcome
from service.ehr.fhir_client import Access
from service.ehr.fhir_query import FhirQuery, Read
from service.ehr.resource_fetcher import Fetched, Plan
from service.fhir.document import Document, Resource
from service.fhir.resources import Resources


class _Kept(msgspec.Struct):
    """Reports are (query, outcome, milliseconds); resources are as received."""

    reports: list[tuple[str, str, int]]
    resources: list[msgspec.Raw]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Kept).decode


def written(fetched: Fetched) -> bytes | None:
    """The fetched resources and reports as JSON; None without a query."""
    if not fetched.reports:
        return None
    reports = [(r.what, r.outcome.value, r.milliseconds) for r in fetched.reports]
    resources = [msgspec.Raw(r.document.raw(r.path)) for r in fetched.resources]
    return _encode(_Kept(reports, resources))


def fetched_types(kept: bytes | None) -> list[str]:
    """The types of the fetched resources."""
    return [r.type for r in fetched_resources(kept)]


def fetched_resources(kept: bytes | None) -> tuple[Resource, ...]:
    """The fetched resources, as received."""
    return () if kept is None else _resources(_decode(kept))


class FetchedBefore:
    """A fetcher that replays the resources stored with a call."""

    def __init__(self, kept: bytes | None) -> None:
        self._kept = _decode(kept) if kept is not None else _Kept([], [])

    def complete(
        self, resources: Resources, plan: Plan, access: Access | None, patient: str
    ) -> Fetched:
        """Add the stored resources to `resources`; a failed query fails again."""
        came = _resources(self._kept)
        for resource in came:
            resources.add(resource)
        reports = tuple(FetchReport(w, Outcome(o), ms) for w, o, ms in self._kept.reports)
        outcomes = {report.what: report.outcome for report in reports}
        failed = frozenset(n for n in plan(resources) if _is_trouble(n, outcomes.get(n.label)))
        return Fetched(reports, failed, came)


def _is_trouble(need: FhirQuery, outcome: Outcome | None) -> bool:
    absent = outcome is Outcome.NOT_FOUND and isinstance(need, Read)
    return outcome not in (None, Outcome.FETCHED) and not absent


def _resources(kept: _Kept) -> tuple[Resource, ...]:
    documents = [Document(bytes(raw), read_kept(bytes(raw))) for raw in kept.resources]
    found = [Resource(d.data, d, (), "") for d in documents]
    return tuple(Resource(r.data, r.document, (), f"fetched.{r.reference}") for r in found)
