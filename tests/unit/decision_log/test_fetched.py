"""What was fetched for a call is kept with it, and used when the call is decided again."""

import json

from service.decision_log.fetched_resources import FetchedBefore, fetched_types, written
from service.ehr.fetch_report import FetchReport, Outcome
from service.ehr.fhir_query import FhirQuery, Read
from service.ehr.resource_fetcher import Fetched
from service.fhir.document import Document, Resource
from service.fhir.resources import Resources


def fetched() -> Fetched:
    body = b'{"resourceType":"Coverage","id":"a","n":1.00}'
    document = Document(body, json.loads(body))
    reports = (
        FetchReport("Coverage/a", Outcome.FETCHED, 12),
        FetchReport("Patient/ann", Outcome.TIMEOUT, 2000),
        FetchReport("Device/d", Outcome.NOT_FOUND, 5),
    )
    coverage = Resource(document.data, document, (), "fetched.Coverage/a")
    return Fetched(reports, frozenset({Read("Patient/ann")}), (coverage,))


def plan(at_hand: Resources) -> list[FhirQuery]:
    wanted = ("Coverage/a", "Patient/ann", "Device/d", "Location/never-asked")
    return [Read(reference) for reference in wanted if at_hand.get(reference) is None]


def test_nothing_is_kept_where_nothing_was_asked_for() -> None:
    assert written(Fetched()) is None
    assert fetched_types(None) == []
    assert FetchedBefore(None).complete(Resources(), plan, None, "Patient/ann") == Fetched()


def test_what_came_is_kept_byte_for_byte() -> None:
    kept = written(fetched())
    assert kept is not None
    assert b'"n":1.00' in kept
    assert fetched_types(kept) == ["Coverage"]


def test_a_call_decided_again_gets_what_came_then_and_misses_what_failed_then() -> None:
    resources = Resources()
    again = FetchedBefore(written(fetched())).complete(resources, plan, None, "Patient/ann")
    assert resources.get("Coverage/a") is not None
    assert again.failed == frozenset({Read("Patient/ann")})
    assert again.reports == fetched().reports
