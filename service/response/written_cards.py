"""Written cards: each card as JSON, with what the decision log keeps of it.

The cards of a shape are written once, by the card writer; a call fills in uuids, references, names
and the time. What is offered has the call's own resources in it and is written for each call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import NamedTuple

import msgspec

from cards.task import written_instant
from cards.untrusted import as_text
from cards.vocabulary import Card
from service.decision.policy import PolicyVersion
from service.decision_log.call_record import CardShown
from service.response.card_writer import CardWriter
from service.response.json_places import JsonWithPlaces, StandIns, in_json
from service.response.memory import Kept, Memory
from service.response.response_context import Decided, ResponseContext
from service.response.shape import OrderValues, Shape, days_shape, lasting, with_values

_MOST_KEPT = 256
"""The cards of a shape take some ten kilobytes, and one more for each order."""
_MOST_ORDERS = 64
"""Of more orders hardly two calls have the same shape."""

_PATIENT, _ENCOUNTER, _AUTHORED, _ORDERS = range(4)
"""The numbers of the values; from the last on, reference and name of each order, then uuids."""

_encode = msgspec.json.Encoder().encode


class WrittenCard(NamedTuple):
    """One card of an answer."""

    json: msgspec.Raw
    shown: CardShown


class CardText(NamedTuple):
    """The text of a card, without the values of its call.

    `shown` is what the log keeps but for its uuids: `uuid` and `suggestions` are their numbers
    among the uuids of the cards.
    """

    json: JsonWithPlaces
    shown: CardShown
    uuid: int
    suggestions: tuple[int, ...]


class CardTexts(NamedTuple):
    """The texts of a call's cards: those before what is offered and those after it.

    `uuids` is the number of their uuids; `name_orders` says whether a name as ordered is in one of
    them, `offer` whether something may be offered besides.
    """

    before: tuple[CardText, ...]
    after: tuple[CardText, ...]
    uuids: int
    name_orders: bool
    offer: bool


class WrittenCards:
    """Cards of a call as JSON, by `writer`.

    `new_uuids` makes so many uuids. `remembers` is False where cards bring prefilled forms: these
    have the patient's own data in them.
    """

    def __init__(
        self, writer: CardWriter, new_uuids: Callable[[int], list[str]], *, remembers: bool = True
    ) -> None:
        self._writer = writer
        self._new_uuids = new_uuids
        self._remembers = remembers
        self._ends: Sequence[date] = sorted({n.ends for n in writer.links.notices if n.ends})
        self._memory: Memory[CardTexts] = Memory(_MOST_KEPT)

    def of(
        self, decided: Sequence[Decided], to: ResponseContext, shapes: Sequence[Shape | None]
    ) -> list[WrittenCard]:
        """All cards, most important first, before the caller's options are applied."""
        texts = self._texts(decided, to, shapes)
        if texts is None:
            return self._of_the_call(decided, to)
        uuids = self._new_uuids(texts.uuids)
        values = in_json([*_values(decided, to, names=texts.name_orders), *uuids])
        before = [_filled(text, values, uuids) for text in texts.before]
        if not texts.offer and not texts.after:
            return before
        style = self._writer.style(to, self._new_uuid)
        return [
            *before,
            *_written(self._writer.offered(decided, to, style), decided),
            *(_filled(text, values, uuids) for text in texts.after),
        ]

    def _of_the_call(self, decided: Sequence[Decided], to: ResponseContext) -> list[WrittenCard]:
        """The cards of a call that has no shape."""
        writer, style = self._writer, self._writer.style(to, self._new_uuid)
        cards = [
            *writer.on_policies(decided, to, style),
            *writer.offered(decided, to, style),
            *writer.not_checked(decided, to, style),
        ]
        return list(_written(cards, decided))

    def _new_uuid(self) -> str:
        return self._new_uuids(1)[0]

    def _texts(
        self, decided: Sequence[Decided], to: ResponseContext, shapes: Sequence[Shape | None]
    ) -> CardTexts | None:
        """The texts by the call's shape; None where it has none."""
        if not self._remembers or to.orders_unread or None in shapes or len(shapes) > _MOST_ORDERS:
            return None
        key = (
            to.version,
            to.tier,
            to.hook,
            to.now.date(),
            to.encounter is None,
            # More of them than a card is about: how many more is told nowhere.
            min(to.orders_in_request, len(decided) + 1),
            to.questionnaires_missing,
            *shapes,
            *(days_shape(item.determination, self._ends) for item in decided),
            _alike(decided) if len(decided) > 1 else None,
        )
        return (self._memory.get(key) or self._keep(key, decided, to)).text

    def _keep(self, key: Shape, decided: Sequence[Decided], to: ResponseContext) -> Kept[CardTexts]:
        stand_ins = StandIns()
        shaped = _with_stand_ins(decided, stand_ins)
        shaped_to = ResponseContext(
            version=to.version,
            options=to.options,
            patient=stand_ins.value(_PATIENT),
            encounter=None if to.encounter is None else stand_ins.value(_ENCOUNTER),
            ehr=stand_ins.nothing(),
            orders_in_request=to.orders_in_request,
            tier=to.tier,
            now=to.now,
            questionnaires_missing=to.questionnaires_missing,
            hook=to.hook,
        )
        # The time cannot be a stand-in; to the second it stands nowhere else.
        stand_ins.known(_AUTHORED, written_instant(to.now))
        uuids: list[str] = []

        def new_uuid() -> str:
            uuids.append(stand_ins.value(_ORDERS + 2 * len(decided) + len(uuids)))
            return uuids[-1]

        style = self._writer.style(shaped_to, new_uuid)
        written = [
            [_text(card, shown, stand_ins, uuids) for card, shown in _with_shown(cards, shaped)]
            for cards in (
                self._writer.on_policies(shaped, shaped_to, style),
                list(self._writer.not_checked(shaped, shaped_to, style)),
            )
        ]
        before, after = ([text for text in texts if text is not None] for texts in written)
        texts = None
        if len(before) + len(after) == sum(map(len, written)):
            names = range(_ORDERS + 1, _ORDERS + 2 * len(decided), 2)
            texts = CardTexts(
                tuple(before),
                tuple(after),
                uuids=len(uuids),
                name_orders=any(n in names for t in (*before, *after) for n in t.json.places),
                offer=self._writer.may_offer(decided, to),
            )
        return self._memory.keep(key, texts, [lasting(item) for item in decided])


def _alike(decided: Sequence[Decided]) -> Shape:
    """References, names and coverages in the shape of several orders: the first one with each."""
    first: dict[object, int] = {}
    return tuple(
        first.setdefault((kind, value), i)
        for i, item in enumerate(decided)
        for kind, value in enumerate(_told_apart_by(item))
    )


def _told_apart_by(item: Decided) -> tuple[str, str, str]:
    """Reference, name and coverage of an order."""
    order, coverage = item.determination.order, item.determination.finding.coverage
    return order.reference, order.name or "", coverage.reference if coverage else ""


def _with_stand_ins(decided: Sequence[Decided], stand_ins: StandIns) -> list[Decided]:
    """The orders with stand-ins for reference and name; equal values have the same one."""
    references: dict[str, str] = {}
    names: dict[str, str] = {}
    coverages: dict[str, str] = {}
    shaped = []
    for i, item in enumerate(decided):
        reference, name, coverage = _told_apart_by(item)
        number = _ORDERS + 2 * i
        if reference not in references:
            prefix = "Order/" if "/" in reference else ""
            references[reference] = stand_ins.value(number, prefix)
        if name not in names:
            names[name] = stand_ins.value(number + 1, written=as_text)
        if coverage not in coverages:
            found = item.determination.finding.coverage
            named = found is not None and found.can_be_pointed_at
            coverages[coverage] = stand_ins.nothing("Coverage/" if named else "")
        codes = [stand_ins.nothing() for _ in item.determination.billing_expressions]
        values = OrderValues(
            reference=references[reference],
            name=names[name],
            coverage=coverages[coverage],
            payer_unread=stand_ins.nothing(),
            codes=codes,
        )
        shaped.append(with_values(item, values))
    return shaped


def _values(decided: Sequence[Decided], to: ResponseContext, *, names: bool) -> list[str]:
    """The values of a call but for the uuids; with `names`, the names as a card writes them."""
    values = [to.patient, to.encounter or "", written_instant(to.now)]
    for item in decided:
        order = item.determination.order
        values += order.reference, as_text(order.name) if names and order.name else ""
    return values


def _filled(text: CardText, values: Sequence[bytes], uuids: Sequence[str]) -> WrittenCard:
    shown = msgspec.structs.replace(
        text.shown,
        uuid=uuids[text.uuid],
        suggestions=tuple(uuids[i] for i in text.suggestions),
    )
    return WrittenCard(msgspec.Raw(text.json.filled(values)), shown)


def _text(
    card: Card, shown: CardShown, stand_ins: StandIns, uuids: Sequence[str]
) -> CardText | None:
    """The text of a card with stand-ins; None where one of them is not written as it is."""
    written = stand_ins.found_in(_encode(card))
    if written is None:
        return None
    return CardText(
        written, shown, uuids.index(shown.uuid), tuple(map(uuids.index, shown.suggestions))
    )


def _written(cards: Iterable[Card], decided: Sequence[Decided]) -> Iterator[WrittenCard]:
    """The cards as JSON."""
    for card, shown in _with_shown(cards, decided):
        yield WrittenCard(msgspec.Raw(_encode(card)), shown)


def _with_shown(
    cards: Iterable[Card], decided: Sequence[Decided]
) -> Iterator[tuple[Card, CardShown]]:
    """Each card with what the log keeps of it: also the policy of its orders."""
    determinations = [item.determination for item in decided]
    policies = {d.order.reference: d.policy for d in determinations if d.policy is not None}
    for card in cards:
        yield card, _shown(card, policies)


def _shown(card: Card, policies: Mapping[str, PolicyVersion]) -> CardShown:
    about = (card.extension or {}).get("davinci-crd.associated-resource", [])
    policy = next((policies[r["reference"]] for r in about if r["reference"] in policies), None)
    if not about and len({(p.id, p.version) for p in policies.values()}) == 1:
        policy = next(iter(policies.values()))  # an order without an id
    return CardShown(
        uuid=card.uuid,
        topic=card.source.topic.code,
        policy_id=policy.id if policy else None,
        policy_version=policy.version if policy else None,
        suggestions=tuple(s.uuid for s in card.suggestions),
        form=any(_starts_form(a.resource) for s in card.suggestions for a in s.actions),
    )


def _starts_form(resource: object) -> bool:
    return isinstance(resource, Mapping) and resource.get("resourceType") == "Task"
