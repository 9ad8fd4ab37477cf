"""Determinations → the two cards: not covered, and the advance notice.

The orders that one policy covers under one coverage share their cards: few cards are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cards import texts
from cards.advance_notice import AdvanceNotice, FormText, NoticeText, advance_notice_card
from cards.dialects import DIALECTS, Dialect
from cards.early_warning import early_warning_card
from cards.naming import NamedService
from cards.noncoverage import Noncoverage, SearchedAuthority, noncoverage_card
from cards.not_checked import Unchecked, Why, not_checked_card
from cards.task import PayerReference
from cards.vocabulary import Card
from service.crd.cds_service import HookTier
from service.decision.coverage import CoverageOutcome
from service.decision.determination import Determination, UndeterminedReason
from service.decision.policy import Authority, Covered, PolicyDetermination, PolicyVersion
from service.fhir.order_details import OrderDetails
from service.policies.notices import Notice, NoticeTask
from service.response.form_filler import (
    FormFiller,
    NoticeSuggestion,
    PrefillContext,
    named_services,
)
from service.response.notice_status import modifiers_of, on_file_sentences
from service.response.response_context import Decided, ResponseContext
from service.response.response_links import ResponseLinks


class CardGroup(NamedTuple):
    """Determinations that a policy made and that share their cards."""

    policy: PolicyVersion
    policy_determination: PolicyDetermination
    determinations: tuple[Determination, ...]

    @property
    def first(self) -> Determination:
        """Any of them: what the group shares is the same in each."""
        return self.determinations[0]

    @property
    def services(self) -> tuple[NamedService, ...]:
        return named_services(self.determinations)

    @property
    def ordered_as(self) -> tuple[str, ...]:
        """What the orderers called the services, in their own words: untrusted."""
        return tuple(dict.fromkeys(d.order.name for d in self.determinations if d.order.name))

    @property
    def references(self) -> tuple[str, ...]:
        return tuple(d.order.reference for d in self.determinations)

    @property
    def pointed_at(self) -> tuple[str, ...]:
        """The references that the EHR knows: an order without an id has none."""
        return tuple(r for r in self.references if _pointed_at(r))


class _Beginning(NamedTuple):
    """What the forms of one notice card are begun with."""

    group: CardGroup
    details: Mapping[str, OrderDetails]
    to: ResponseContext

    def filling(self, notice: Notice) -> PrefillContext:
        group, to = self.group, self.to
        coverage = group.first.coverage
        return PrefillContext(
            patient=to.patient,
            person=to.person,
            orders=group.pointed_at,
            coverage=coverage.reference if coverage else None,
            encounter=to.encounter,
            determinations=group.determinations,
            details=tuple(self.details[r] for r in group.references),
            notice=notice,
            purpose=notice.doc_purpose,
            purpose_system=DIALECTS[to.version].doc_purpose_system,
            now=to.now,
        )


@dataclass(frozen=True, slots=True)
class CardWriter:
    """Writes the cards of an answer, the policy cards before the notice cards."""

    links: ResponseLinks
    filler: FormFiller
    suggestion: NoticeSuggestion
    new_uuid: Callable[[], str]

    def cards(self, decided: Sequence[Decided], to: ResponseContext) -> list[Card]:
        """Every card there is to show; the caller's options are applied by others."""
        worth = [i.determination for i in decided if _worth_a_card(i.determination, to)]
        groups = list(grouped(worth))
        if to.tier is not HookTier.PRIMARY:
            early = [early_warning_card(self._facts(g, to), *self._style(to)) for g in groups]
            return [*early, *self._not_checked(decided, to)]
        details = {i.determination.order.reference: i.details for i in decided}
        still_to_give = grouped(d for d in worth if d.notices)
        return [
            *(noncoverage_card(self._facts(g, to), *self._style(to)) for g in groups),
            *(self._notice_card(g, details, to) for g in still_to_give),
            *self._not_checked(decided, to),
        ]

    def _not_checked(self, decided: Sequence[Decided], to: ResponseContext) -> Iterator[Card]:
        """What silence would pass for an all-clear of, but where quiet is kept."""
        if to.tier is HookTier.SECONDARY:
            return
        orders = [i.determination.order for i in decided]
        gaps = [i.determination.undetermined for i in decided]
        others = [
            o
            for o, gap in zip(orders, gaps, strict=True)
            if gap is UndeterminedReason.OTHER_PATIENT
        ]
        reasons: dict[Why, list[Unchecked]] = {
            "unread": [Unchecked(label, _pointed_at(label)) for label in to.orders_unread],
            "other_patient": [
                Unchecked(o.name or o.reference, _pointed_at(o.reference)) for o in others
            ],
        }
        for why, unchecked in reasons.items():
            if unchecked:
                insurer = self.links.operator_name
                yield not_checked_card(why, unchecked, insurer, *self._style(to))

    def _style(self, to: ResponseContext) -> tuple[Dialect, Callable[[], str]]:
        return DIALECTS[to.version], self.new_uuid

    def _facts(self, group: CardGroup, to: ResponseContext) -> Noncoverage:
        policy, today = group.policy, to.now.date()
        notices = [n for d in group.determinations for n in self.links.editions(d, today)]
        wording = policy.wording[group.first.program.program]
        return Noncoverage(
            services=group.services,
            summary=wording.summary,
            statement=wording.statement,
            reason=group.policy_determination.reason,
            authorities=tuple(_searched(a) for a in policy.authorities),
            # A conditional answer is somebody else's to settle: Original Medicare's.
            governs=group.policy_determination.covered is not Covered.CONDITIONAL,
            policy_title=policy.title,
            policy_url=self.links.policy_page(group.first, policy),
            starts=policy.version,
            ends=policy.ends.isoformat() if policy.ends else None,
            still_in_force=policy.in_force_on(today),
            review_last=policy.review_last,
            review_next=policy.review_next,
            review_overdue=policy.review_overdue_on(today),
            reservations=policy.reservations,
            ama_notice=policy.ama_notice,
            insurer=self.links.insurer(group.first),
            note=self._coverage_note(group.first),
            further_links=tuple(dict.fromkeys(self._links(notices, group))),
            several_orders=to.orders_in_request > len(group.determinations),
            ordered_as=group.ordered_as,
            references=group.pointed_at,
            on_file=tuple(self._on_file(group)) if to.tier is HookTier.PRIMARY else (),
        )

    def _on_file(self, group: CardGroup) -> Iterator[str]:
        for d in group.determinations:
            sentences = on_file_sentences(d, self.links.notices, named_services([d]))
            if text := " ".join(sentences):
                yield text

    def _notice_card(
        self, group: CardGroup, details: Mapping[str, OrderDetails], to: ResponseContext
    ) -> Card:
        editions = self.links.editions(group.first, to.now.date())
        begin = _Beginning(group, details, to)
        facts = AdvanceNotice(
            notices=tuple(self._notice_text(n, begin) for n in editions),
            services=group.services,
            insurer=self.links.insurer(group.first),
            payer=self._payer_reference(group.first),
            patient=to.patient,
            encounter=to.encounter,
            references=group.pointed_at,
            several_orders=to.orders_in_request > len(group.determinations),
            ordered_as=group.ordered_as,
            now=to.now,
        )
        return advance_notice_card(facts, *self._style(to))

    def _notice_text(self, notice: Notice, begin: _Beginning) -> NoticeText:
        return NoticeText(
            title=notice.title,
            program_label=notice.program_label,
            summary=notice.summary,
            advice=tuple(_advice(notice, begin)),
            links=tuple(self._links([notice], begin.group)),
            forms=tuple(self._forms(notice, begin)),
            modifiers=modifiers_of(notice),
        )

    def _links(self, notices: Sequence[Notice], group: CardGroup) -> Iterator[tuple[str, str]]:
        """(label, URL): the links of the notices, then what the policy's page says of each.

        Both cards have them, for not every client shows links in a detail (CRD 2.2.1 resp-10).
        """
        yield from ((link.label, link.url) for notice in notices for link in notice.links)
        label = texts.table("phrases")["notice_link"]
        for notice in notices:
            url = self.links.notice_page(group.first, group.policy, notice)
            if url:
                yield label.format(name=notice.short_name), url

    def _forms(self, notice: Notice, begin: _Beginning) -> Iterator[FormText]:
        """The notice's own form, and those of its records that have a button of their own."""
        if self.suggestion is NoticeSuggestion.NONE:
            return
        yield self._form_text(notice, notice.questionnaire, notice.task, begin)
        for kind in notice.records:
            if kind.task is not None:
                yield self._form_text(notice, kind.questionnaire, kind.task, begin)

    def _form_text(
        self, notice: Notice, form_id: str, task: NoticeTask, begin: _Beginning
    ) -> FormText:
        form = self.links.form(form_id)
        # Only what was asked for is known to be missing (CRD 2.2.1 dev-20).
        missing = form.canonical in begin.to.questionnaires_missing
        response = None
        if self.suggestion.brings_response:
            response = self.filler.begun(form, begin.filling(notice))
        return FormText(
            button=task.label,
            description=task.description,
            reason=task.reason,
            after_completion=task.after_completion,
            questionnaire=form.url,
            form=form if missing and self.suggestion.brings_form else None,
            response=response,
        )

    def _payer_reference(self, d: Determination) -> PayerReference:
        payer = d.coverage.payer if d.coverage else None
        if payer is None:
            return PayerReference(self.links.insurer(d))
        return PayerReference(payer.name, system=payer.system, identifier=payer.identifier)

    def _coverage_note(self, d: Determination) -> str | None:
        """What a reader must know where no single coverage of a payer of ours was at hand."""
        if d.coverage is not None and d.coverage.payer is not None:
            return None
        key = "payer_not_told" if d.coverage is not None else d.finding.outcome.value
        note: str = texts.table("phrases")["coverage_notes"][key]
        return note.format(insurer=self.links.operator_name)


def grouped(determinations: Iterable[Determination]) -> Iterator[CardGroup]:
    """Determinations that share their cards: same policy version, coverage and program."""
    groups: dict[object, list[Determination]] = {}
    for d in determinations:
        if d.policy is not None and d.policy_determination is not None:
            coverage = d.coverage.reference if d.coverage else d.finding.outcome
            version = (d.policy.id, d.policy.version)
            key = (version, coverage, d.program.program)
            groups.setdefault(key, []).append(d)
    for group in groups.values():
        policy, policy_determination = group[0].policy, group[0].policy_determination
        if policy is not None and policy_determination is not None:
            yield CardGroup(policy, policy_determination, tuple(group))


def _worth_a_card(d: Determination, to: ResponseContext) -> bool:
    if d.policy is None or d.covered is Covered.COVERED:
        return False
    if d.coverage is not None or not to.version.needs_one_coverage:
        return True
    # An inactive coverage is stated (CRD 2.2.1 resp-45); where none can be pointed at, as beside an
    # order that is answered, the card is all that is said.
    unreachable = d.finding.outcome is CoverageOutcome.UNREACHABLE
    return unreachable or d.finding.coverage is None


def _pointed_at(label: str) -> str | None:
    """A label that is a reference ("Type/id"); None for a place or for words."""
    return label if "/" in label else None


def _searched(authority: Authority) -> SearchedAuthority:
    found_in = authority.citation.title if authority.citation else None
    return SearchedAuthority(authority.name, found_in, authority.searched_when)


def _advice(notice: Notice, begin: _Beginning) -> Iterator[str]:
    """What to do, after a warning where the edition on file expires before it would be used."""
    today, group = begin.to.now.date(), begin.group
    phrases = texts.table("phrases")
    form = notice.form or notice.title
    if notice.expired_on(today):
        yield phrases["notice_expired"].format(form=form, day=notice.ends)
    elif notice.expired_on(max(d.day.latest for d in group.determinations)):
        yield phrases["notice_expires"].format(form=form, day=notice.ends)
    records = {r.questionnaire for r in notice.records}
    rejected_forms = (
        p.why for d in group.determinations for p in d.rejected_forms if p.form in records
    )
    for why in dict.fromkeys(rejected_forms):
        yield phrases["rejected_forms"].format(
            notice=notice.short_name, because=phrases["why_rejected"][why]
        )
    reason = group.policy.reason_for_patient(group.first.program.program)
    yield from notice.advice_on(today, reason)
