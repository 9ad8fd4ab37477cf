"""Facts that a policy declares of earlier care: observations, procedures and orders."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from itertools import islice, product

from service.decision.conditions import shifted
from service.decision.facts import (
    NOT_TOLD,
    NOTHING,
    Between,
    Fact,
    FactSource,
    FactSpec,
    Why,
)
from service.fhir.fact_readers.at_hand import OrderAtHand
from service.fhir.fact_readers.data_types import measured
from service.fhir.past_care import Coded, PastCare, past_care


def observation(at: OrderAtHand, spec: FactSpec, source: FactSource) -> Fact:
    """The newest value of the time that counts; two that differ at one time contradict.

    Orders of one day share it.
    """
    own = at.own_codes if source.codes is None else None
    key = ("observation", id(spec), at.day, own)
    found = at.resources.once(key, lambda: _newest_value(at, spec, source))
    return found or _none_found(at, source, NOT_TOLD, "Observation")


def _newest_value(at: OrderAtHand, spec: FactSpec, source: FactSource) -> Fact | None:
    newest: tuple[tuple[date, datetime], Fact] | None = None
    for observed, part in _past_care(at, "Observation", source):
        days = observed.days
        if observed.status not in ("final", "amended", "corrected"):
            continue
        if days is None or not _counts(days, source, at) or days[1] > at.day.latest:
            continue
        when = days[1], observed.instant
        value = part.data.get("valueQuantity")
        told = measured(value, spec.unit or "1", f"{part.place}.valueQuantity")
        if newest is None or when > newest[0]:
            newest = when, told
        elif when == newest[0] and told.value != newest[1].value:
            places = (*newest[1].places, *told.places)
            newest = when, Fact(None, places, Why.CONTRADICTORY, "values of one time differ")
    return newest[1] if newest is not None else None


def procedure(at: OrderAtHand, spec: FactSpec, source: FactSource) -> Fact:
    done = (
        care
        for care, _ in _past_care(at, "Procedure", source)
        if care.status in ("completed", "in-progress")
    )
    found = _latest(at, done, source)
    return found or _none_found(at, source, _none_of("Procedure"), "Procedure")


_ORDERS = ("ServiceRequest", "DeviceRequest")


def earlier_order(at: OrderAtHand, spec: FactSpec, source: FactSource) -> Fact:
    orders = (
        care
        for kind in _ORDERS
        for care, _ in _past_care(at, kind, source)
        if care.status in ("active", "completed") and care.resource.reference != at.order.reference
    )
    found = _latest(at, orders, source)
    return found or _none_found(at, source, _none_of("ServiceRequest"), *_ORDERS)


def _none_of(kind: str) -> Fact:
    return Fact(NOTHING, (f"{kind}: none found",))


def _latest(at: OrderAtHand, found: Iterable[PastCare], source: FactSource) -> Fact | None:
    """The last day before the service, of those that count; None where there is none of them.

    A day told as a month or a year, or not at all, leaves between which days the last one lies.
    """
    low, high, place, undated = date.min, date.min, "", ""
    for care in found:
        if care.days is None:
            undated = undated or care.resource.place
        elif _counts(care.days, source, at):
            low = max(low, care.days[0])
            if care.days[1] > high:
                high, place = care.days[1], care.resource.place
    if undated and not place:
        return Fact(why=Why.NOT_READABLE, places=(undated,), because="it has no day")
    if not place:
        return None
    if undated:
        narrowed = Between(low, max(high, at.day.latest))
        return Fact(narrowed, (place, undated), Why.NOT_READABLE, "one of them has no day")
    if low < high:
        because = "it is told as a month or a year"
        return Fact(Between(low, high), (place,), Why.NOT_READABLE, because)
    return Fact(high, (place,))


def _counts(days: tuple[date, date], source: FactSource, at: OrderAtHand) -> bool:
    """Whether days are before the service or on its day, and not longer ago than what counts."""
    return days[0] <= at.day.latest and not is_too_old(days, source, at)


def is_too_old(days: tuple[date, date], source: FactSource, at: OrderAtHand) -> bool:
    bounded = source.months or source.days
    first = shifted(at.day.earliest, -source.months, -source.days) if bounded else date.min
    return days[1] < first


def _past_care(at: OrderAtHand, kind: str, source: FactSource) -> Sequence[Coded]:
    """The patient's resources of a type with a code of the fact, or of the order itself."""
    found = past_care(at.resources, at.patient, kind)
    if source.codes is None:
        return found.of_codes(at.own_codes)
    return found.held_by(source.codes, at.day.earliest)


MOST_CODES = 5
"""Codes that a fact is searched by; of a larger value set nothing is searched."""


def searched_by(source: FactSource, at: OrderAtHand) -> tuple[str, ...]:
    """The codes that the EHR is searched by for a fact, none where it is not searched for.

    They are without their systems: a bar has a meaning in a search.
    """
    if source.codes is None:
        own = (c.code.value for c in at.order.codings if c.code is not None)
    elif next(source.codes.spans_on(at.day.earliest), None) is not None:
        return ()
    else:
        own = (code.value for code in source.codes.codes_on(at.day.earliest))
    codes = tuple(dict.fromkeys(islice(own, MOST_CODES + 1)))
    return codes if len(codes) <= MOST_CODES else ()


def _none_found(at: OrderAtHand, source: FactSource, absent: Fact, *kinds: str) -> Fact:
    """The fact where no resource is at hand: none found, not reachable, or not told.

    None is found only where the EHR was searched for every type, by every code.
    """
    codes = searched_by(source, at)
    if codes and at.searched >= set(product(kinds, codes)):
        return absent
    unread = next((kind for kind in kinds if kind in at.unreachable), None)
    if unread is not None:
        return Fact(why=Why.NOT_REACHABLE, because=f"{unread} could not be read")
    return NOT_TOLD
