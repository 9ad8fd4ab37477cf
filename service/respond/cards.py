"""Determinations → the two cards: not covered, and the advance notice.

The orders that one policy covers under one coverage share their cards: few cards are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cards import texts
from cards.advance_notice import AdvanceNotice, NoticeText, advance_notice_card
from cards.dialects import DIALECTS, Dialect
from cards.early_warning import early_warning_card
from cards.naming import NamedService
from cards.noncoverage import Noncoverage, SearchedAuthority, noncoverage_card
from cards.task import PayerReference
from cards.vocabulary import Card
from service.crd.service import Answering
from service.decision.model import (
    Authority,
    CoverageOutcome,
    Covered,
    Determination,
    PolicyVersion,
    Ruling,
)
from service.policies.notices import Notice
from service.respond.addressee import Addressee
from service.respond.names import Names


class Ruled(NamedTuple):
    """Determinations that a policy made and that share their cards."""

    policy: PolicyVersion
    ruling: Ruling
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


@dataclass(frozen=True, slots=True)
class CardWriter:
    """Writes the cards of an answer, the policy cards before the notice cards."""

    names: Names
    new_uuid: Callable[[], str]

    def cards(self, determinations: Iterable[Determination], to: Addressee) -> list[Card]:
        """Every card there is to show; the caller's options are applied by others."""
        groups = list(grouped(d for d in determinations if _worth_a_card(d, to)))
        if to.answering is not Answering.FULL:
            return [early_warning_card(self._facts(g, to), *self._style(to)) for g in groups]
        return [
            *(noncoverage_card(self._facts(g, to), *self._style(to)) for g in groups),
            *(self._notice_card(g, to) for g in groups if g.first.notices),
        ]

    def _style(self, to: Addressee) -> tuple[Dialect, Callable[[], str]]:
        return DIALECTS[to.version], self.new_uuid

    def _facts(self, group: Ruled, to: Addressee) -> Noncoverage:
        policy, today = group.policy, to.now.date()
        wording = policy.wording[group.first.programme.programme]
        return Noncoverage(
            services=group.services,
            summary=wording.summary,
            statement=wording.statement,
            reason=group.ruling.reason,
            authorities=tuple(_searched(a) for a in policy.authorities),
            # A conditional answer is somebody else's to settle: Original Medicare's.
            governs=group.ruling.covered is not Covered.CONDITIONAL,
            policy_title=policy.title,
            policy_url=self.names.policy_page(group.first, policy),
            starts=policy.version,
            ends=policy.ends.isoformat() if policy.ends else None,
            still_in_force=policy.in_force_on(today),
            review_last=policy.review_last,
            review_next=policy.review_next,
            review_overdue=policy.review_overdue_on(today),
            reservations=policy.reservations,
            ama_notice=policy.ama_notice,
            insurer=self.names.insurer(group.first),
            note=self._coverage_note(group.first),
            several_orders=to.orders_in_request > len(group.determinations),
            ordered_as=group.ordered_as,
            references=group.references,
        )

    def _notice_card(self, group: Ruled, to: Addressee) -> Card:
        editions = self.names.editions(group.first, to.now.date())
        facts = AdvanceNotice(
            notices=tuple(self._notice_text(n) for n in editions),
            services=group.services,
            insurer=self.names.insurer(group.first),
            payer=self._payer_reference(group.first),
            patient=to.patient,
            encounter=to.encounter,
            references=group.references,
            several_orders=to.orders_in_request > len(group.determinations),
            ordered_as=group.ordered_as,
            now=to.now,
        )
        return advance_notice_card(facts, *self._style(to))

    def _notice_text(self, notice: Notice) -> NoticeText:
        return NoticeText(
            title=notice.title,
            programme_label=notice.programme_label,
            summary=notice.summary,
            advice=notice.advice,
            links=tuple((link.label, link.url) for link in notice.links),
            button=notice.task.label,
            task_description=notice.task.description,
            task_reason=notice.task.reason,
            after_completion=notice.task.after_completion,
            questionnaire=self.names.questionnaire(notice),
        )

    def _payer_reference(self, d: Determination) -> PayerReference:
        payer = d.coverage.payer if d.coverage else None
        if payer is None:
            return PayerReference(self.names.insurer(d))
        return PayerReference(payer.name, system=payer.system, identifier=payer.identifier)

    def _coverage_note(self, d: Determination) -> str | None:
        """What a reader must know where no single coverage of a payer of ours was at hand."""
        if d.coverage is not None and d.coverage.payer is not None:
            return None
        key = "payer_not_told" if d.coverage is not None else d.finding.outcome.value
        note: str = texts.table("phrases")["coverage_notes"][key]
        return note.format(insurer=self.names.operator_name)


def grouped(determinations: Iterable[Determination]) -> Iterator[Ruled]:
    """Determinations that share their cards: same policy version, coverage, programme, notices."""
    groups: dict[object, list[Determination]] = {}
    for d in determinations:
        if d.policy is not None and d.ruling is not None:
            coverage = d.coverage.reference if d.coverage else d.finding.outcome
            version = (d.policy.id, d.policy.version)
            key = (version, coverage, d.programme.programme, d.notices)
            groups.setdefault(key, []).append(d)
    for group in groups.values():
        policy, ruling = group[0].policy, group[0].ruling
        if policy is not None and ruling is not None:
            yield Ruled(policy, ruling, tuple(group))


def named_services(group: Sequence[Determination]) -> tuple[NamedService, ...]:
    """The services that the group's orders met, each once."""
    met = {s.code: s for d in group for s in d.matched}
    return tuple(NamedService(s.code.value, s.name, s.group_name) for s in met.values())


def _worth_a_card(d: Determination, to: Addressee) -> bool:
    if d.policy is None or d.covered is Covered.COVERED:
        return False
    unreachable = d.finding.outcome is CoverageOutcome.UNREACHABLE
    return d.coverage is not None or unreachable or not to.version.needs_one_coverage


def _searched(authority: Authority) -> SearchedAuthority:
    found_in = authority.citation.title if authority.citation else None
    return SearchedAuthority(authority.name, found_in, authority.searched_when)
