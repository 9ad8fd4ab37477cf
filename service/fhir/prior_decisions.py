"""A payer's decision before the service, read from the ClaimResponses of a call.

Their shape is that of Da Vinci Prior Authorization Support (PAS): review actions by code of X12
306, on an item or on the whole. What they do not say is not guessed: a response for another
patient, of another insurer or for another service decides nothing here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from service.decision.coverage import Coverage
from service.decision.facts import APPROVED, DENIED, PARTLY, PENDING
from service.decision.order import Order, ServiceDay
from service.fhir.dates import day_range, period_range
from service.fhir.document import Resource
from service.fhir.elements import codings, extensions, mappings, reference_of, text
from service.fhir.resources import Resources
from service.fhir.systems import canonical_code

_PAS = "http://hl7.org/fhir/us/davinci-pas/StructureDefinition/extension-"
_REVIEW_ACTION, _REVIEW_CODE = _PAS + "reviewAction", _PAS + "reviewActionCode"
_AUTHORIZED, _REQUESTED = _PAS + "itemAuthorizedDetail", _PAS + "requestedService"
_ITEM_PERIOD = _PAS + "itemPreAuthPeriod"

_SAID_BY: Mapping[str, str] = {
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


@dataclass(frozen=True, slots=True)
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
        named = [r for r in self.named() if r is not None]
        own = [d for r in named if (d := self._of(r, named=True)) is not None]
        if not own:
            others = self.resources.of_type("ClaimResponse")
            own = [d for r in others if (d := self._of(r, named=False)) is not None]
        return _newest(own)

    def named(self) -> Iterator[Resource | None]:
        """The ClaimResponses that the order names; None for one that is not at hand."""
        for reference in mappings(self.resource.data.get("insurance")):
            written = reference_of(reference)
            target = self.resources.get(written) if written else None
            if target is not None and target.type == "ClaimResponse":
                yield target
            elif target is None and (written or "").split("/")[-2:-1] == ["ClaimResponse"]:
                yield None

    def _of(self, response: Resource, *, named: bool) -> ToldDecision | None:
        data = response.data
        patient = reference_of(data.get("patient"))
        whose = self.resources.local(patient) if patient else None
        if whose != self.patient and not (named and whose is None):
            return None
        if (data.get("status"), data.get("use")) != ("active", "preauthorization"):
            return None
        if self._is_of_another_insurer(response):
            return None
        items = self._items(response)
        asked = reference_of(data.get("request"))
        whole = named or (asked and self.resources.local(asked) == self.order.reference)
        if items is None and not whole:
            return None
        said = self._said(data, items or ())
        if said is None or (said == APPROVED and not self._holds(data, items or ())):
            return None
        return ToldDecision(
            said, _number(data, items or ()), text(data.get("created")), response.place
        )

    def _said(self, data: Mapping[str, Any], items: Sequence[Mapping[str, Any]]) -> str | None:
        outcome = data.get("outcome")
        if outcome not in ("queued", "complete", "partial"):
            return None
        codes = {c for item in items for c in _review_codes(item)} or set(_review_codes(data))
        if not codes:
            if outcome == "complete" and (items or not data.get("item")):
                return APPROVED if _number(data, items) else None
            return PENDING if outcome == "queued" else None
        told = {_SAID_BY.get(code) for code in codes}
        if None in told:
            return None
        if outcome == "queued":
            return PENDING
        said = told.pop() if len(told) == 1 else PARTLY
        return None if said == APPROVED and not _number(data, items) else said

    def _holds(self, data: Mapping[str, Any], items: Sequence[Mapping[str, Any]]) -> bool:
        """Whether an authorization stands on the day of service."""
        periods = [data.get("preAuthPeriod")]
        for holder in (*items, *(a for i in items for a in mappings(i.get("adjudication")))):
            periods.extend(e.get("valuePeriod") for e in extensions(holder, _ITEM_PERIOD))
        return all(
            (first or date.min) <= self.day.earliest and self.day.latest <= (last or date.max)
            for first, last in map(period_range, periods)
        )

    def _is_of_another_insurer(self, response: Resource) -> bool:
        """Whether the insurer is told, and is not the payer of the order's coverage."""
        payer = self.coverage.payer if self.coverage else None
        insurer = response.data.get("insurer")
        if payer is None or not isinstance(insurer, Mapping):
            return False
        told = [insurer.get("identifier")]
        written = reference_of(insurer)
        target = self.resources.get(written) if written else None
        if target is not None and isinstance(target.data.get("identifier"), list):
            told.extend(target.data["identifier"])
        known = {
            (text(i.get("system")), text(i.get("value"))) for i in told if isinstance(i, Mapping)
        }
        systems = {system for system, _ in payer.identifiers}
        comparable = {i for i in known if i[0] in systems}
        return bool(comparable) and comparable.isdisjoint(payer.identifiers)

    def _items(self, response: Resource) -> Sequence[Mapping[str, Any]] | None:
        """The answered items for the order; None where none is told to be for it.

        Items are joined by their number to those of the Claim that `request` names, if it is at
        hand. An item of the Claim for the order that has no answer of its own is among the whole.
        """
        data = response.data
        written = reference_of(data.get("request"))
        claim = self.resources.get(written) if written else None
        asked = claim.data.get("item") if claim is not None and claim.type == "Claim" else None
        numbers = {
            number
            for item in mappings(asked)
            if self._is_for_order(item) and (number := _sequence(item.get("sequence"))) is not None
        }
        answered = [
            item
            for item in mappings(data.get("item"))
            if _sequence(item.get("itemSequence")) in numbers or self._is_for_order(item)
        ]
        answered.extend(i for i in mappings(data.get("addItem")) if self._is_for_order(i))
        return answered if answered or numbers else None

    def _is_for_order(self, item: Mapping[str, Any]) -> bool:
        """Whether an item of a Claim or of its response names the order, or a code of it."""
        concepts = [item.get("productOrService")]
        for detail in extensions(item, _AUTHORIZED):
            concepts.extend(
                part.get("valueCodeableConcept")
                for part in extensions(detail, "productOrServiceCode")
            )
        own = {coding.code for coding in self.order.codings} - {None}
        told = (coding for concept in concepts for coding in codings(concept))
        if any(canonical_code(text(c.get("system")), text(c.get("code"))) in own for c in told):
            return True
        references = (reference_of(e.get("valueReference")) for e in extensions(item, _REQUESTED))
        return any(
            r is not None and self.resources.local(r) == self.order.reference for r in references
        )


def _newest(decisions: Sequence[ToldDecision]) -> Sequence[ToldDecision]:
    """The latest decision; all of those that no instant puts in order, if they differ."""
    if len({d.said for d in decisions}) <= 1:
        return decisions[:1]
    days = [day_range(d.made) for d in decisions]
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


def _number(data: Mapping[str, Any], items: Iterable[Mapping[str, Any]]) -> str | None:
    """The authorization's number: the items', else that of the whole."""
    for part in (*items, data):
        for action in _review_actions(part):
            for told in extensions(action, "number"):
                if number := text(told.get("valueString")):
                    return number
    return text(data.get("preAuthRef"))


def _sequence(value: object) -> int | None:
    return value if isinstance(value, int) else None
