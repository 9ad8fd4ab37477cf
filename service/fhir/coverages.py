"""Coverage resources, read as the decision's `Coverage`, with the payer by identifier."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Protocol

from service.decision.coverage import Coverage, Payer
from service.decision.facts import NOT_TOLD, ORDER_DAY, Fact, Facts, FactSpec, Why
from service.decision.order import Code
from service.decision.programs import ProgramFinding
from service.fhir.dates import period_range
from service.fhir.document import Resource
from service.fhir.elements import codings, mappings, text
from service.fhir.references import parse_literal
from service.fhir.resources import Resources
from service.fhir.systems import code_of


class PayerDirectory(Protocol):
    """Protocol of the configured payers and programs."""

    def by_identifier(self, system: str, value: str) -> Payer | None: ...

    def __iter__(self) -> Iterator[Payer]: ...

    def program_of(
        self, types: Sequence[Code], payer: Payer | None, facts: Facts | None = None
    ) -> ProgramFinding: ...


@dataclass(frozen=True, slots=True)
class CoverageFacts:
    """The facts that a coverage tells by itself: its types, plan and group."""

    resource: Resource
    types: Sequence[Code]

    @property
    def today(self) -> date:
        return date.min

    def get(self, spec: FactSpec) -> Fact:
        """The fact; of an order's and a patient's none is told, the day is any."""
        if spec.name == ORDER_DAY:
            return Fact(self.today)
        if spec.name == "coverage.type" and self.types:
            return Fact(frozenset(self.types), (f"{self.resource.place}.type",))
        kind = spec.name.removeprefix("coverage.")
        return coverage_class(self.resource, kind) if kind in ("plan", "group") else NOT_TOLD


def coverage_class(resource: Resource, kind: str) -> Fact:
    """The value of a coverage's class of this kind ("plan", "group")."""
    place = resource.place
    values = {
        value: f"{place}.class[{i}]"
        for i, entry in enumerate(mappings(resource.data.get("class")))
        if kind in {c.get("code") for c in codings(entry.get("type"))}
        and (value := text(entry.get("value")))
    }
    if len(values) > 1:
        return Fact(why=Why.CONTRADICTORY, places=tuple(values.values()))
    for value, at in values.items():
        return Fact(value, (at,))
    return NOT_TOLD


def read_coverage(resource: Resource, resources: Resources, payers: PayerDirectory) -> Coverage:
    """One coverage, reduced to the decision's facts.

    The payer is identified by an identifier: of the payor reference, of a contained or of a
    present Organization. A name alone identifies no payer.
    """
    data = resource.data
    identifiers: list[tuple[str, str]] = []
    unread: list[str] = []
    told = payors(resource, resources)
    for payor, organization in told:
        _add_identifier(payor.get("identifier"), identifiers)
        if organization is not None:
            for identifier in mappings(organization.get("identifier")):
                _add_identifier(identifier, identifiers)
        elif (named := _organization(payor, resources)) is not None:
            unread.append(named)
    ours: list[Payer] = []
    for system, value in identifiers:
        found = payers.by_identifier(system, value)
        if found is not None and found not in ours:
            ours.append(found)
    starts, ends = period_range(data.get("period"), resources.zone)
    status, order = data.get("status"), data.get("order")
    # Two of our payers in one coverage contradict each other: then none is told.
    payer = ours[0] if len(ours) == 1 else None
    kind = data.get("type")
    written = mappings(kind.get("coding")) if isinstance(kind, dict) else ()
    types = tuple([code for coding in written if (code := code_of(coding)) is not None])
    return Coverage(
        reference=resource.reference,
        place=resource.place,
        payer=payer,
        # Where persons alone are the payors, the payer is told, and is none of ours.
        payer_told=len(ours) < 2 if identifiers else not told and bool(mappings(data.get("payor"))),
        payer_identifiers=tuple([f"{system}|{value}" for system, value in identifiers]),
        type_codes=types,
        status=status if isinstance(status, str) else None,
        starts=starts,
        ends=ends,
        beneficiary=_beneficiary(data.get("beneficiary"), resources),
        payer_unread=min(unread, default=None) if not identifiers else None,
        program=payers.program_of(types, payer, CoverageFacts(resource, types)),
        order=order if isinstance(order, int) and order > 0 else None,
    )


def contained_coverages(
    order: Resource, resources: Resources, payers: PayerDirectory
) -> Iterator[Coverage]:
    """The coverages within an order. They have no address, so nothing can be stated of them; their
    payer words the cards.
    """
    contained = order.data.get("contained")
    for i, inner in enumerate(contained if isinstance(contained, list) else ()):
        if isinstance(inner, dict) and inner.get("resourceType") == "Coverage":
            within = order.within(inner, (*order.path, "contained", i))
            reference = f"{order.place}#{inner.get('id', '')}"
            yield replace(read_coverage(within, resources, payers), reference=reference)


def _beneficiary(beneficiary: object, resources: Resources) -> str | None:
    reference = beneficiary.get("reference") if isinstance(beneficiary, dict) else None
    if not isinstance(reference, str) or reference.startswith("#"):
        return None
    return resources.local(reference)


Payor = tuple[Mapping[str, Any], Mapping[str, Any] | None]
"""A payor reference of a Coverage, and its Organization if that is present."""


def payors(resource: Resource, resources: Resources) -> Sequence[Payor]:
    """The payors of a Coverage. A self-pay person is none: the person's identifier is not read."""
    found: list[Payor] = []
    for payor in mappings(resource.data.get("payor")):
        reference = payor.get("reference")
        if _is_a_person(payor, reference):
            continue
        organization: Mapping[str, Any] | None = None
        if isinstance(reference, str) and reference.startswith("#"):
            _, organization = resource.contained.get(reference[1:], (0, None))
        elif isinstance(reference, str):
            target = resources.get(reference)
            organization = target.data if target and target.type == "Organization" else None
        found.append((payor, organization))
    return found


_PERSONS = ("Patient", "RelatedPerson")


def _is_a_person(payor: Mapping[str, Any], reference: object) -> bool:
    if payor.get("type") in _PERSONS:
        return True
    steps = reference.rsplit("/", 2) if isinstance(reference, str) else ()
    return len(steps) > 1 and steps[-2] in _PERSONS


def _organization(payor: Mapping[str, Any], resources: Resources) -> str | None:
    """ "Organization/id" of a reference to one."""
    written = payor.get("reference")
    literal = parse_literal(resources.local(written)) if isinstance(written, str) else None
    return literal.local if literal is not None and literal.type == "Organization" else None


def _add_identifier(identifier: object, found: list[tuple[str, str]]) -> None:
    if isinstance(identifier, dict):
        system, value = identifier.get("system"), identifier.get("value")
        if isinstance(system, str) and isinstance(value, str):
            found.append((system.strip(), value.strip()))
