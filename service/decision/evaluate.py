"""One order, one coverage, one day: what the policies in force determine, and the way there."""

from __future__ import annotations

from datetime import date

from service.decision.coverage import CoverageFinding, CoverageOutcome, Payer
from service.decision.determination import Determination, TraceStep, UndeterminedReason
from service.decision.order import NO_DAY_TOLD, Code, Order, ServiceDay, Standing
from service.decision.payer_finding import PayerFinding, PayerOutcome
from service.decision.policy import Covered, Policies, PolicyService, PolicyVersion
from service.decision.programs import ProgramFinding, find_program

INACTIVE_ORDER_STATUSES = frozenset(
    {"revoked", "cancelled", "entered-in-error", "stopped", "noshow"}
)


_NOT_KNOWN = {
    PayerOutcome.NO_MEMBER: UndeterminedReason.NO_MEMBER_FOUND,
    PayerOutcome.NO_NUMBER: UndeterminedReason.NO_MEMBER_NUMBER,
    PayerOutcome.COVERAGE_NOT_FOUND: UndeterminedReason.COVERAGE_NOT_FOUND,
}
"""Of whom the payer does not know nothing else is said, whatever the order (resp-44, resp-45)."""

_COVERED = {
    UndeterminedReason.TECHNICAL: Covered.INDETERMINATE,
    UndeterminedReason.NO_MEMBER_FOUND: Covered.NOT_COVERED,
    UndeterminedReason.NO_MEMBER_NUMBER: Covered.NOT_COVERED,
    UndeterminedReason.COVERAGE_NOT_FOUND: Covered.NOT_COVERED,
    UndeterminedReason.AUTHORIZATION_ON_FILE: Covered.COVERED,
}

_NEEDS_THE_ORDER = frozenset(UndeterminedReason) - {
    UndeterminedReason.OTHER_PATIENT,
    *_NOT_KNOWN.values(),
}


def in_scope(order: Order | Standing) -> bool:
    """False for what is not to be done: doNotPerform, cancelled, entered in error."""
    return not order.do_not_perform and order.status not in INACTIVE_ORDER_STATUSES


def service_day(order: Order, today: date) -> ServiceDay:
    """The day that counts for the order: the one it tells, else the day of the call."""
    told = order.service_day
    return told.as_of(today) if told else ServiceDay(today, today, NO_DAY_TOLD)


def evaluate(
    order: Order,
    finding: CoverageFinding,
    *,
    today: date,
    policies: Policies,
    patient: str | None = None,
    emergency: bool = False,
    unread_code: bool = False,
    payer: PayerFinding | None = None,
) -> Determination:
    """Decide one order.

    `finding` is the coverage search's end; `today` the day of the call in the service's time zone;
    `patient` the context's patient as "Patient/id" (an order for another one is not decided);
    `emergency` whether the encounter is emergency care (then no advance notice is suggested);
    `unread_code` whether a resource that holds a code of the order could not be fetched; `payer`
    what the payer's own records say, None where there are none.
    Out comes exactly one Determination; trouble is a `undetermined` in it, never an exception.
    """
    other_patient = None not in (patient, order.patient) and patient != order.patient
    day = service_day(order, today)
    unread = unread_code or finding.outcome is CoverageOutcome.UNREACHABLE
    return _Evaluation(order, finding, day, policies, other_patient, emergency, unread, payer).run()


class _Evaluation:
    """The steps of one evaluation; they share the growing trace and nothing else."""

    def __init__(
        self,
        order: Order,
        finding: CoverageFinding,
        day: ServiceDay,
        policies: Policies,
        other_patient: bool,
        emergency: bool,
        unread: bool,
        payer: PayerFinding | None,
    ) -> None:
        self.order = order
        self.finding = finding
        self.day = day
        self.policies = policies
        self.other_patient = other_patient
        self.emergency = emergency
        self.unread = unread
        self.payer = payer
        self.program = _program(finding, payer)
        self.trace: list[TraceStep] = []

    def run(self) -> Determination:
        told = self.order.service_day
        self._note("date", _days(self.day), f"{self.day.source}: {told}" if told else NO_DAY_TOLD)
        self._note_payer()
        self._note("coverage", self.finding.outcome.value, self.finding.because)
        self._note("program", self.program.program.value, self._program_source())
        codes = self._readable_codes()
        if self.other_patient:
            return self._undetermined(UndeterminedReason.OTHER_PATIENT, codes)
        # Of another payer's coverage nothing is said, whether it is active or not.
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
        versions = [v for c in codes for v in self._versions(c, payer)]
        if not versions:
            return self._undetermined(UndeterminedReason.NO_POLICY, codes)
        first = {v.id: v for v in versions if v.in_force_on(self.day.earliest)}
        last = {v.id: v for v in versions if v.in_force_on(self.day.latest)}
        if first != last:
            return self._undetermined(UndeterminedReason.DAY_NOT_PRECISE, codes)
        if not first:
            self._note("policy", "none in force", f"{_named(versions)} on {_days(self.day)}")
            return self._undetermined(UndeterminedReason.NO_POLICY_THAT_DAY, codes)
        if len(first) > 1:
            self._note("policy", "several in force", _named(list(first.values())))
            return self._undetermined(UndeterminedReason.SEVERAL_POLICIES, codes)
        (policy,) = first.values()
        return self._ruled(policy, codes)

    def _ruled(self, policy: PolicyVersion, codes: tuple[Code, ...]) -> Determination:
        matched = self._matched(policy, codes)
        policy_determination = policy.determinations[self.program.program]
        authority = policy.governing_authority
        self._note("policy", f"{policy.id} version {policy.version}", f"in force {_days(self.day)}")
        self._note("authority", authority.name, _searched(policy))
        self._note(
            "answer",
            policy_determination.covered.value,
            f"{policy.id}: {policy_determination.reason_id}",
        )
        notices = self._notices(policy, policy_determination.covered)
        return Determination(
            order=self.order,
            finding=self.finding,
            covered=policy_determination.covered,
            program=self.program,
            day=self.day,
            policy=policy,
            policy_determination=policy_determination,
            matched=matched,
            billing_codes=tuple(s.code for s in matched),
            notices=notices,
            trace=tuple(self.trace),
            payer=self.payer,
        )

    def _readable_codes(self) -> tuple[Code, ...]:
        """The order's codes, each once, in the order written."""
        codes: dict[Code, None] = {}
        for coding in self.order.codings:
            if coding.code is None:
                self._note("coding", "not readable", f"{coding.place}: system or code is missing")
            else:
                codes[coding.code] = None
        return tuple(codes)

    def _versions(self, code: Code, payer: Payer | None) -> list[PolicyVersion]:
        """Every version that speaks of the code, of the payer's policies where a payer is known.

        Without a payer every policy of this service is looked at: the answer is then worded as
        this plan's policy, for whoever turns out to be its member.
        """
        found = self.policies.versions_for(code)
        if payer is None:
            return list(found)
        applied = {link.policy_id for link in payer.policies}
        return [v for v in found if v.id in applied]

    def _matched(self, policy: PolicyVersion, codes: tuple[Code, ...]) -> tuple[PolicyService, ...]:
        by_code = {s.code: s for s in policy.services}
        for coding in self.order.codings:
            service = by_code.get(coding.code) if coding.code else None
            if service is not None:
                self._note(
                    "coding",
                    f"{service.code.value} is in group {service.group}",
                    f"{coding.place}: {policy.id} version {policy.version}",
                )
        return tuple(by_code[c] for c in codes if c in by_code)

    def _notices(self, policy: PolicyVersion, covered: Covered) -> tuple[str, ...]:
        if covered is Covered.COVERED:
            return ()
        if self.emergency:
            self._note("notice", "none", "no advance notice is given in emergency care")
            return ()
        if self.payer is not None and self.payer.authorization is not None:
            # Asked already: pending, or denied with the notice that goes with a denial.
            self._note("notice", "none", "a decision before the service has been asked for")
            return ()
        notices = policy.notices[self.program.program]
        self._note("notice", ", ".join(notices) or "none", self.program.program.value)
        return notices

    def _undetermined(self, reason: UndeterminedReason, codes: tuple[Code, ...]) -> Determination:
        if self.unread and reason in _NEEDS_THE_ORDER:
            # What could not be read may be what is missing: that is said first.
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
            billing_codes=codes,
            trace=tuple(self.trace),
            payer=self.payer,
        )

    def _note_payer(self) -> None:
        payer = self.payer
        if payer is None:
            return
        self._note("payer", payer.outcome.value, payer.because)
        for said in payer.contradictions:
            ours = " ".join(str(o) for o in (said.program, said.day) if o)
            told = said.told.value if said.told else "otherwise"
            self._note("payer", f"contradiction: {said.what}", f"records: {ours}; told: {told}")
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

    def _program_source(self) -> str:
        return f"{self.program.source}: {self.program.evidence}"

    def _note(self, topic: str, finding: str, because: str) -> None:
        self.trace.append(TraceStep(topic, finding, because))


def _program(finding: CoverageFinding, payer: PayerFinding | None) -> ProgramFinding:
    """What the payer knows goes before what the call tells."""
    if payer is None or payer.program is None or finding.usable is None:
        return find_program(finding.usable)
    since = f" since {payer.starts}" if payer.starts else ""
    return ProgramFinding(payer.program, "payer's records", f"member record {payer.record}{since}")


def _days(day: ServiceDay) -> str:
    if day.earliest == day.latest:
        return day.earliest.isoformat()
    return f"{day.earliest.isoformat()} to {day.latest.isoformat()}"


def _named(versions: list[PolicyVersion]) -> str:
    return ", ".join(sorted({f"{v.id} version {v.version}" for v in versions}))


def _searched(policy: PolicyVersion) -> str:
    return "; ".join(
        f"{a.name}: {'found' if a.found else 'none found'}" for a in policy.authorities
    )
