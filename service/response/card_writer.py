"""Card writer: the cards of determinations, in their order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from cards.advance_notice import advance_notice_card
from cards.authorization import authorization_card
from cards.early_warning import early_warning_card
from cards.noncoverage import noncoverage_card
from cards.not_checked import not_checked_card
from cards.style import CardStyle
from cards.vocabulary import Card
from service.crd.cds_service import HookTier
from service.decision.coverage import CoverageOutcome
from service.decision.determination import Determination
from service.decision.policy import Covered
from service.response.card_group import grouped
from service.response.coverage_corrections import CoverageCorrections
from service.response.from_payer_records import authorizations
from service.response.noncoverage_facts import noncoverage_facts
from service.response.notice_facts import NoticeFacts
from service.response.notice_forms import NoticeContext
from service.response.offer_cards import OfferCards
from service.response.response_context import Decided, ResponseContext
from service.response.response_links import ResponseLinks
from service.response.unchecked_orders import orders_of_unknown_members, unchecked_orders


@dataclass(frozen=True, slots=True)
class CardWriter:
    """Writer of an answer's cards: on policies and notices, then what is offered, then what was not
    checked. The caller's options come later.
    """

    links: ResponseLinks
    notices: NoticeFacts
    offers: OfferCards
    corrections: CoverageCorrections

    def style(self, to: ResponseContext, new_uuid: Callable[[], str]) -> CardStyle:
        """The style of all cards of an answer."""
        return CardStyle(self.links.texts, to.version.topic_system, new_uuid)

    def on_policies(
        self, decided: Sequence[Decided], to: ResponseContext, style: CardStyle
    ) -> list[Card]:
        """The cards that say what is known of the orders: policy cards before notice cards."""
        worth = [i.determination for i in decided if _worth_a_card(i.determination, to)]
        planned = [d for d in worth if d.order.is_planned]
        ordered = [d for d in worth if not d.order.is_planned]
        facts = [noncoverage_facts(group, to, self.links) for group in grouped(ordered)]
        early = [noncoverage_facts(group, to, self.links) for group in grouped(planned)]
        if to.tier is not HookTier.PRIMARY:
            linked = to.tier is HookTier.SECONDARY
            return [early_warning_card(f, style, linked=linked) for f in (*facts, *early)]
        details = {i.determination.order.reference: i.details for i in decided}
        facts_of = {i.determination.order.reference: i.facts for i in decided}
        still_to_give = grouped(d for d in ordered if d.notices)
        notices = (self.notices.of(NoticeContext(g, details, to, facts_of)) for g in still_to_give)
        return [
            *(authorization_card(a, style) for a in authorizations(decided, self.links)),
            *(noncoverage_card(f, style) for f in facts),
            *(early_warning_card(f, style, linked=True) for f in early),
            *(advance_notice_card(n, style) for n in notices),
        ]

    def may_offer(self, decided: Sequence[Decided], to: ResponseContext) -> bool:
        """Whether `offered` may have cards for orders of this shape."""
        return self.corrections.may_be_for(to) or self.offers.may_be_for(decided)

    def offered(
        self, decided: Sequence[Decided], to: ResponseContext, style: CardStyle
    ) -> Iterator[Card]:
        """The cards that offer something, with resources of the call in them."""
        yield from self.corrections.of(decided, to, style)
        yield from self.offers.of(decided, to, style)

    def not_checked(
        self, decided: Sequence[Decided], to: ResponseContext, style: CardStyle
    ) -> Iterator[Card]:
        """Cards on unchecked orders; none in a secondary hook."""
        if to.tier is HookTier.SECONDARY:
            return
        links = self.links
        for why, d, orders in orders_of_unknown_members(decided):
            yield not_checked_card(why, orders, links.insurer(d), links.contact_line(d), style)
        shown = [i for i in decided if _worth_a_card(i.determination, to)]
        for why, orders in unchecked_orders(decided, shown, to):
            contact = links.contact_words(links.operator_contact)
            yield not_checked_card(why, orders, links.operator_name, contact, style)


def _worth_a_card(d: Determination, to: ResponseContext) -> bool:
    said = d.policy_determination
    if said is None or (d.covered is Covered.COVERED and said.wording is None):
        return False
    if d.coverage is not None or not to.version.needs_one_coverage:
        return True
    # An inactive coverage is stated in coverage information (CRD 2.2.1 resp-45): enough said. Of
    # one that nobody could read the card quotes the policy, as where none can be referenced.
    unread = d.finding.outcome in (CoverageOutcome.UNREACHABLE, CoverageOutcome.NOT_AT_HAND)
    return unread or d.finding.coverage is None
