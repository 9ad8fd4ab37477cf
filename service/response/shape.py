"""Shape of an order's answer: all that its texts depend on, but for the values in their places.

Orders of one shape get the same texts, so the texts of a shape are written once: of an order that
has stand-ins wherever something is not in the shape. They cannot depend on anything else.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from service.decision.coverage import Coverage, CoverageFinding
from service.decision.determination import Determination, UndeterminedReason
from service.decision.facts import Fact, FactSpec
from service.decision.order import Code, Order
from service.decision.payer_finding import PayerFinding
from service.decision.programs import ProgramFinding
from service.fhir.document import Document, Resource
from service.fhir.order_details import OrderDetails
from service.fhir.resources import Resources
from service.response.response_context import Decided

Shape = tuple[object, ...]
"""A key: equal for orders whose texts are equal but for the values in their places.

What is loaded once (policies, payers, programs) is in it by identity, which is quick to compare;
`lasting` holds these objects as long as a key with their identity is kept.
"""

_TELL_A_NUMBER = frozenset(
    {UndeterminedReason.APPROVAL_TOLD, UndeterminedReason.AUTHORIZATION_ON_FILE}
)


def shape_of(item: Decided) -> Shape | None:
    """The shape of an order's answer.

    None for an answer in which more is of the patient than the places know: a form on file, a
    decision, an authorization, a contradiction of the payer's records.
    """
    d = item.determination
    payer = d.payer
    if (
        d.notice_on_file is not None
        or d.documentation_on_file
        or d.rejected_forms
        or d.decision is not None
        or d.approval is not None
        or d.undetermined in _TELL_A_NUMBER
        or (payer is not None and (payer.authorization is not None or payer.contradictions))
    ):
        return None
    order, coverage, said = d.order, d.finding.coverage, d.policy_determination
    return (
        id(d.policy),
        # What is made for the call, of missing facts or of a caveat, has no lasting identity.
        said if d.missing or d.caveat is not None else id(said),
        d.covered,
        d.undetermined,
        d.caveat,
        d.program.program,
        id(d.program.entry),
        d.finding.outcome,
        coverage is None,
        coverage
        and (
            id(coverage.payer),
            coverage.payer_told,
            coverage.payer_unread is None,
            coverage.can_be_pointed_at,
        ),
        tuple(map(id, d.matched)),
        d.notices,
        d.situations,
        tuple(map(id, d.missing)),
        payer and (payer.outcome, payer.situations, payer.out_of_network, payer.exempt),
        order.is_planned,
        not order.name,
        "/" in order.reference,
        item.resource.type,
        item.resource.id is None,
    )


def days_shape(d: Determination, ends: Sequence[date]) -> Shape:
    """The day of service in the shape of cards.

    Notices warn where an edition ends before the service: of the day itself it counts only which
    of these `ends`, in order, it lies beyond.
    """
    return (bisect_left(ends, d.day.latest),) if d.notices else ()


def statement_shape(d: Determination) -> Shape:
    """The days of order and coverage in the shape of a statement.

    The day that was looked up is told where the order tells none, or an open period; the end of
    the coverage is told where the order tells no end of its own.
    """
    told = d.order.service_day
    if told is None:
        return (None, d.day.earliest, _told_end(d))
    is_open = told.open_start or told.open_end
    day = d.day.earliest if is_open else None
    return ((told.open_start, told.open_end), day, _told_end(d))


def _told_end(d: Determination) -> date | None:
    """The end of the coverage, where a text tells it."""
    told, coverage = d.order.service_day, d.finding.coverage
    return coverage.ends if coverage and (told is None or told.open_end) else None


def lasting(item: Decided) -> tuple[object, ...]:
    """The objects whose identity is in the shape of this order."""
    d = item.determination
    payer = d.finding.coverage.payer if d.finding.coverage else None
    return (d.policy, d.policy_determination, d.program.entry, payer, d.matched, d.missing)


class OrderValues(NamedTuple):
    """The values that an order's texts have places for, or their stand-ins.

    `coverage`, `payer_unread` and `depends_on` are references; `codes`, those of the billing
    expressions.
    """

    reference: str
    name: str
    coverage: str
    payer_unread: str
    codes: Sequence[str]
    depends_on: Sequence[str] = ()


def with_values(item: Decided, values: OrderValues) -> Decided:
    """An order of the same shape, with other values: nothing else of `item` is in it.

    The day of service stays as it is, for texts that say on which side of another day it lies.
    """
    d = item.determination
    order = Order(
        reference=values.reference,
        place="",
        codings=(),
        name=values.name if d.order.name else None,
        service_day=d.order.service_day,
        intent=d.order.intent,
    )
    systems = [code.system for code in d.billing_expressions]
    determination = Determination(
        order=order,
        finding=_finding(d, values),
        covered=d.covered,
        program=ProgramFinding(d.program.program, "", "", d.program.entry),
        day=d.day,
        policy=d.policy,
        policy_determination=d.policy_determination,
        undetermined=d.undetermined,
        matched=d.matched,
        billing_codes=tuple(map(Code, systems, values.codes)),
        notices=d.notices,
        missing=d.missing,
        payer=d.payer and _payer(d.payer),
        caveat=d.caveat,
        situations=d.situations,
    )
    written = {"resourceType": item.resource.type}
    if item.resource.id is not None:
        written["id"] = values.reference
    resource = Resource(written, Document(b"{}", written), ())
    return Decided(
        resource,
        determination,
        OrderDetails(resource, Resources()),
        _Unread(item.facts.today),
        tuple(values.depends_on),
    )


def _finding(d: Determination, values: OrderValues) -> CoverageFinding:
    outcome, found = d.finding.outcome, d.finding.coverage
    if found is None:
        return CoverageFinding(outcome, "")
    coverage = Coverage(
        reference=values.coverage,
        place="",
        payer=found.payer,
        payer_told=found.payer_told,
        ends=_told_end(d),
        payer_unread=values.payer_unread if found.payer_unread is not None else None,
    )
    return CoverageFinding(outcome, "", coverage)


def _payer(payer: PayerFinding) -> PayerFinding:
    return PayerFinding(
        payer.outcome,
        "",
        out_of_network=payer.out_of_network,
        exempt=payer.exempt,
        situations=payer.situations,
    )


@dataclass(frozen=True, slots=True)
class _Unread:
    """The facts of no order in particular: a text that read one would depend on it."""

    today: date

    def get(self, spec: FactSpec) -> Fact:
        """Raises LookupError for each fact."""
        raise LookupError(f"{spec.name} is in no shape")
