"""Statements from the payer's records, on cards and in coverage information."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date

from cards.authorization import AuthorizationFacts
from cards.coverage_information import PaNeeded
from cards.naming import NamedService
from cards.texts.wording import PayerTexts
from cards.untrusted import as_text
from service.decision.determination import Caveat, Determination, UndeterminedReason
from service.decision.payer_finding import PayerFinding, PayerOutcome
from service.decision.policy import Covered, FormNeed, PriorAuthorization
from service.response.card_group import pointed_at
from service.response.form_filler import named_services
from service.response.response_context import Decided
from service.response.response_links import ResponseLinks

_OUT_OF_NETWORK = "auth-out-network"
_GOLD_CARD = "gold-card"
_FOR_AUTHORIZATION = "withpa"
_SAYS: Mapping[str, PaNeeded] = {_OUT_OF_NETWORK: "auth-needed", _GOLD_CARD: "no-auth"}


def by_records(payer: PayerFinding | None, words: PayerTexts) -> Iterator[str]:
    """The sentences for a card, if any."""
    if payer is None:
        return
    if payer.outcome is PayerOutcome.UNREACHABLE:
        yield words.unreachable
    for said in payer.contradictions:
        yield words.contradictions.of(said.what).format(
            program=said.program,
            since=_day(words.since, said.day),
        )
    for situation in payer.situations:
        if situation in words.situations:
            yield words.situations[situation]
    if payer.out_of_network:
        yield words.out_of_network


def decided_before(
    d: Determination, words: PayerTexts, written: Callable[[str], str] = as_text
) -> Iterator[str]:
    """The sentence on the payer's decision before the service, short of an approval.

    `written` writes the number, which is untrusted: for a card's Markdown, where left out.
    """
    found = d.decision
    if found is not None:
        number = words.numbered.format(number=written(found.number)) if found.number else ""
        template = words.authorization[found.said]
        yield template.format(number=number, decided=_day(words.decided, found.day))


def authorizations(
    decided: Sequence[Decided], links: ResponseLinks
) -> Iterator[AuthorizationFacts]:
    """The facts of an authorization card for each approval on file, with its orders."""
    found: dict[tuple[str, str], list[Determination]] = {}
    for item in decided:
        d = item.determination
        if d.undetermined is UndeterminedReason.APPROVAL_TOLD:
            found.setdefault((links.insurer(d), d.approval or ""), []).append(d)
        elif d.covered is Covered.COVERED and d.payer is not None and d.payer.approved:
            found.setdefault((links.insurer(d), d.payer.approved.number), []).append(d)
    for (insurer, number), determinations in found.items():
        payer = determinations[0].payer
        ends = payer.approved.ends if payer and payer.approved else None
        codes = dict.fromkeys(c.value for d in determinations for c in d.billing_codes)
        named = {s.code: s for s in named_services(determinations)}
        references = (pointed_at(d.order.reference) for d in determinations)
        yield AuthorizationFacts(
            number=number,
            services=tuple(named.get(c) or NamedService(c, "", "") for c in codes),
            until=ends.isoformat() if ends else None,
            insurer=insurer,
            references=tuple(r for r in references if r),
            told=determinations[0].undetermined is UndeterminedReason.APPROVAL_TOLD,
            contact=links.contact_line(determinations[0]),
        )


def pa_needed(d: Determination) -> PaNeeded | None:
    """The need of prior authorization: the policy's word as the records correct it, or None.

    A gold card takes it away, a performer outside the network asks for it; a gold card precedes the
    network, for the exemption is also valid outside of it.
    """
    code = next(_reason_codes(d), None)
    if code is not None:
        return _SAYS[code]
    said = d.policy_determination.prior_authorization if d.policy_determination else None
    return said.value if said else None


def still_needed(d: Determination) -> tuple[FormNeed, ...]:
    """The policy's forms without those on file, and those for a prior authorization that a gold
    card takes away.
    """
    exempt = _GOLD_CARD in _reason_codes(d)
    return tuple(f for f in d.forms_to_ask if not (exempt and f.purpose == _FOR_AUTHORIZATION))


def coded_reasons(d: Determination, words: PayerTexts) -> tuple[tuple[str, str], ...]:
    """(code, text) of the reasons that go with `pa_needed`."""
    texts = {_OUT_OF_NETWORK: words.reasons.out_of_network, _GOLD_CARD: words.reasons.gold_card}
    return tuple((code, texts[code]) for code in _reason_codes(d))


def _reason_codes(d: Determination) -> Iterator[str]:
    """The code of such a reason; "not-covered" and what is approved need none."""
    payer, policy = d.payer, d.policy_determination
    satisfied = policy is not None and policy.prior_authorization is PriorAuthorization.SATISFIED
    if payer is None or payer.approved or satisfied or d.covered is Covered.NOT_COVERED:
        return
    if d.caveat is Caveat.UNDER_REVIEW:
        return  # the plan is asked: no word of its on authorization beside it
    if payer.exempt:
        yield _GOLD_CARD
    elif payer.out_of_network:
        yield _OUT_OF_NETWORK


def taken_as_sent(payer: PayerFinding | None, words: PayerTexts) -> tuple[str, ...]:
    """The assumption while the records are unreachable (CRD 2.2.1 impl-5)."""
    if payer is None or payer.outcome is not PayerOutcome.UNREACHABLE:
        return ()
    return (words.unreachable,)


def asserted_by_records(d: Determination) -> Iterator[str]:
    """The facts of the records, and the payer's decision, that change the assertion id."""
    if d.decision is not None:
        yield f"{d.decision.said} {d.decision.number} {d.decision.day}"
    if d.payer is None:
        return
    approval = d.payer.approved
    if approval is not None:
        yield f"{approval.number} {approval.ends}"
    yield from _reason_codes(d)


def _day(words: str, day: date | None) -> str:
    return words.format(day=day.isoformat()) if day else ""
