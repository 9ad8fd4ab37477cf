"""Queries for a policy's rules: only for what can still change the answer.

The smallest set of facts that would settle an order says what is worth a query. Searches are
bounded by code and by the time that the policy looks back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from service.decision.conditions import shifted
from service.decision.facts import APPROVAL, FactSource, FactSpec, Family, Why
from service.ehr.fhir_query import FhirQuery, Search, missing
from service.fhir.document import Resource
from service.fhir.encounters import encounters_of
from service.fhir.fact_reader import FhirFacts
from service.fhir.fact_readers.care_facts import searched_by
from service.fhir.questionnaire_responses import named_by
from service.fhir.resources import Resources

FormUrl = Callable[[str], str | None]
"""The canonical without version of the form of an id."""


def fact_needs(spec: FactSpec, facts: FhirFacts, form_url: FormUrl) -> Iterator[FhirQuery]:
    """The queries that could tell a fact; none where it is told in a way that cannot be read."""
    if facts.get(spec).why is not Why.NOT_TOLD:
        return
    if spec.source is not None:
        yield from _of_source(spec.source, facts, form_url)
        return
    for element, types in _REFERENCES.get(spec.name, {}).items():
        for reference in _references(facts.resource.data.get(element)):
            yield from missing(reference, facts.resources, *types)
    if spec.name.startswith("patient."):
        yield from missing(facts.patient, facts.resources, "Patient")
    if "Encounter" in spec.needs:
        for reference in encounters_of(facts.resource, facts.encounter_id)[:1]:
            yield from missing(reference, facts.resources, "Encounter")


def decision_needs(order: Resource, resources: Resources) -> Iterator[FhirQuery]:
    """The queries for the payer's decisions that an order names (`insurance`)."""
    if "insurance" not in order.data:
        return
    for reference in _references(order.data["insurance"]):
        if "ClaimResponse/" in reference:
            yield from missing(reference, resources, "ClaimResponse")


_REFERENCES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "order.reason": {"reasonReference": ("Condition",)},
    "order.performer": {"performer": ("Practitioner", "PractitionerRole", "Organization")},
    "order.place": {"locationReference": ("Location",)},
    APPROVAL: {"insurance": ("ClaimResponse",)},
    "earlier.approved": {"insurance": ("ClaimResponse",)},
}
"""By fact, the order's elements that refer to what tells it, and the types that do."""


def _of_source(source: FactSource, facts: FhirFacts, form_url: FormUrl) -> Iterator[FhirQuery]:
    patient = ("patient", facts.patient.removeprefix("Patient/"))
    if source.family is Family.ANSWER:
        for reference in named_by(facts.resource.data):
            yield from missing(reference, facts.resources, "QuestionnaireResponse")
        url = form_url(source.questionnaire or "")
        if url is not None:
            params = (patient, ("questionnaire", url))
            yield Search("QuestionnaireResponse", params, spare=frozenset({"questionnaire"}))
        return
    months = source.months + (_AHEAD if source.family is Family.ORDER else 0)
    first = shifted(facts.day.earliest, -months, -source.days)
    for kind, day in _SEARCHED[source.family].items():
        since = ((day, f"ge{first}"),) if source.months or source.days else ()
        for code in searched_by(source, facts):
            # What a server that knows no search by day gives besides is left aside in reading.
            yield Search(kind, (patient, ("code", code), *since), spare=frozenset({day}))


_SEARCHED: Mapping[Family, Mapping[str, str]] = {
    Family.OBSERVATION: {"Observation": "date"},
    Family.PROCEDURE: {"Procedure": "date"},
    Family.ORDER: {"ServiceRequest": "authored", "DeviceRequest": "authored-on"},
}
"""By family, the types that are searched, each with the parameter of its day."""
_AHEAD = 12
"""Months for which a service may be ordered in advance: orders are searched by the day on which
they were written."""


def _references(written: Any) -> Iterator[str]:
    for item in written if isinstance(written, list) else [written]:
        reference = item.get("reference") if isinstance(item, dict) else None
        if isinstance(reference, str):
            yield reference


def is_of_coverage(need: FhirQuery) -> bool:
    """Whether a query is for a coverage or its payer: until these are here, rules wait."""
    if isinstance(need, Search):
        return need.type == "Coverage"
    return need.label.partition("/")[0] in ("Coverage", "Organization")


def searched_in_full(
    planned: frozenset[FhirQuery], failed: frozenset[FhirQuery]
) -> frozenset[tuple[str, str]]:
    """The types and codes of which every search that was planned has been answered."""
    searches = [n for n in planned if isinstance(n, Search)]
    by_code = {n: dict(n.params).get("code") for n in searches}
    return frozenset((n.type, code) for n, code in by_code.items() if code) - frozenset(
        (n.type, code) for n, code in by_code.items() if code and n in failed
    )
