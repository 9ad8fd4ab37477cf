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
from service.fhir.systems import canonical_code


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
    for payor, organization in payors(resource, resources):
        identifiers.extend(_identifiers(payor, organization))
        if organization is None:
            unread.extend(_organization(payor, resources))
    ours = {p for system, value in identifiers if (p := payers.by_identifier(system, value))}
    starts, ends = period_range(data.get("period"), resources.zone)
    status = data.get("status")
    beneficiary = data.get("beneficiary")
    reference = beneficiary.get("reference") if isinstance(beneficiary, Mapping) else None
    # Two of our payers in one coverage contradict each other: then none is told.
    payer = next(iter(ours)) if len(ours) == 1 else None
    types = tuple(_type_codes(data.get("type")))
    order = data.get("order")
    return Coverage(
        reference=resource.reference,
        place=resource.place,
        payer=payer,
        payer_told=_pays_oneself(data) or (bool(identifiers) and len(ours) < 2),
        payer_identifiers=tuple(f"{system}|{value}" for system, value in identifiers),
        type_codes=types,
        status=status if isinstance(status, str) else None,
        starts=starts,
        ends=ends,
        beneficiary=_beneficiary(reference, resources),
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
        if isinstance(inner, Mapping) and inner.get("resourceType") == "Coverage":
            within = order.within(inner, (*order.path, "contained", i))
            reference = f"{order.place}#{inner.get('id', '')}"
            yield replace(read_coverage(within, resources, payers), reference=reference)


def _beneficiary(reference: object, resources: Resources) -> str | None:
    if not isinstance(reference, str) or reference.startswith("#"):
        return None
    return resources.local(reference)


def payors(
    resource: Resource, resources: Resources
) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any] | None]]:
    """The payor references of a Coverage with their Organizations, if present."""
    written = resource.data.get("payor")
    for payor in written if isinstance(written, list) else ():
        if not isinstance(payor, Mapping):
            continue
        reference = payor.get("reference")
        if _is_a_person(payor, reference):
            # A self-pay person is no payer, and the person's identifier is not read.
            continue
        organization: Mapping[str, Any] | None = None
        if isinstance(reference, str) and reference.startswith("#"):
            _, organization = resource.contained.get(reference[1:], (0, None))
        elif isinstance(reference, str):
            found = resources.get(reference)
            organization = found.data if found and found.type == "Organization" else None
        yield payor, organization


def _pays_oneself(coverage: Mapping[str, Any]) -> bool:
    """Whether persons alone are the payors: that tells the payer, and that it is none of ours."""
    written = coverage.get("payor")
    payors = [p for p in (written if isinstance(written, list) else ()) if isinstance(p, Mapping)]
    return bool(payors) and all(_is_a_person(p, p.get("reference")) for p in payors)


def _is_a_person(payor: Mapping[str, Any], reference: object) -> bool:
    kinds = [payor.get("type")]
    if isinstance(reference, str):
        kinds.extend(reference.split("/")[-2:-1])
    return any(kind in ("Patient", "RelatedPerson") for kind in kinds)


def _organization(payor: Mapping[str, Any], resources: Resources) -> Iterator[str]:
    """ "Organization/id" of a reference to one."""
    written = payor.get("reference")
    literal = parse_literal(resources.local(written)) if isinstance(written, str) else None
    if literal is not None and literal.type == "Organization":
        yield literal.local


def _identifiers(
    payor: Mapping[str, Any], organization: Mapping[str, Any] | None
) -> Iterator[tuple[str, str]]:
    candidates: list[object] = [payor.get("identifier")]
    if organization is not None:
        identifiers = organization.get("identifier")
        candidates.extend(identifiers if isinstance(identifiers, list) else ())
    for identifier in candidates:
        if isinstance(identifier, Mapping):
            system, value = identifier.get("system"), identifier.get("value")
            if isinstance(system, str) and isinstance(value, str):
                yield system.strip(), value.strip()


def _type_codes(concept: object) -> Iterator[Code]:
    codings = concept.get("coding") if isinstance(concept, Mapping) else None
    for coding in codings if isinstance(codings, list) else ():
        if isinstance(coding, Mapping):
            system, value = coding.get("system"), coding.get("code")
            if isinstance(system, str) and isinstance(value, str):
                code = canonical_code(system, value)
                if code:
                    yield code
