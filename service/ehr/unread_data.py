"""Unreadable data as input of the decision: a coverage or code that could not be fetched.

A technical failure is neither "no coverage" nor an error of the call; the answer names it.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace

from service.decision.coverage import CoverageFinding, CoverageOutcome, named_by
from service.decision.order import Order
from service.ehr.fhir_query import (
    FhirQuery,
    Search,
    code_needs,
    insurance_needs,
    orders_behind,
    payor_needs,
)
from service.fhir.document import Resource
from service.fhir.resources import Resources


def with_trouble(
    finding: CoverageFinding,
    order: Order,
    resource: Resource,
    resources: Resources,
    failed: Set[FhirQuery],
) -> CoverageFinding:
    """The finding, or UNREACHABLE if its missing data could not be fetched.

    `resource` is the order's. UNREACHABLE has a coverage if one can be referenced: the one named by
    the order, or the one with an unreadable payer.
    """
    if not failed:
        return finding
    unread = [n for n in insurance_needs(resource, resources) if n in failed]
    if unread:
        because = f"{unread[0].label}, named by the order, could not be read"
        return CoverageFinding(CoverageOutcome.UNREACHABLE, because, named_by(order))
    if finding.outcome is CoverageOutcome.NONE:
        searches = [n for n in failed if isinstance(n, Search) and n.type == "Coverage"]
        if searches:
            because = f"{searches[0].label} did not succeed"
            return CoverageFinding(CoverageOutcome.UNREACHABLE, because)
    coverage = finding.usable
    if coverage is not None and coverage.payer is None and not coverage.payer_told:
        at_hand = resources.get(coverage.reference)
        payors = [n for n in payor_needs(at_hand, resources) if n in failed] if at_hand else []
        if payors:
            because = f"{payors[0].label}, its payer, could not be read"
            return replace(finding, outcome=CoverageOutcome.UNREACHABLE, because=because)
    return finding


def unreachable(failed: Set[FhirQuery]) -> frozenset[str]:
    """The references ("Condition/1") and the types of resource that the EHR did not give."""
    return frozenset(n.type if isinstance(n, Search) else n.label for n in failed)


def has_unread_code(order: Resource, resources: Resources, failed: Set[FhirQuery]) -> bool:
    """Whether the resource with an order's code is missing.

    It is a Medication, Device or Procedure that could not be fetched or, for an appointment, its
    absent order: the appointment alone has no code.
    """
    if failed and any(n in failed for n in code_needs(order, resources)):
        return True
    return order.type == "Appointment" and any(orders_behind(order, resources))
