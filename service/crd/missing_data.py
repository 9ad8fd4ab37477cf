"""Missing data of a call: queries for the resources that can change its answer.

Computed again after each arrival, since a fetched resource may lead to others (encounter to
appointment, order, coverage, payer).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from service.crd.cds_service import HookTier, ReviewTarget
from service.crd.hook_request import HookRequest
from service.decision.evaluate import in_scope
from service.ehr.fhir_query import (
    FhirQuery,
    Read,
    Search,
    code_needs,
    insurance_needs,
    missing,
    payor_needs,
)
from service.fhir.document import Resource
from service.fhir.encounters import encounters_of
from service.fhir.orders import read_standing
from service.fhir.resources import Resources


def missing_needs(
    request: HookRequest, resources: Resources, asked: Sequence[ReviewTarget]
) -> Sequence[FhirQuery]:
    """Queries for the hook's own resources, coverage, encounter and codes.

    `asked` are the present resources under review. Without any, the hook's own only: an encounter
    without orders causes no search for coverage.
    """
    needs = [*request.service.needs(request, resources)]
    orders = [a.resource for a in asked if in_scope(read_standing(a.resource))]
    if not orders and not required(needs):
        return needs
    _add_coverage(request, resources, orders, needs)
    if request.service.tier is HookTier.PRIMARY:
        # The encounter, the context's or the orders' own: emergency care changes the notices.
        for order in orders:
            for reference in encounters_of(order, request.encounter_id)[:1]:
                needs += missing(reference, resources, "Encounter")
    for order in orders:
        needs += code_needs(order, resources)
    return needs


def required(needs: Sequence[FhirQuery]) -> list[Read]:
    """The indispensable reads among queries."""
    return [n for n in needs if isinstance(n, Read) and n.required_at is not None]


def coverage_search(request: HookRequest) -> Search:
    """The search for the patient's active coverages with their payers."""
    params = (
        ("patient", request.patient.removeprefix("Patient/")),
        ("status", "active"),
        ("_include", "Coverage:payor"),
    )
    # US Core requires the parameter patient only; payers are then read one by one.
    return Search(
        "Coverage", params, frozenset({"Organization"}), frozenset({"status", "_include"})
    )


def _add_coverage(
    request: HookRequest,
    resources: Resources,
    orders: Sequence[Resource],
    needs: list[FhirQuery],
) -> None:
    coverages = resources.of_type("Coverage")
    if not coverages and not _was_searched(request):
        needs.append(coverage_search(request))
    for order in orders:
        if "insurance" in order.data:
            needs += insurance_needs(order, resources)
    for coverage in coverages:
        needs += payor_needs(coverage, resources)


def _was_searched(request: HookRequest) -> bool:
    """Whether the prefetch of coverage was performed with an empty result.

    By the template's own key only: an empty Bundle does not identify its search.
    """
    given = request.prefetch.get("coverage")
    if not isinstance(given, dict) or given.get("resourceType") != "Bundle":
        return False
    entries = given.get("entry", ())
    return not any(_is_outcome(e) for e in entries)


def _is_outcome(entry: Mapping[str, object]) -> bool:
    resource = entry.get("resource")
    return isinstance(resource, dict) and resource.get("resourceType") == "OperationOutcome"
