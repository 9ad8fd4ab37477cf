"""Statements from the payer's records, on cards and in coverage information."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date

from cards.authorization import AuthorizationFacts
from cards.coverage_information import PaNeeded
from cards.texts.wording import PayerTexts
from service.decision.determination import Determination, UndeterminedReason
from service.decision.payer_finding import AuthorizationStatus, PayerFinding, PayerOutcome
from service.decision.policy import Covered
from service.response.card_group import pointed_at
from service.response.response_context import Decided
from service.response.response_links import ResponseLinks

_OUT_OF_NETWORK = "auth-out-network"
_GOLD_CARD = "gold-card"


def by_records(payer: PayerFinding | None, words: PayerTexts) -> Iterator[str]:
    """The sentences for a card, if any."""
    if payer is None:
        return
    if payer.outcome is PayerOutcome.UNREACHABLE:
        yield words.unreachable
    for said in payer.contradictions:
        yield words.contradictions.of(said.what).format(
            program=words.programs[said.program.value] if said.program else "",
            since=_day(words.since, said.day),
        )
    for situation in payer.situations:
        if situation in words.situations:
            yield words.situations[situation]
    found = payer.authorization
    if found is not None and found.status is not AuthorizationStatus.APPROVED:
        template = words.authorization[found.status.value]
        yield template.format(number=found.number, decided=_day(words.decided, found.decided))
    if payer.out_of_network:
        yield words.out_of_network


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
        references = (pointed_at(d.order.reference) for d in determinations)
        yield AuthorizationFacts(
            number=number,
            codes=tuple(codes),
            until=ends.isoformat() if ends else None,
            insurer=insurer,
            references=tuple(r for r in references if r),
            told=determinations[0].undetermined is UndeterminedReason.APPROVAL_TOLD,
        )


def pa_needed(payer: PayerFinding | None) -> PaNeeded | None:
    """The need of prior authorization by the records, beyond the policy, or None.

    A gold card precedes the network: the exemption is also valid outside of it.
    """
    if payer is None:
        return None
    if payer.exempt:
        return "no-auth"
    return "auth-needed" if payer.out_of_network else None


def coded_reasons(d: Determination, words: PayerTexts) -> tuple[tuple[str, str], ...]:
    """(code, text) of the reasons that go with `pa_needed`."""
    texts = {_OUT_OF_NETWORK: words.reasons.out_of_network, _GOLD_CARD: words.reasons.gold_card}
    return tuple((code, texts[code]) for code in _reason_codes(d))


def _reason_codes(d: Determination) -> Iterator[str]:
    """The codes of these reasons; a "not-covered" needs none."""
    said = pa_needed(d.payer)
    approved = d.payer is not None and d.payer.approved is not None
    if said is not None and not approved and d.covered is not Covered.NOT_COVERED:
        yield _GOLD_CARD if said == "no-auth" else _OUT_OF_NETWORK


def taken_as_sent(payer: PayerFinding | None, words: PayerTexts) -> tuple[str, ...]:
    """The assumption while the records are unreachable (CRD 2.2.1 impl-5)."""
    if payer is None or payer.outcome is not PayerOutcome.UNREACHABLE:
        return ()
    return (words.unreachable,)


def asserted_by_records(d: Determination) -> Iterator[str]:
    """The facts of the records that change the assertion id."""
    if d.payer is None:
        return
    approval = d.payer.approved
    if approval is not None:
        yield f"{approval.number} {approval.ends}"
    yield from _reason_codes(d)


def _day(words: str, day: date | None) -> str:
    return words.format(day=day.isoformat()) if day else ""
