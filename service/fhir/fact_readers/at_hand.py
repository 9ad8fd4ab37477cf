"""The order under decision with what is at hand to read its facts from."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field
from datetime import date
from typing import Any, TypeVar

from cards.coverage_information.reader import (
    WrittenCoverageInformation,
    read_coverage_information,
)
from service.decision.coverage import Coverage, CoverageFinding
from service.decision.facts import Fact, Why
from service.decision.order import Code, Order, ServiceDay
from service.fhir.document import Resource
from service.fhir.elements import reference_of
from service.fhir.encounters import (
    EncounterClasses,
    ReadEncounter,
    encounters_of,
    read_encounters,
)
from service.fhir.resources import Resources

T = TypeVar("T")

FormOf = Callable[[str], str | None]
"""The id of the form that a canonical names, if it is one of ours."""


@dataclass(slots=True)
class OrderAtHand:
    """One order under one coverage, and the resources of its call.

    `patient` is "Patient/id", `day` the days that count for the order. `searched` are the
    types and codes that the EHR was searched for to the full; `unreachable` the types and
    references ("Condition/1") that it did not give. `form_of` tells our forms.
    """

    order: Order
    resource: Resource
    finding: CoverageFinding
    resources: Resources
    patient: str
    day: ServiceDay
    today: date
    form_of: FormOf
    encounter_id: str | None = None
    classes: EncounterClasses = field(default_factory=EncounterClasses)
    searched: Set[tuple[str, str]] = frozenset()
    unreachable: Set[str] = frozenset()
    _kept: dict[str, Any] = field(default_factory=dict)

    def once(self, name: str, read: Callable[[Any], T]) -> T:
        """The result of `read` on this order, kept under a name: a fact's own, or another."""
        found: T | None = self._kept.get(name)
        if found is None:
            found = self._kept[name] = read(self)
        return found

    def place(self, element: str) -> str:
        """The path of an element of the order in the request."""
        return f"{self.order.place}.{element}"

    def target(self, reference: object) -> Resource | None:
        """The target of a Reference of the order; None if it is not at hand."""
        written = reference_of(reference)
        return self.resources.get(written) if written else None

    def unread(self, reference: object) -> Fact:
        """The fact that a reference leads to, where that is not at hand."""
        written = reference_of(reference)
        local = self.resources.local(written) if written else ""
        kind = local.partition("/")[0]
        if local in self.unreachable:
            return Fact(why=Why.NOT_REACHABLE, because=f"the {kind} could not be read")
        return Fact(why=Why.NOT_TOLD, because="what it refers to did not come along")

    @property
    def own_codes(self) -> frozenset[Code]:
        """The order's readable codes."""
        return self.once("own codes", _own_codes)

    @property
    def encounters(self) -> Sequence[ReadEncounter]:
        """The encounters at hand that the order belongs to."""
        return self.once("encounters", _encounters)

    @property
    def coverage(self) -> Coverage | None:
        return self.finding.usable

    @property
    def statements(self) -> Sequence[WrittenCoverageInformation]:
        """The order's coverage information, without that on another coverage, or on none.

        What names no coverage may be any payer's word: no approval is taken from it.
        """
        return self.once("statements", _statements)


def _own_codes(at: OrderAtHand) -> frozenset[Code]:
    return frozenset([coding.code for coding in at.order.codings if coding.code is not None])


def _encounters(at: OrderAtHand) -> Sequence[ReadEncounter]:
    references = encounters_of(at.resource, at.encounter_id)
    return read_encounters(references, at.resources, at.classes)


def _statements(at: OrderAtHand) -> Sequence[WrittenCoverageInformation]:
    if "extension" not in at.resource.data:
        return ()
    chosen = at.finding.coverage
    return [
        info
        for info in read_coverage_information(at.resource.data)
        if chosen is None
        or (info.coverage and at.resources.local(info.coverage)) == chosen.reference
    ]
