"""Offers of a policy's outcome as cards, with the orders that they are about."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from cards.form_completion import form_completion
from cards.naming import NamedService, fill
from cards.offer_kinds import Button, Launch, Offer, offer_card
from cards.style import CardStyle, Topic
from cards.task import FormRequest, PayerReference
from cards.vocabulary import Action, Card
from service.decision.determination import Determination
from service.decision.offers import (
    NOTHING_OFFERED,
    Alternatives,
    App,
    Companions,
    Instructions,
    OfferedForm,
    OfferedService,
    Offers,
    Reading,
)
from service.fhir.document import Resource
from service.response.card_group import pointed_at
from service.response.form_buttons import FormButtons, FormSuggestion, prefill_context
from service.response.form_filler import PURPOSE_OF_NO_NEED, PrefillContext, named_services
from service.response.from_payer_records import still_needed
from service.response.proposed_orders import beside, in_place_of, with_another_code
from service.response.response_context import Decided, ResponseContext
from service.response.response_links import ResponseLinks

GUIDELINE: Topic = "guideline"
CLAIM: Topic = "claim"
TRIED_FIRST: Topic = "therapy-alternatives-req"
OPTIONAL: Topic = "therapy-alternatives-opt"


_AnyOffer = Alternatives | Companions | OfferedForm | App | Reading | Instructions
AnOffer = TypeVar("AnOffer", Alternatives, Companions, OfferedForm, App, Reading, Instructions)


class _Group(NamedTuple):
    """Orders under one coverage that an outcome makes the same offers for."""

    offers: Offers
    items: tuple[Decided, ...]

    @property
    def determinations(self) -> tuple[Determination, ...]:
        return tuple(i.determination for i in self.items)

    @property
    def first(self) -> Determination:
        return self.items[0].determination

    @property
    def references(self) -> tuple[str, ...]:
        found = (pointed_at(d.order.reference) for d in self.determinations)
        return tuple(r for r in found if r)

    @property
    def services(self) -> tuple[NamedService, ...]:
        return named_services(self.determinations)

    @property
    def forms(self) -> tuple[OfferedForm, ...]:
        """Those that the outcome offers, and then those that it needs and that have a button; none
        that is on file.
        """
        on_file = {found.form for found in self.first.documentation_on_file}
        offered = tuple(o for o in self.offers.forms if o.form not in on_file)
        return (*offered, *_needed(self.first, {o.form for o in offered}))

    def prefill(self, form_id: str, to: ResponseContext) -> PrefillContext:
        """The data for prefilling a form that is offered."""
        said = self.first.policy_determination
        needed = {need.form: need.purpose for need in (said.forms if said else ())}
        return prefill_context(
            self.determinations,
            self.references,
            [i.details for i in self.items],
            [i.facts for i in self.items],
            to,
            purpose=needed.get(form_id, PURPOSE_OF_NO_NEED),
        )


@dataclass(frozen=True, slots=True)
class OfferCards:
    """Writer of the cards of offers."""

    links: ResponseLinks
    buttons: FormButtons

    def may_be_for(self, decided: Sequence[Decided]) -> bool:
        """Whether an outcome of the orders offers something, in any hook."""
        return any(True for _ in _groups(decided))

    def of(
        self, decided: Sequence[Decided], to: ResponseContext, style: CardStyle
    ) -> Iterator[Card]:
        """The cards, in the order of `Offers`; those alone that belong to the call's hook."""
        for group in _groups(decided):
            offers = group.offers
            cards: list[Card | None] = [
                *(self._alternatives(o, group, to, style) for o in _here(offers.alternatives, to)),
                *(self._companions(o, group, to, style) for o in _here(offers.companions, to)),
                *(self._form(o, group, to, style) for o in _here(group.forms, to)),
                *(self._app(o, group, to, style) for o in _here(offers.apps, to)),
                *(self._reading(o, group, to, style) for o in _here(offers.readings, to)),
                *(self._instructions(o, group, to, style) for o in _here(offers.instructions, to)),
            ]
            yield from (card for card in cards if card is not None)

    def _alternatives(
        self, offer: Alternatives, group: _Group, to: ResponseContext, style: CardStyle
    ) -> Card | None:
        phrase = style.texts.phrases.order_instead
        buttons = [
            Button(
                phrase.format(name=service.name),
                tuple(self._instead(item.resource, service, style, replaces=offer.replaces)),
            )
            for item in group.items
            for service in offer.services
            if item.resource.id and service.resource == item.resource.type
        ]
        if not buttons:
            return None
        topic = TRIED_FIRST if offer.tried_first else OPTIONAL
        return self._card(offer, topic, group, style, buttons, at_most_one=True)

    def _instead(
        self, order: Resource, service: OfferedService, style: CardStyle, *, replaces: bool
    ) -> Iterator[Action]:
        """The order with another code; or its deletion, and another order (CRD 2.2.1 resp-53)."""
        phrases = style.texts.phrases
        if not replaces:
            yield Action(
                type="update",
                description=phrases.change_order.format(name=service.name),
                resource=with_another_code(order, service),
            )
            return
        yield Action(
            type="delete",
            description=phrases.delete_order,
            resource_id=order.reference,
        )
        yield Action(
            type="create",
            description=phrases.create_order.format(name=service.name),
            resource=in_place_of(order, service, style.new_uuid()),
        )

    def _companions(
        self, offer: Companions, group: _Group, to: ResponseContext, style: CardStyle
    ) -> Card:
        phrases = style.texts.phrases
        today = to.now.date().isoformat()
        order = group.items[0].resource
        buttons = [
            Button(
                phrases.order_too.format(name=service.name),
                (
                    Action(
                        type="create",
                        description=phrases.create_order.format(name=service.name),
                        resource=beside(order, service, style.new_uuid(), today),
                    ),
                ),
            )
            for service in offer.services
        ]
        return self._card(offer, GUIDELINE, group, style, buttons)

    def _form(
        self, offer: OfferedForm, group: _Group, to: ResponseContext, style: CardStyle
    ) -> Card | None:
        if self.buttons.suggestion is FormSuggestion.NONE:
            return None
        payer = group.first.coverage.payer if group.first.coverage else None
        told = to.version.task_tells_after_completion
        request = FormRequest(
            id=style.new_uuid(),
            questionnaire=self.links.form(offer.form).url,
            description=fill(offer.description, group.services),
            reason=fill(offer.reason, group.services),
            after_completion=offer.after_completion if told else None,
            patient=to.patient,
            encounter=to.encounter,
            orders=group.references,
            payer=PayerReference(
                self.links.insurer(group.first),
                system=payer.system if payer else None,
                identifier=payer.identifier if payer else None,
            ),
            authored=to.now,
        )
        beside = self.buttons.beside_task(offer.form, to, lambda: group.prefill(offer.form, to))
        actions = form_completion(request, beside.form, beside.response, style.texts.phrases)
        return self._card(offer, CLAIM, group, style, [Button(offer.label, tuple(actions))])

    def _app(self, offer: App, group: _Group, to: ResponseContext, style: CardStyle) -> Card | None:
        url = to.apps.get(offer.name, offer.launch)
        if url is None:
            return None
        launch = Launch(
            label=offer.label,
            done=style.texts.phrases.launched if to.version.launch_has_suggestion else None,
            url=url,
            orders=group.references,
            coverage=group.first.coverage.reference if group.first.coverage else None,
            questionnaires=tuple(self.links.form(f.form).canonical for f in group.forms),
        )
        return offer_card(
            self._offer(offer, CLAIM, group),
            style,
            launch=launch,
        )

    def _reading(
        self, offer: Reading, group: _Group, to: ResponseContext, style: CardStyle
    ) -> Card | None:
        policy = group.first.policy
        if policy is None:
            return None
        label = style.texts.phrases.policy_link.format(title=policy.title)
        return offer_card(
            self._offer(offer, GUIDELINE, group),
            style,
            pages=[(label, self.links.policy_page(group.first, policy)), *offer.links],
        )

    def _instructions(
        self, offer: Instructions, group: _Group, to: ResponseContext, style: CardStyle
    ) -> Card:
        return self._card(offer, GUIDELINE, group, style)

    def _card(
        self,
        offer: _AnyOffer,
        topic: Topic,
        group: _Group,
        style: CardStyle,
        buttons: Sequence[Button] = (),
        *,
        at_most_one: bool = False,
    ) -> Card:
        return offer_card(
            self._offer(offer, topic, group),
            style,
            buttons=buttons,
            choose="at-most-one" if at_most_one else "any",
        )

    def _offer(self, offer: _AnyOffer, topic: Topic, group: _Group) -> Offer:
        return Offer(
            summary=offer.summary,
            detail=offer.detail,
            topic=topic,
            services=group.services,
            insurer=self.links.insurer(group.first),
            references=group.references,
        )


def _needed(d: Determination, but: Collection[str]) -> tuple[OfferedForm, ...]:
    """The forms that an answer needs and that have a button, but those with these ids."""
    return tuple(f.offer for f in still_needed(d) if f.offer is not None and f.form not in but)


def _here(offered: Sequence[AnOffer], to: ResponseContext) -> Iterator[AnOffer]:
    return (offer for offer in offered if to.hook in offer.hooks)


def _groups(decided: Sequence[Decided]) -> Iterator[_Group]:
    """Orders of one policy version, outcome and coverage that something is offered for.

    Only under a coverage: an offer to the member of another payer would be a guess.
    """
    groups: dict[object, list[Decided]] = {}
    for item in decided:
        d = item.determination
        found = d.policy_determination
        if d.policy is None or d.coverage is None or found is None:
            continue
        needed = _needed(d, ())
        if found.offers != NOTHING_OFFERED or needed:
            on_file = frozenset(f.form for f in d.documentation_on_file)
            under = (d.policy.id, d.policy.version, d.coverage.reference)
            key = (*under, found.offers, needed, on_file)
            groups.setdefault(key, []).append(item)
    for items in groups.values():
        found = items[0].determination.policy_determination
        if found is not None:
            yield _Group(found.offers, tuple(items))
