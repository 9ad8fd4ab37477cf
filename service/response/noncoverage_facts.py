"""Facts of the policy card: services not covered, policy and reason."""

from __future__ import annotations

from collections.abc import Iterator

from cards.noncoverage import Noncoverage, SearchedAuthority
from service.crd.cds_service import HookTier
from service.decision.determination import Determination
from service.decision.policy import Authority, Covered
from service.response.card_group import CardGroup
from service.response.form_filler import named_services
from service.response.from_payer_records import by_records
from service.response.notice_status import on_file_sentences
from service.response.response_context import ResponseContext
from service.response.response_links import ResponseLinks


def noncoverage_facts(group: CardGroup, to: ResponseContext, links: ResponseLinks) -> Noncoverage:
    """The facts of this group's card; the early warning uses its summary."""
    policy, today = group.policy, to.now.date()
    notices = [n for d in group.determinations for n in links.editions(d, today)]
    said = group.policy_determination
    wording = said.wording or policy.wording[group.first.program.program]
    return Noncoverage(
        services=group.services,
        summary=wording.summary,
        statement=wording.statement,
        reason=said.reason,
        authorities=tuple(_searched(a) for a in policy.authorities),
        # A conditional answer is settled by another payer, unless facts are missing.
        governs=said.covered is not Covered.CONDITIONAL or bool(group.first.missing),
        policy_title=policy.title,
        policy_url=links.policy_page(group.first, policy),
        starts=policy.version,
        ends=policy.ends.isoformat() if policy.ends else None,
        still_in_force=policy.in_force_on(today),
        review_last=policy.review_last,
        review_next=policy.review_next,
        review_overdue=policy.review_overdue_on(today),
        reservations=policy.reservations,
        ama_notice=policy.ama_notice,
        insurer=links.insurer(group.first),
        note=_coverage_note(group.first, links),
        further_links=tuple(dict.fromkeys(links.of_notices(notices, group.first, policy))),
        several_orders=to.orders_in_request > len(group.determinations),
        ordered_as=group.ordered_as,
        references=group.pointed_at,
        settles=bool(group.first.missing),
        indicator="info" if said.wording and said.covered is not Covered.NOT_COVERED else "warning",
        on_file=tuple(_on_file(group, links)) if to.tier is HookTier.PRIMARY else (),
        by_records=tuple(
            dict.fromkeys(
                s for d in group.determinations for s in by_records(d.payer, links.texts.payer)
            )
        ),
    )


def _on_file(group: CardGroup, links: ResponseLinks) -> Iterator[str]:
    for d in group.determinations:
        sentences = on_file_sentences(d, links, named_services([d]))
        if text := " ".join(sentences):
            yield text


def _coverage_note(d: Determination, links: ResponseLinks) -> str | None:
    """A note on the coverage, if no single coverage of a configured payer is present."""
    if d.coverage is not None and d.coverage.payer is not None:
        return None
    key = d.finding.outcome.value
    if d.coverage is not None:
        key = "payer_not_read" if d.coverage.payer_unread else "payer_not_told"
    return links.texts.phrases.coverage_notes[key].format(insurer=links.operator_name)


def _searched(authority: Authority) -> SearchedAuthority:
    found_in = authority.citation.title if authority.citation else None
    return SearchedAuthority(authority.name, found_in, authority.searched_when)
