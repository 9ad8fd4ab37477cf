"""Alike orders: orders of a call that tell the same, decided once for all of them.

The decision is made of an order with stand-ins for its place and reference; each order's own are
put in. It rests on what the orders have in common alone: a stand-in's reference refuses to be
compared, and an element that it leaves out to be read. Where a decision needs either, each order is
decided by itself.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, NoReturn

import msgspec

from service.crd.cds_service import ReviewTarget
from service.decision.determination import Determination, TraceStep
from service.decision.order import Order
from service.fhir.document import Document, Resource

_OWN = frozenset({"authoredOn", "id", "identifier", "meta", "text"})
"""Elements in which alike orders may differ."""
_MARK = f"stand-in:{secrets.token_hex(8)}:"
"""No text has it by chance, and nobody can send it."""

_encode = msgspec.msgpack.Encoder().encode


class NotInCommon(Exception):
    """A decision turns on what alike orders do not have in common."""


class _Reference(str):
    """The stand-in for a reference: each comparison with another raises NotInCommon."""

    __slots__ = ()

    def _refuse(self, *_: object) -> NoReturn:
        raise NotInCommon

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __hash__ = _refuse


class _InCommon(dict[str, Any]):
    """The elements that alike orders have in common; the others cannot be asked for."""

    def __contains__(self, name: object) -> bool:
        return super().__contains__(_asked(name))

    def __getitem__(self, name: str) -> Any:
        return super().__getitem__(_asked(name))

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(_asked(name), default)


def _asked(name: Any) -> Any:
    if name in _OWN:
        raise NotInCommon
    return name


def with_alike(targets: Sequence[ReviewTarget]) -> Sequence[ReviewTarget]:
    """The targets; those that are alike have one stand-in, as `alike`."""
    if len(targets) < 2:
        return targets
    by_content: dict[bytes, list[int]] = {}
    for n, target in enumerate(targets):
        if target.appointment is None:
            by_content.setdefault(_content(target.resource), []).append(n)
    found = [*targets]
    for number, (content, alike) in enumerate(by_content.items()):
        if content and len(alike) > 1:
            stand_in = ReviewTarget(_stand_in(targets[alike[0]].resource, number))
            for n in alike:
                found[n] = ReviewTarget(targets[n].resource, alike=stand_in)
    return found


def one_of_each(targets: Sequence[ReviewTarget]) -> list[ReviewTarget]:
    """The targets, of those that are alike the first."""
    found: dict[Resource, ReviewTarget] = {}
    for target in targets:
        found.setdefault((target.alike or target).resource, target)
    return list(found.values())


def order_of(resource: Resource, shared: Order) -> Order:
    """The order of a resource, by that of its stand-in."""
    stand_in, place = shared.place, resource.place
    return Order(
        reference=resource.reference,
        place=place,
        codings=tuple([c._replace(place=c.place.replace(stand_in, place)) for c in shared.codings]),
        name=shared.name,
        service_day=shared.service_day,
        status=shared.status,
        intent=shared.intent,
        do_not_perform=shared.do_not_perform,
        patient=shared.patient,
        insurance=tuple([written.replace(stand_in, place) for written in shared.insurance]),
        coverage_information=shared.coverage_information,
    )


class SharedDetermination:
    """The determination of a stand-in, which is that of each order. Raises NotInCommon."""

    def __init__(self, of_stand_in: Determination) -> None:
        self._place = of_stand_in.order.place
        coverage = of_stand_in.finding.coverage
        if coverage is not None and coverage.place.startswith(self._place):
            raise NotInCommon  # it is told by the order alone
        if any(written.startswith(self._place) for written in of_stand_in.order.insurance):
            raise NotInCommon  # a coverage within an order is at hand for that order only
        self._values = {f.name: getattr(of_stand_in, f.name) for f in fields(of_stand_in) if f.init}
        self._trace = of_stand_in.trace

    def of(self, order: Order) -> Determination:
        """The determination of an order."""
        trace = [
            TraceStep(step.topic, step.finding, step.because.replace(self._place, order.place))
            if self._place in step.because
            else step
            for step in self._trace
        ]
        # `dataclasses.replace` would read all fields again for each order.
        return Determination(**{**self._values, "order": order, "trace": tuple(trace)})


def _content(resource: Resource) -> bytes:
    """Content that alike orders have in common, as MessagePack: it tells any two values apart.

    Empty where it has no such form.
    """
    try:
        return _encode(_without_own(resource))
    except OverflowError:  # an integer of more than 64 bits
        return b""


def _without_own(resource: Resource) -> dict[str, Any]:
    return {name: value for name, value in resource.data.items() if name not in _OWN}


def _stand_in(resource: Resource, number: int) -> Resource:
    data = _without_own(resource)
    place = f"{_MARK}{number}:"
    made = Resource(data, Document(b"{}", data), (), _Reference(_MARK), place)
    made.data = _InCommon(data)
    return made
