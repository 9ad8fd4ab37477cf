"""A payer's decision before the service, read from the ClaimResponses of a call.

Their shape is that of Da Vinci Prior Authorization Support (PAS): review actions by code of X12
306, on an item or on the whole. What they do not say is not guessed: a response for another
patient, of another insurer or for another service decides nothing here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from typing import Any

from service.decision.coverage import Coverage
from service.decision.facts import APPROVED, DENIED, PARTLY, PENDING
from service.decision.order import Code, Order, ServiceDay
from service.fhir.dates import day_range, period_range
from service.fhir.document import Resource
from service.fhir.elements import codings, extensions, mappings, reference_of, text
from service.fhir.resources import Resources
from service.fhir.systems import code_of

_PAS = "http://hl7.org/fhir/us/davinci-pas/StructureDefinition/extension-"
_REVIEW_ACTION, _REVIEW_CODE = _PAS + "reviewAction", _PAS + "reviewActionCode"
_AUTHORIZED, _REQUESTED = _PAS + "itemAuthorizedDetail", _PAS + "requestedService"
_ITEM_PERIOD = _PAS + "itemPreAuthPeriod"

SAID_BY: Mapping[str, str] = {
    "A1": APPROVED,  # certified in total
    "A2": PARTLY,  # certified in part
    "A3": DENIED,  # not certified
    "A4": PENDING,  # pended
    "A6": PARTLY,  # modified
}
"""Review actions of X12 306 that say how a request stands; the others do not."""


@dataclass(frozen=True, slots=True)
class ToldDecision:
    """A decision on a request before the service.

    `said` is APPROVED, PENDING, DENIED or PARTLY; `number`, the authorization's or the request's,
    untrusted; `made`, the instant of the response as written; `place`, its path in the request.
    """

    said: str
    number: str | None
    made: str | None
    place: str


@dataclass(slots=True)
class DecisionReader:
    """Reader of the decisions on one order. `patient` is "Patient/id"."""

    order: Order
    resource: Resource
    resources: Resources
    patient: str
    day: ServiceDay
    coverage: Coverage | None

    def decisions(self) -> Sequence[ToldDecision]:
        """The newest decisions on the order: one, or several that contradict each other.

        Those that the order itself names (`insurance`) come before others of the call.
        """
        at_hand = responses_at_hand(self.resources)
        if not at_hand:
            return ()
        named = [at_hand.read(r) for r in self.named() if r is not None]
        own = [d for r in named if (d := self._of(r, named=True)) is not None]
        if not own:
            others = at_hand.about(self._own)
            own = [d for r in others if (d := self._of(r, named=False)) is not None]
        return _newest(own, self.resources.zone)

    @property
    def _own(self) -> frozenset[str | Code]:
        """The order's reference and codes."""
        codes = (coding.code for coding in self.order.codings if coding.code is not None)
        return frozenset([self.order.reference, *codes])

    def named(self) -> Sequence[Resource | None]:
        """The ClaimResponses that the order names; None for one that is not at hand."""
        if "insurance" not in self.resource.data:
            return ()
        found: list[Resource | None] = []
        for reference in mappings(self.resource.data["insurance"]):
            written = reference_of(reference)
            target = self.resources.get(written) if written else None
            if target is not None and target.type == "ClaimResponse":
                found.append(target)
            elif target is None and (written or "").split("/")[-2:-1] == ["ClaimResponse"]:
                found.append(None)
        return found

    def _of(self, response: ReadResponse, *, named: bool) -> ToldDecision | None:
        if response.patient != self.patient and not (named and response.patient is None):
            return None
        data = response.resource.data
        if (data.get("status"), data.get("use")) != ("active", "preauthorization"):
            return None
        if self._is_of_another_insurer(response.resource):
            return None
        items = response.items_for(self._own)
        whole = named or response.request == self.order.reference
        if items is None and not whole:
            return None
        said = self._said(response, items or ())
        if said is None or (said == APPROVED and not self._holds(response, items or ())):
            return None
        return ToldDecision(
            said,
            response.number(items or ()),
            text(data.get("created")),
            response.resource.place,
        )

    def _said(self, response: ReadResponse, items: Sequence[ReadItem]) -> str | None:
        data, outcome = response.resource.data, response.resource.data.get("outcome")
        if outcome not in ("queued", "complete", "partial"):
            return None
        codes = {c for item in items for c in item.review_codes} or set(response.whole.review_codes)
        if not codes:
            if outcome == "complete" and (items or not data.get("item")):
                return APPROVED if response.number(items) else None
            return PENDING if outcome == "queued" else None
        told = {SAID_BY.get(code) for code in codes}
        if None in told:
            return None
        if outcome == "queued":
            return PENDING
        said = told.pop() if len(told) == 1 else PARTLY
        return None if said == APPROVED and not response.number(items) else said

    def _holds(self, response: ReadResponse, items: Sequence[ReadItem]) -> bool:
        """Whether an authorization stands on the day of service."""
        first, last = response.period
        return (
            first <= self.day.earliest
            and self.day.latest <= last
            and all(
                item.first <= self.day.earliest and self.day.latest <= item.last for item in items
            )
        )

    def _is_of_another_insurer(self, response: Resource) -> bool:
        """Whether the insurer is told, and is not the payer of the order's coverage."""
        payer = self.coverage.payer if self.coverage else None
        insurer = response.data.get("insurer")
        if payer is None or not isinstance(insurer, dict):
            return False
        told = [insurer.get("identifier")]
        written = reference_of(insurer)
        target = self.resources.get(written) if written else None
        if target is not None and isinstance(target.data.get("identifier"), list):
            told.extend(target.data["identifier"])
        known = {(text(i.get("system")), text(i.get("value"))) for i in told if isinstance(i, dict)}
        systems = {system for system, _ in payer.identifiers}
        comparable = {i for i in known if i[0] in systems}
        return bool(comparable) and comparable.isdisjoint(payer.identifiers)


@dataclass(frozen=True, slots=True)
class ReadItem:
    """One item of a response, or its whole: what it is about, how it was reviewed, when it holds.

    `about` are references of orders and codes of services.
    """

    sequence: int | None
    about: frozenset[str | Code]
    review_codes: frozenset[str]
    number: str | None
    first: date = date.min
    last: date = date.max


class ReadResponse:
    """One ClaimResponse, read once for all orders of a call.

    `patient` and `request` are "Type/id", None where they are not told.
    """

    def __init__(self, resource: Resource, resources: Resources) -> None:
        data = resource.data
        self.resource = resource
        patient, asked = reference_of(data.get("patient")), reference_of(data.get("request"))
        self.patient = resources.local(patient) if patient else None
        self.request = resources.local(asked) if asked else None
        self.whole = _read_item(data, resources)
        first, last = period_range(data.get("preAuthPeriod"), resources.zone)
        self.period = (first or date.min, last or date.max)
        self._pre_auth = text(data.get("preAuthRef"))
        claim = resources.get(asked) if asked else None
        written = claim.data.get("item") if claim is not None and claim.type == "Claim" else None
        self._asked = [
            (number, _about(item, resources))
            for item in mappings(written)
            if (number := _sequence(item.get("sequence"))) is not None
        ]
        self._answered = [_read_item(item, resources) for item in mappings(data.get("item"))]
        self._added = [_read_item(item, resources) for item in mappings(data.get("addItem"))]

    @property
    def about(self) -> frozenset[str | Code]:
        """Everything that it may be a decision on."""
        found = [about for _, about in self._asked]
        found.extend(item.about for item in (*self._answered, *self._added))
        return frozenset([self.request] if self.request else []).union(*found)

    def items_for(self, own: frozenset[str | Code]) -> Sequence[ReadItem] | None:
        """The answered items for an order, by its reference and codes; None where none is for it.

        Items are joined by their number to those of the Claim that `request` names, if it is at
        hand. An item of the Claim for the order that has no answer of its own is among the whole.
        """
        numbers = {number for number, about in self._asked if not own.isdisjoint(about)}
        answered = [
            item
            for item in self._answered
            if item.sequence in numbers or not own.isdisjoint(item.about)
        ]
        answered.extend(item for item in self._added if not own.isdisjoint(item.about))
        return answered if answered or numbers else None

    def number(self, items: Iterable[ReadItem]) -> str | None:
        """The authorization's number: the items', else that of the whole."""
        told = (part.number for part in (*items, self.whole) if part.number is not None)
        return next(told, self._pre_auth)


class ResponsesAtHand:
    """The ClaimResponses of a call, by the orders and codes that they may be about."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._read: dict[str, ReadResponse] = {}
        self._about: dict[str | Code, list[int]] = {}
        self._in_sequence: list[ReadResponse] = []
        for position, resource in enumerate(resources.of_type("ClaimResponse")):
            response = self.read(resource)
            self._in_sequence.append(response)
            for about in response.about:
                self._about.setdefault(about, []).append(position)

    def __len__(self) -> int:
        return len(self._in_sequence)

    def read(self, resource: Resource) -> ReadResponse:
        """One of them, or one that an order names."""
        found = self._read.get(resource.reference)
        if found is None:
            found = self._read[resource.reference] = ReadResponse(resource, self._resources)
        return found

    def about(self, own: Iterable[str | Code]) -> Iterator[ReadResponse]:
        """Those that may be about an order of this reference and these codes, in sequence."""
        positions = {p for key in own for p in self._about.get(key, ())}
        return (self._in_sequence[p] for p in sorted(positions))


def responses_at_hand(resources: Resources) -> ResponsesAtHand:
    """The ClaimResponses of a call, read once."""
    return resources.once("prior decisions", lambda: ResponsesAtHand(resources))


def _read_item(item: Mapping[str, Any], resources: Resources) -> ReadItem:
    first, last = date.min, date.max
    for holder in (item, *mappings(item.get("adjudication"))):
        for extension in extensions(holder, _ITEM_PERIOD):
            begins, ends = period_range(extension.get("valuePeriod"), resources.zone)
            first, last = max(first, begins or first), min(last, ends or last)
    return ReadItem(
        sequence=_sequence(item.get("itemSequence")),
        about=_about(item, resources),
        review_codes=frozenset(_review_codes(item)),
        number=_number(item),
        first=first,
        last=last,
    )


def _about(item: Mapping[str, Any], resources: Resources) -> frozenset[str | Code]:
    """The codes and the orders that an item of a Claim or of its response names."""
    concepts = [item.get("productOrService")]
    for detail in extensions(item, _AUTHORIZED):
        concepts.extend(
            part.get("valueCodeableConcept") for part in extensions(detail, "productOrServiceCode")
        )
    told = (coding for concept in concepts for coding in codings(concept))
    codes = (code_of(coding) for coding in told)
    references = (reference_of(e.get("valueReference")) for e in extensions(item, _REQUESTED))
    orders = (resources.local(r) for r in references if r is not None)
    return frozenset([*(code for code in codes if code is not None), *orders])


def _newest(decisions: Sequence[ToldDecision], zone: tzinfo) -> Sequence[ToldDecision]:
    """The latest decision; all of those that no instant puts in order, if they differ."""
    if len({d.said for d in decisions}) <= 1:
        return decisions[:1]
    days = [day_range(d.made, zone) for d in decisions]
    if all(day is not None and day[0] == day[1] for day in days):
        last = max(day[1] for day in days if day is not None)
        decisions = [d for d, day in zip(decisions, days, strict=True) if day and day[1] == last]
        instants = [_instant(d.made) for d in decisions]
        if all(i is not None for i in instants):
            latest = max(i for i in instants if i is not None)
            decisions = [d for d, i in zip(decisions, instants, strict=True) if i == latest]
    return decisions[:1] if len({d.said for d in decisions}) == 1 else decisions


def _instant(written: str | None) -> datetime | None:
    """An instant with its offset; None for a day."""
    try:
        found = datetime.fromisoformat(written or "")
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def _review_actions(part: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for holder in (part, *mappings(part.get("adjudication"))):
        yield from extensions(holder, _REVIEW_ACTION)


def _review_codes(part: Mapping[str, Any]) -> Iterator[str]:
    for action in _review_actions(part):
        for said in extensions(action, _REVIEW_CODE):
            for coding in codings(said.get("valueCodeableConcept")):
                yield text(coding.get("code")) or ""


def _number(part: Mapping[str, Any]) -> str | None:
    """The number in the review actions of an item, or of the whole."""
    for action in _review_actions(part):
        for told in extensions(action, "number"):
            if number := text(told.get("valueString")):
                return number
    return None


def _sequence(value: object) -> int | None:
    return value if isinstance(value, int) else None
