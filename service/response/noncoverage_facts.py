"""Facts of the policy card: services not covered, policy and reason."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from cards.brevity import Line
from cards.noncoverage import Noncoverage, SearchedAuthority
from service.crd.cds_service import HookTier
from service.decision.determination import Determination
from service.decision.policy import Authority, Covered, Program, Wording
from service.policies.notices import SituationEntry
from service.response.card_group import CardGroup
from service.response.documentation_status import documentation_sentences
from service.response.form_filler import named_services
from service.response.from_payer_records import by_records, decided_before
from service.response.notice_status import (
    form_sentences,
    record_kind,
    rejected_sentences,
    unfit_modifiers,
)
from service.response.response_context import ResponseContext
from service.response.response_links import ResponseLinks


def noncoverage_facts(group: CardGroup, to: ResponseContext, links: ResponseLinks) -> Noncoverage:
    """The facts of this group's card; the early warning uses its summary."""
    policy, today = group.policy, to.now.date()
    notices = [n for d in group.determinations for n in links.editions(d, today)]
    said = group.policy_determination
    words = _in_its_situation(_words(group, links), group.first, today, links)
    note = _coverage_note(group.first, links)
    patients = tuple(_of_the_patient(group, to, links))
    return Noncoverage(
        services=group.services,
        summary=words.summary,
        lines=(*patients, *_lines(words, note, group.first, today, links)),
        reason="" if group.first.missing else said.reason,
        authorities=tuple(_searched(a) for a in policy.authorities),
        # A conditional answer is settled by another payer, unless facts are missing.
        governs=said.covered is not Covered.CONDITIONAL or bool(group.first.missing),
        policy_title=policy.title,
        policy_url=links.policy_page(group.first, policy),
        published=policy.published.isoformat(),
        starts=policy.version,
        ends=policy.ends.isoformat() if policy.ends else None,
        review_last=policy.review_last,
        review_next=policy.review_next,
        review_overdue=policy.review_overdue_on(today),
        reservations=policy.reservations_for(group.first.program.program),
        ama_notice=policy.ama_notice,
        insurer=links.insurer(group.first),
        note=note,
        further_links=tuple(dict.fromkeys(links.of_notices(notices, group.first, policy))),
        several_orders=to.orders_in_request > len(group.determinations),
        ordered_as=group.ordered_as,
        references=group.pointed_at,
        of_the_patient=bool(patients),
        indicator="info" if said.wording and said.covered is not Covered.NOT_COVERED else "warning",
    )


# How long a line stays where there are too many words, see `cards.brevity`.
_AFTERWARDS, _WHAT, _DO_NOT, _DO, _CALL, _OF_THE_PATIENT, _TO_ADD = range(7)


def _words(group: CardGroup, links: ResponseLinks) -> Wording:
    """The policy's words for the program, or those of what keeps it from settling the order, or of
    the notice on file.
    """
    first = group.first
    if first.caveat is None:
        if (on_file := _of_the_notice_on_file(group, links)) is not None:
            return on_file
        own = group.policy_determination.wording
        return own or group.policy.wording[first.program.program]
    said = links.texts.caveats[first.caveat]
    program = first.program.entry.name if first.program.entry else ""
    return Wording(
        said.summary.replace("{program}", program),
        said.statement.replace("{program}", program),
        said.do,
    )


def _of_the_notice_on_file(group: CardGroup, links: ResponseLinks) -> Wording | None:
    """The words of a notice that is on file for every order; None while it is not known which
    notice it takes.
    """
    kinds = [record_kind(d, links) for d in group.determinations]
    kind = kinds[0]
    if kind is None or kind.summary is None or any(k != kind for k in kinds):
        return None
    if group.first.program.program is Program.UNKNOWN:
        return None
    return Wording(kind.summary, "", kind.do, kind.do_not)


def _in_its_situation(words: Wording, d: Determination, day: date, links: ResponseLinks) -> Wording:
    """The words where a notice is not given, or is given in words of the situation's own."""
    found = [(n, e) for n, e in links.situations(d, day) if _takes_the_place(e)]
    if not found:
        return words
    headline = next((e.summary for _, e in found if e.summary and (e.given or not d.notices)), None)
    # Of a notice that is left the policy's words still say what to do.
    alike = headline is not None and len({e.card for _, e in found}) == 1
    do = " ".join(
        dict.fromkeys(e.card if alike else f"{n.program_label}: {e.card}" for n, e in found)
    )
    do_not = " ".join(dict.fromkeys(e.do_not for _, e in found if e.do_not))
    if headline is not None:
        return Wording(headline, "", do, do_not)
    if d.notices:
        do = f"{words.do} {do}" if words.do else do
        do_not = do_not or words.do_not or ""
    return Wording(words.summary, words.statement, do, do_not)


def _takes_the_place(entry: SituationEntry) -> bool:
    """Whether a situation's words take the place of the policy's, and add nothing to them."""
    return not entry.given or entry.summary is not None


def _lines(
    words: Wording, note: str | None, d: Determination, day: date, links: ResponseLinks
) -> Iterator[Line]:
    """What, do, do not, whom to call."""
    labels = links.texts.phrases.labels
    yield Line(note if note and d.caveat is None else words.statement, keep=_WHAT)
    if d.missing and d.policy_determination is not None:
        # What is missing, and what it would settle.
        yield Line(f"**{d.policy_determination.reason}**", keep=_TO_ADD)
    added = (e.card for _, e in links.situations(d, day) if not _takes_the_place(e))
    yield from (Line(card, keep=_DO) for card in dict.fromkeys(added))
    yield Line(words.do or "", labels.do, _DO)
    yield Line(words.do_not or "", labels.do_not, _DO_NOT)
    yield Line(links.contact_line(d) or "", labels.call, _CALL)


def _of_the_patient(group: CardGroup, to: ResponseContext, links: ResponseLinks) -> Iterator[Line]:
    """Lines on this patient, before all others: the payer's records and the forms on file."""
    words = links.texts.payer
    said = dict.fromkeys(
        sentence
        for d in group.determinations
        for sentence in (*by_records(d.payer, words), *decided_before(d, words))
    )
    yield from (Line(f"**{sentence}**", keep=_OF_THE_PATIENT) for sentence in said)
    if to.tier is HookTier.PRIMARY:
        yield from _on_file(group, links)
        rejected = dict.fromkeys(
            s for d in group.determinations for s in rejected_sentences(d, links, to.now.date())
        )
        yield from (Line(s, keep=_OF_THE_PATIENT) for s in rejected)
        documentation = dict.fromkeys(
            s for d in group.determinations for s in documentation_sentences(d, links)
        )
        yield from (Line(s, keep=_OF_THE_PATIENT) for s in documentation)


def _on_file(group: CardGroup, links: ResponseLinks) -> Iterator[Line]:
    """The form on file of each order; the modifiers that do not apply stand after "More"."""
    label = links.texts.phrases.labels.on_file
    for d in group.determinations:
        if text := " ".join(form_sentences(d, links, named_services([d]))):
            yield Line(text, label, _OF_THE_PATIENT)
    for text in dict.fromkeys(s for d in group.determinations for s in unfit_modifiers(d, links)):
        yield Line(text, keep=_AFTERWARDS)


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
