"""Evaluation: one order, one coverage, one day, by the policies in force."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from service.decision.coverage import CoverageFinding, CoverageOutcome, Payer
from service.decision.determination import (
    CONTRADICTORY,
    Caveat,
    Determination,
    PriorDecision,
    TraceStep,
    UndeterminedReason,
)
from service.decision.facts import (
    APPROVAL,
    APPROVED,
    DECISION,
    DECISION_DAY,
    DECISION_NUMBER,
    IS_APPROVED,
    LAST_DAY,
    NOT_TOLD,
    ORDER_DAY,
    TABLE,
    Between,
    Fact,
    Facts,
    FactSpec,
    Why,
)
from service.decision.order import NO_DAY_TOLD, Code, Order, ServiceDay, Standing
from service.decision.payer_finding import CONTRADICTION, PayerFinding, PayerOutcome
from service.decision.policy import (
    Covered,
    OpenAnswer,
    Policies,
    PolicyDetermination,
    PolicyService,
    PolicyVersion,
    PriorAuthorization,
    Program,
    ReviewEffect,
)
from service.decision.programs import NO_COVERAGE, ProgramFinding
from service.decision.rules import Decision
from service.decision.situations import NO_SITUATIONS, SituationFound, Situations

INACTIVE_ORDER_STATUSES = frozenset(
    {"revoked", "cancelled", "entered-in-error", "stopped", "noshow"}
)


_NOT_KNOWN = {
    PayerOutcome.NO_MEMBER: UndeterminedReason.NO_MEMBER_FOUND,
    PayerOutcome.NO_NUMBER: UndeterminedReason.NO_MEMBER_NUMBER,
    PayerOutcome.COVERAGE_NOT_FOUND: UndeterminedReason.COVERAGE_NOT_FOUND,
}
"""Answers for unknown members, whatever the order (CRD 2.2.1 resp-44, resp-45)."""

_COVERED = {
    UndeterminedReason.TECHNICAL: Covered.INDETERMINATE,
    UndeterminedReason.NO_MEMBER_FOUND: Covered.NOT_COVERED,
    UndeterminedReason.NO_MEMBER_NUMBER: Covered.NOT_COVERED,
    UndeterminedReason.COVERAGE_NOT_FOUND: Covered.NOT_COVERED,
    UndeterminedReason.AUTHORIZATION_ON_FILE: Covered.COVERED,
}

_CAVEATS = {
    CoverageOutcome.NOT_ACTIVE: Caveat.NOT_ACTIVE,
    CoverageOutcome.OTHER_PATIENT: Caveat.OTHER_PATIENT,
}

_NEEDS_THE_ORDER = frozenset(UndeterminedReason) - {
    UndeterminedReason.OTHER_PATIENT,
    *_NOT_KNOWN.values(),
}


def in_scope(order: Order | Standing) -> bool:
    """False for an order not to be carried out: doNotPerform, cancelled, entered in error."""
    return not order.do_not_perform and order.status not in INACTIVE_ORDER_STATUSES


def service_day(order: Order, today: date) -> ServiceDay:
    """The day of service: the order's, else the day of the call."""
    told = order.service_day
    return told.as_of(today) if told else ServiceDay(today, today, NO_DAY_TOLD)


def evaluate(
    order: Order,
    finding: CoverageFinding,
    *,
    today: date,
    policies: Policies,
    patient: str | None = None,
    situations: Situations = NO_SITUATIONS,
    unread_code: bool = False,
    facts: Facts | None = None,
    payer: PayerFinding | None = None,
) -> Determination:
    """Decide one order.

    `finding` is the outcome of the coverage selection; `today`, the day of the call in the
    service's time zone; `patient`, the context's patient as "Patient/id" (another patient's order
    is not decided); `situations`, where a notice is not given; `unread_code`, a failed fetch of a
    resource with the order's code. `facts` are those of the order, as the payer's records complete
    them; without, all are unknown but the day. `payer` is the finding of the payer's records, None
    without them. Returns one Determination; a failure is its `undetermined` reason, never an
    exception.
    """
    other_patient = None not in (patient, order.patient) and patient != order.patient
    day = service_day(order, today)
    unread = unread_code or finding.outcome is CoverageOutcome.UNREACHABLE
    told = facts or _OnlyTheDay(day, today)
    return _Evaluation(
        order, finding, day, today, policies, other_patient, situations, unread, told, payer
    ).run()


class _Evaluation:
    """The steps of one evaluation, which share the trace."""

    def __init__(
        self,
        order: Order,
        finding: CoverageFinding,
        day: ServiceDay,
        today: date,
        policies: Policies,
        other_patient: bool,
        situations: Situations,
        unread: bool,
        facts: Facts,
        payer: PayerFinding | None,
    ) -> None:
        self.order = order
        self.finding = finding
        self.day = day
        self.today = today
        self.policies = policies
        self.other_patient = other_patient
        self.situations = situations
        self.found: tuple[SituationFound, ...] = ()
        self.unread = unread
        self.facts = facts
        self.payer = payer
        self.program = _program(finding, payer)
        self.days = _days(day)
        self.trace: list[TraceStep] = []

    def run(self) -> Determination:
        self._note("date", self.days, self._day_source())
        self._note_payer()
        self._note("coverage", self.finding.outcome.value, self.finding.because)
        self._note("program", self.program.program.value, self._program_source())
        codes = self._readable_codes()
        if self.other_patient:
            return self._undetermined(UndeterminedReason.OTHER_PATIENT, codes)
        # No statement on another payer's coverage, active or not.
        coverage = self.finding.coverage
        if coverage is not None and coverage.payer is None and coverage.payer_told:
            return self._undetermined(UndeterminedReason.PAYER_NOT_OURS, codes)
        if self.payer is not None and (reason := _NOT_KNOWN.get(self.payer.outcome)):
            return self._undetermined(reason, codes)
        if not codes:
            return self._undetermined(UndeterminedReason.NO_CODE, codes)
        if self.payer is not None and self.payer.approved:
            return self._undetermined(UndeterminedReason.AUTHORIZATION_ON_FILE, codes)
        return self._under_policies(codes, coverage.payer if coverage else None)

    def _under_policies(self, codes: tuple[Code, ...], payer: Payer | None) -> Determination:
        found = [(c, v) for c in codes for v in self._versions(c, payer)]
        versions = [v for _, v in found]
        if not versions:
            clinical = all(code.system in self.policies.clinical_systems for code in codes)
            missing = UndeterminedReason.NO_CODE if clinical else UndeterminedReason.NO_POLICY
            return self._undetermined(missing, codes)
        earliest, latest = self.day.earliest, self.day.latest
        first = {v.id: v for c, v in found if v.speaks_of(c, earliest)}
        if latest != earliest and first != {v.id: v for c, v in found if v.speaks_of(c, latest)}:
            return self._undetermined(UndeterminedReason.DAY_NOT_PRECISE, codes)
        if not first:
            self._note("policy", "none in force", f"{_named(versions)} on {self.days}")
            return self._undetermined(UndeterminedReason.NO_POLICY_THAT_DAY, codes)
        if len(first) > 1:
            self._note("policy", "several in force", _named(list(first.values())))
            return self._undetermined(UndeterminedReason.SEVERAL_POLICIES, codes)
        (policy,) = first.values()
        return self._by_policy(policy, codes)

    def _by_policy(self, policy: PolicyVersion, codes: tuple[Code, ...]) -> Determination:
        program = self.program.program
        matched = self._matched(policy, codes)
        self._note("policy", f"{policy.id} version {policy.version}", f"in force {self.days}")
        self._note("authority", policy.governing_authority.name, policy.searched)
        caveat = self._caveat(policy)
        if caveat is not None:
            return self._with_caveat(caveat, policy, matched)
        decision = self._by_rules(policy)
        determined = policy.determinations[program]
        if decision is not None and policy.open is not None:
            determined = decision.outcome or _open(policy.open, decision)
        if determined.covered is not Covered.COVERED and self._is_approved():
            return self._undetermined(UndeterminedReason.APPROVAL_TOLD, codes, matched)
        effect = policy.review_effect_on(self.today)
        if effect is not None:
            self._note("review", effect.value, f"overdue since {policy.review_next}")
        if effect is ReviewEffect.STOP:
            return self._undetermined(UndeterminedReason.REVIEW_OVERDUE, codes)
        if effect is ReviewEffect.VERIFY:
            return self._with_caveat(Caveat.UNDER_REVIEW, policy, matched)
        covered = determined.covered
        self._note("answer", covered.value, f"{policy.id}: {determined.reason_id}")
        return Determination(
            order=self.order,
            finding=self.finding,
            covered=covered,
            program=self.program,
            day=self.day,
            policy=policy,
            policy_determination=determined,
            matched=matched,
            billing_codes=determined.billing_codes or tuple(s.code for s in matched),
            notices=self._notices(policy, determined),
            trace=tuple(self.trace),
            missing=tuple(m.spec for m in decision.missing) if decision else (),
            possible=decision.outcomes if decision and not decision.certain else (),
            approval=self._approval(determined),
            payer=self.payer,
            situations=self.found,
            decision=self._decision(),
        )

    def _caveat(self, policy: PolicyVersion) -> Caveat | None:
        """The caveat under this coverage; None where the policy settles the order."""
        outcome, program = self.finding.outcome, self.program
        if outcome in _CAVEATS:
            return _CAVEATS[outcome]
        if program.contradictory:
            return Caveat.CONTRADICTORY
        if program.program in (Program.MEDICARE_ADVANTAGE, Program.UNKNOWN):
            return Caveat.COVERAGE_ENDS if self._ends_within() else None
        payer = self.finding.coverage.payer if self.finding.coverage else None
        entry = program.entry.id if program.entry else program.program.value
        applied = payer is not None and payer.applies(policy.id, entry)
        if not applied or program.program not in policy.wording:
            return Caveat.OTHER_PROGRAM
        return Caveat.COVERAGE_ENDS if self._ends_within() else None

    def _ends_within(self) -> bool:
        """True where the coverage ends before the order's dates do."""
        coverage = self.finding.usable
        ends = coverage.ends if coverage else None
        return ends is not None and self.day.earliest <= ends < self.day.latest

    def _is_approved(self) -> bool:
        """True where the call tells an approval before the service."""
        return self.facts.get(TABLE[IS_APPROVED]).value is True

    def _decision(self) -> PriorDecision | None:
        """The payer's decision before the service, short of an approval."""
        fact = self.facts.get(TABLE[DECISION])
        said = CONTRADICTORY if fact.why is Why.CONTRADICTORY else fact.value
        if not isinstance(said, str) or said == APPROVED:
            return None
        self._note("payer", f"decision: {said}", ", ".join(fact.places))
        number = self.facts.get(TABLE[DECISION_NUMBER]).value
        day = self.facts.get(TABLE[DECISION_DAY]).value
        return PriorDecision(
            said,
            number if isinstance(number, str) else None,
            day if isinstance(day, date) else None,
        )

    def _with_caveat(
        self, caveat: Caveat, policy: PolicyVersion, matched: tuple[PolicyService, ...]
    ) -> Determination:
        not_active = caveat is Caveat.NOT_ACTIVE
        covered = Covered.NOT_COVERED if not_active else Covered.CONDITIONAL
        self._note("answer", covered.value, caveat.value)
        self._note("notice", "none", caveat.value)
        return Determination(
            order=self.order,
            finding=self.finding,
            covered=covered,
            program=self.program,
            day=self.day,
            policy=policy,
            policy_determination=PolicyDetermination(covered, caveat.value, "", (), notices=False),
            matched=matched,
            billing_codes=tuple(s.code for s in matched),
            trace=tuple(self.trace),
            payer=self.payer,
            caveat=caveat,
            decision=self._decision(),
        )

    def _by_rules(self, policy: PolicyVersion) -> Decision[PolicyDetermination] | None:
        """The decision of the policy's rules; None without rules for the program."""
        rules = policy.rules.get(self.program.program)
        if rules is None:
            return None
        decision = rules.decide(self.facts)
        self._note_rules(decision)
        return decision

    def _note_rules(self, decision: Decision[PolicyDetermination]) -> None:
        add = self.trace.append
        for result in decision.results:
            for test, truth, fact in result.tests:
                evidence = fact.places[0] if len(fact.places) == 1 else _evidence(fact)
                add(TraceStep("condition", _TRUTH[truth], f"{test.words}: {evidence}"))
            add(TraceStep("rule", _TRUTH[result.truth], result.rule))
        for spec, fact in decision.missing:
            why = fact.why.value if fact.why else "not precise"
            self._note("missing", spec.name, f"{why}: {fact.because}" if fact.because else why)

    def _approval(self, determined: PolicyDetermination) -> str | None:
        if determined.prior_authorization is not PriorAuthorization.SATISFIED:
            return None
        number = self.facts.get(TABLE[APPROVAL]).value
        return number if isinstance(number, str) else None

    def _readable_codes(self) -> tuple[Code, ...]:
        """The order's codes without duplicates, in sequence."""
        codes: dict[Code, None] = {}
        for coding in self.order.codings:
            if coding.code is None:
                self._note("coding", "not readable", f"{coding.place}: system or code is missing")
            else:
                codes[coding.code] = None
        return tuple(codes)

    def _versions(self, code: Code, payer: Payer | None) -> list[PolicyVersion]:
        """The versions with the code, of the payer's policies if the payer is known.

        Without a payer, of all policies: the wording then refers to this plan's policy.
        """
        found = self.policies.versions_for(code)
        if payer is None:
            return list(found)
        applied = {link.policy_id for link in payer.policies}
        return [v for v in found if v.id in applied]

    def _matched(self, policy: PolicyVersion, codes: tuple[Code, ...]) -> tuple[PolicyService, ...]:
        by_code = policy.services_by_code
        for coding in self.order.codings:
            service = by_code.get(coding.code) if coding.code else None
            if service is not None:
                self._note(
                    "coding",
                    f"{service.code.value} is in group {service.group}",
                    f"{coding.place}: {policy.id} version {policy.version}",
                )
        return tuple(by_code[c] for c in codes if c in by_code)

    def _notices(self, policy: PolicyVersion, said: PolicyDetermination) -> tuple[str, ...]:
        if said.covered is Covered.COVERED or not said.notices:
            return ()
        notices = policy.notices[self.program.program]
        self._note("notice", ", ".join(notices) or "none", self.program.program.value)
        held = self.situations.of(notices, self.facts) if notices else ()
        if not held:
            return notices
        self.found = tuple(found for found, _ in held)
        for found, result in held:
            because = "; ".join(
                f"{test.words}: {', '.join(f.places)}" for test, _, f in result.tests
            )
            what = f"{found.notice}: {found.id}"
            self._note("notice", what if found.given else f"{what}, not given", because)
        kept_back = {found.notice for found in self.found if not found.given}
        return tuple(n for n in notices if n not in kept_back)

    def _undetermined(
        self,
        reason: UndeterminedReason,
        codes: tuple[Code, ...],
        matched: tuple[PolicyService, ...] = (),
    ) -> Determination:
        if self.unread and reason in _NEEDS_THE_ORDER:
            # The unreadable data may be the missing data: this reason comes first.
            reason = UndeterminedReason.TECHNICAL
        covered = _COVERED.get(reason, Covered.CONDITIONAL)
        self._note("answer", covered.value, reason.value)
        return Determination(
            order=self.order,
            finding=self.finding,
            covered=covered,
            program=self.program,
            day=self.day,
            undetermined=reason,
            matched=matched,
            billing_codes=codes,
            trace=tuple(self.trace),
            payer=self.payer,
            approval=self._told_approval(reason),
        )

    def _told_approval(self, reason: UndeterminedReason) -> str | None:
        if reason is not UndeterminedReason.APPROVAL_TOLD:
            return None
        number = self.facts.get(TABLE[APPROVAL]).value
        return number if isinstance(number, str) else None

    def _note_payer(self) -> None:
        payer = self.payer
        if payer is None:
            return
        self._note("payer", payer.outcome.value, payer.because)
        for said in payer.contradictions:
            ours = " ".join(str(o) for o in (said.program, said.day) if o)
            told = said.told or "otherwise"
            self._note("payer", CONTRADICTION + said.what, f"records: {ours}; told: {told}")
        for situation in payer.situations:
            self._note("payer", situation, "the member's record")
        if payer.authorization is not None:
            found = payer.authorization
            until = f"until {found.ends}" if found.ends else "without an end"
            self._note("payer", f"authorization {found.status.value}", f"{found.number}, {until}")
        if payer.out_of_network:
            self._note("payer", "out of network", "no contract of who performs it holds that day")
        if payer.exempt:
            self._note("payer", "gold card", "who orders or performs it is exempt for its codes")
        if payer.had_on:
            days = ", ".join(d.isoformat() for d in payer.had_on)
            self._note("payer", "had before", days)

    def _day_source(self) -> str:
        """The element of the day of service, with its value if another day is effective."""
        told = self.order.service_day
        if told is None:
            return NO_DAY_TOLD
        same = str(told) == self.days
        return self.day.source if same else f"{self.day.source}: {told}"

    def _program_source(self) -> str:
        return f"{self.program.source}: {self.program.evidence}"

    def _note(self, topic: str, finding: str, because: str) -> None:
        self.trace += (TraceStep(topic, finding, because),)


def _evidence(fact: Fact) -> str:
    """The place of a fact, or the reason for which it is unknown."""
    return ", ".join(fact.places) or (fact.why.value if fact.why else "")


_TRUTH = {True: "true", False: "false", None: "unknown"}


@dataclass(frozen=True, slots=True)
class _OnlyTheDay:
    """Facts of a call without a fact reader: the day of service only."""

    day: ServiceDay
    today: date

    def get(self, spec: FactSpec) -> Fact:
        if spec.name == LAST_DAY:
            return last_day_fact(self.day)
        return day_fact(self.day) if spec.name == ORDER_DAY else NOT_TOLD


def day_fact(day: ServiceDay, place: str = "") -> Fact:
    """The day of service as a fact; `place` is the order's path in the request.

    An imprecise day is a range.
    """
    places = (f"{place}.{day.source}" if place else day.source,)
    if day.earliest == day.latest:
        return Fact(day.earliest, places)
    between = Between(day.earliest, day.latest)
    return Fact(between, places, Why.NOT_READABLE, "it lies between two days")


def last_day_fact(day: ServiceDay, place: str = "") -> Fact:
    """The last day of service as a fact: of a day that is told imprecisely, the latest possible."""
    return Fact(day.latest, (f"{place}.{day.source}" if place else day.source,))


def _open(answer: OpenAnswer, decision: Decision[PolicyDetermination]) -> PolicyDetermination:
    """The open answer: the missing facts, and what each would settle."""
    names = [spec.name for spec, _ in decision.missing]
    asked = [spec.asks for spec, _ in decision.missing]
    same = {o.prior_authorization for o in decision.outcomes}
    return PolicyDetermination(
        covered=Covered.CONDITIONAL,
        reason_id="facts-missing",
        reason=" ".join(dict.fromkeys(answer.sentences[n] for n in names)),
        citations=tuple(dict.fromkeys(c for o in decision.outcomes for c in o.citations)),
        wording=answer.wording,
        prior_authorization=same.pop() if len(same) == 1 else PriorAuthorization.CONDITIONAL,
        forms=tuple(dict.fromkeys(answer.forms[n] for n in names if n in answer.forms)),
        info_needed=tuple(dict.fromkeys(asked)),
        notices=False,
    )


def _program(finding: CoverageFinding, payer: PayerFinding | None) -> ProgramFinding:
    """The program of the payer's records, else of the call."""
    usable = finding.usable
    if payer is None or payer.program is None or usable is None:
        return usable.program if usable else NO_COVERAGE
    since = f" since {payer.starts}" if payer.starts else ""
    evidence = f"member record {payer.record}{since}"
    entry = payer.program
    return ProgramFinding(entry.words_for, "payer's records", evidence, entry)


def _days(day: ServiceDay) -> str:
    if day.earliest == day.latest:
        return day.earliest.isoformat()
    return f"{day.earliest.isoformat()} to {day.latest.isoformat()}"


def _named(versions: list[PolicyVersion]) -> str:
    return ", ".join(sorted({f"{v.id} version {v.version}" for v in versions}))
