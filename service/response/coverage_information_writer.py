"""Coverage information of determinations, in plain values; the CRD version encodes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple

from cards.coverage_information import (
    CLAIM_MODIFIER,
    DOCUMENTATION_ON_FILE,
    NOTICE_ON_FILE,
    ContactPoint,
    CoverageInformation,
    Detail,
    DocNeeded,
    Documentation,
)
from cards.naming import fill
from cards.texts import Texts
from cards.texts.wording import Phrases
from service.crd.cds_service import HookTier
from service.crd.crd_version import CrdVersion
from service.decision.coverage import CoverageOutcome
from service.decision.determination import Caveat, Determination, UndeterminedReason
from service.decision.order import Order
from service.decision.policy import (
    Covered,
    FormNeed,
    OutcomeDetail,
    PolicyDetermination,
    PolicyVersion,
)
from service.fhir.systems import CPT, HCPCS
from service.policies.notices import Notice
from service.response.documentation_status import documentation_sentences, on_file_sentence
from service.response.form_filler import named_services
from service.response.from_payer_records import (
    asserted_by_records,
    coded_reasons,
    decided_before,
    pa_needed,
    still_needed,
    taken_as_sent,
)
from service.response.notice_status import claim_modifier, on_file_sentences
from service.response.response_context import ResponseContext
from service.response.response_links import ResponseLinks

_BY_THE_PAYERS_RECORDS = frozenset(
    {
        UndeterminedReason.NO_MEMBER_FOUND,
        UndeterminedReason.NO_MEMBER_NUMBER,
        UndeterminedReason.COVERAGE_NOT_FOUND,
    }
)
_CAVEATS = frozenset(c.value for c in Caveat)
_BILLING_SYSTEMS = frozenset({CPT, HCPCS})


class Stated(NamedTuple):
    """Coverage information without its assertion id, and what that id is made of: the content
    beyond the determination (`coverage_assertion_id`).
    """

    info: CoverageInformation
    asserted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CoverageInformationWriter:
    """Writer of coverage information."""

    links: ResponseLinks

    def coverage_information(self, d: Determination, to: ResponseContext) -> Stated | None:
        """The coverage information of an order; None without exactly one coverage to reference.

        None also for another patient's order: the update would put this patient's coverage into
        that patient's chart. A card reports it.
        """
        coverage = d.finding.coverage
        if (
            coverage is None
            or not coverage.can_be_pointed_at
            or d.undetermined is UndeterminedReason.OTHER_PATIENT
        ):
            return None
        if d.undetermined in _BY_THE_PAYERS_RECORDS:
            return self._without_policy(d, to, coverage.reference, d.undetermined.value)
        if d.undetermined is UndeterminedReason.PAYER_NOT_OURS:
            return self._without_policy(
                d, to, coverage.reference, UndeterminedReason.PAYER_NOT_OURS
            )
        if d.finding.outcome is CoverageOutcome.UNREACHABLE:
            return self._without_policy(d, to, coverage.reference, UndeterminedReason.TECHNICAL)
        if d.finding.outcome is CoverageOutcome.NOT_AT_HAND:
            return self._without_policy(d, to, coverage.reference, "coverage_not_sent")
        if coverage.payer is None and not coverage.payer_told:
            # A card may quote the policy; applying it to this coverage would be a guess.
            gap = "payer_not_read" if coverage.payer_unread else UndeterminedReason.PAYER_NOT_TOLD
            return self._without_policy(d, to, coverage.reference, gap)
        if d.finding.outcome is CoverageOutcome.NOT_ACTIVE:
            return self._without_policy(d, to, coverage.reference, Caveat.NOT_ACTIVE)
        if d.caveat is not None:
            return self._without_policy(d, to, coverage.reference, d.caveat.value)
        if d.policy is not None and d.policy_determination is not None:
            return self._by_policy(d, to, coverage.reference, d.policy, d.policy_determination)
        return (
            self._without_policy(d, to, coverage.reference, d.undetermined.value)
            if d.undetermined
            else None
        )

    def _by_policy(
        self,
        d: Determination,
        to: ResponseContext,
        coverage: str,
        policy: PolicyVersion,
        policy_determination: PolicyDetermination,
    ) -> Stated:
        # A form is requested where it can be acted upon, at signing and booking (hook-19).
        full = to.tier is HookTier.PRIMARY
        editions = self.links.editions(d, to.now.date()) if full else []
        services = named_services([d])
        replaced = self.links.replaced(d, to.now.date())
        said = [
            _of_program(n, fill(n.instruction or n.summary, services), editions)
            for n in editions
            if n.id not in replaced
        ]
        if d.missing:
            # What "OTH" of info-needed means is a detail (CRD 2.2.1, comment on info-needed).
            said.insert(0, policy_determination.reason)
        if full:
            said.extend(decided_before(d, self.links.texts.payer, str))
            said.extend(on_file_sentences(d, self.links, services))
            said.extend(documentation_sentences(d, self.links))
            said.extend(self.links.situation_orders(d, to.now.date(), services))
        expires = _expires_on(d, policy, to.now.date())
        asserted = [to.version.name, d.covered.value, *(n.id for n in editions), *_on_file(d, full)]
        asserted.extend(f"{s.notice} {s.id}" for s in d.situations if full)
        asserted.extend(asserted_by_records(d))
        if expires:
            asserted.append(expires.isoformat())
        forms = still_needed(d) if full else ()
        if policy.rules:
            asserted.extend(_of_rules(d, policy_determination, [f.form for f in forms]))
        info = CoverageInformation(
            coverage=coverage,
            covered=d.covered.value,
            codes=d.billing_expressions,
            reasons=(policy_determination.reason,),
            assumptions=_assumptions(d, self.links.texts),
            stated_on=to.now.date(),
            expires_on=expires,
            assertion_id="",
            documentation=(
                *(self._documentation(n, editions, to.version) for n in editions),
                *(self._own_form(f, to.version) for f in forms),
            ),
            info_needed=policy_determination.info_needed,
            pa_needed=pa_needed(d),
            satisfied_by=d.approval,
            policy_url=self.links.policy_page(d, policy),
            instructions=" ".join(said) or None,
            details=(
                *map(_outcome_detail, policy_determination.details),
                *(self._details(d, editions) if full else ()),
            ),
            contact=_own_contact(policy_determination) or _contact(d),
            coded_reasons=coded_reasons(d, self.links.texts.payer),
        )
        return Stated(info, tuple(asserted))

    def _own_form(self, need: FormNeed, version: CrdVersion) -> Documentation:
        """A questionnaire of the policy's own."""
        form = self.links.form(need.form)
        return Documentation(
            doc_needed=version.doc_needed[DocNeeded(need.needed)],
            doc_purpose=need.purpose,
            reason=need.reason,
            questionnaire=form.adaptive_canonical if need.adaptive else form.canonical,
        )

    def _without_policy(
        self,
        d: Determination,
        to: ResponseContext,
        coverage: str,
        gap: str,
    ) -> Stated:
        texts = self.links.texts
        wording = texts.caveats[gap] if gap in _CAVEATS else texts.undetermined[gap]
        covered = Covered(wording.covered)
        if gap == UndeterminedReason.TECHNICAL:
            covered = Covered.INDETERMINATE
        approval = None
        if gap == UndeterminedReason.AUTHORIZATION_ON_FILE and d.payer is not None:
            approval = d.payer.approved
        info = CoverageInformation(
            coverage=coverage,
            covered=covered.value,
            codes=tuple(c for c in d.billing_expressions if c.system in _BILLING_SYSTEMS),
            reasons=(_reason(wording.reason, d, to, self.links.texts.phrases),),
            stated_on=to.now.date(),
            assertion_id="",
            reason_code=wording.reason_code,
            instructions=wording.instructions,
            info_needed=(wording.missing,) if wording.missing else (),
            contact=_contact(d),
            assumptions=taken_as_sent(d.payer, self.links.texts.payer),
            expires_on=approval.ends if approval else None,
            pa_needed="satisfied" if approval or d.approval else pa_needed(d),
            satisfied_by=approval.number if approval else d.approval,
            coded_reasons=coded_reasons(d, self.links.texts.payer),
        )
        return Stated(info, (to.version.name, covered.value, gap, *asserted_by_records(d)))

    def _documentation(
        self, notice: Notice, editions: Sequence[Notice], version: CrdVersion
    ) -> Documentation:
        return Documentation(
            doc_needed=_doc_needed(notice, version),
            doc_purpose=notice.doc_purpose,
            reason=_of_program(notice, notice.documentation_reason, editions),
            questionnaire=self.links.form(notice.questionnaire).canonical,
        )

    def _details(self, d: Determination, editions: Sequence[Notice]) -> Iterator[Detail]:
        """Details on the notice on file, the claim modifier at present and the documentation on
        file.
        """
        found = d.notice_on_file
        if found is not None:
            editions = [self.links.notices.edition(found.notice, found.edition)]
            text = " ".join(on_file_sentences(d, self.links, named_services([d])))
            # A response without an id cannot be referenced.
            known = found.record.startswith("QuestionnaireResponse/")
            yield Detail(NOTICE_ON_FILE, found.record if known else found.form, text)
            modifier = claim_modifier(d, editions[0])
            if modifier is not None:
                yield Detail(CLAIM_MODIFIER, modifier.code, modifier.when)
        for form in d.documentation_on_file:
            known = form.record.startswith("QuestionnaireResponse/")
            text = on_file_sentence(form, self.links)
            yield Detail(DOCUMENTATION_ON_FILE, form.record if known else form.form, text)


def _of_rules(d: Determination, said: PolicyDetermination, forms: Sequence[str]) -> Iterator[str]:
    """Parts of the assertion id where rules decided: the outcome and the open facts."""
    yield said.reason_id
    yield said.prior_authorization.value if said.prior_authorization else ""
    yield " ".join(spec.name for spec in d.missing)
    yield " ".join(forms)
    yield d.approval or ""


def _outcome_detail(detail: OutcomeDetail) -> Detail:
    return Detail(detail.name, detail.value, detail.qualification, detail.category)


def _own_contact(said: PolicyDetermination) -> ContactPoint | None:
    return ContactPoint(*said.contact) if said.contact else None


def _doc_needed(notice: Notice, version: CrdVersion) -> str:
    """The version's code; an older notice file may name it itself."""
    return notice.doc_needed_by_version.get(version.name) or version.doc_needed[notice.doc_needed]


def _reason(text: str, d: Determination, to: ResponseContext, phrases: Phrases) -> str:
    """A reason with its values: the program; the payer's reference, and why it was not read."""
    payer = d.finding.coverage.payer_unread if d.finding.coverage else None
    why = phrases.unread_because[to.unread_because]
    program = d.program.entry.name if d.program.entry else ""
    return text.format(payer=payer, why=why, program=program)


def _of_program(notice: Notice, text: str, editions: Sequence[Notice]) -> str:
    """A sentence on one of several notices, with its program: only one of them applies."""
    return text if len(editions) == 1 else f"{notice.program_label}: {text}"


def _on_file(d: Determination, full: bool) -> Iterator[str]:
    """The facts of forms on file, and of own forms that do not count, that change the assertion
    id.
    """
    if not full:
        return
    if d.notice_on_file is not None:
        found = d.notice_on_file
        yield f"{found.record} {found.day} {found.option} {found.refused}"
    yield from (f"{form.form} {form.record}" for form in d.documentation_on_file)
    yield from (f"{form.form} {form.why}" for form in d.rejected_forms if form.notice is None)


def already_carried(order: Order, coverage: str, assertion_id: str) -> bool:
    """Whether the order carries this coverage information already, by its assertion id.

    Then no update is sent (CRD 2.2.1 resp-35).
    """
    return any(
        carried.assertion_id == assertion_id and carried.coverage == coverage
        for carried in order.coverage_information
    )


def _assumptions(d: Determination, texts: Texts) -> tuple[str, ...]:
    """Assumptions beyond the call's data (CRD 2.2.1 impl-5)."""
    told = d.order.service_day
    if told is not None and not (told.open_start or told.open_end):
        return taken_as_sent(d.payer, texts.payer)
    sentence = texts.phrases.open_days_assumed if told else texts.phrases.day_assumed
    day = d.day.earliest.isoformat()
    return (sentence.format(day=day), *taken_as_sent(d.payer, texts.payer))


def _expires_on(d: Determination, policy: PolicyVersion, today: date) -> date | None:
    """The last day of the answer's validity; the order's own last day, if it names one.

    The end of the policy, of the coverage or of the outcome's own validity, whichever is first
    (CRD 2.2.1 resp-30).
    """
    said = d.policy_determination
    valid = said.valid_days if said else None
    own = today + timedelta(days=valid) if valid else None
    told = d.order.service_day
    if told is not None and not told.open_end:
        return own
    ends = [policy.ends, d.coverage.ends if d.coverage else None, own]
    return min((day for day in ends if day is not None), default=None)


def _contact(d: Determination) -> ContactPoint | None:
    payer = d.coverage.payer if d.coverage else None
    if payer is None or payer.contact is None:
        return None
    return ContactPoint(payer.contact.name, payer.contact.system, payer.contact.value)
