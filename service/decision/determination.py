"""Determination of an order, with its trace.

All values are frozen: they travel one way through a call.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import NamedTuple

from service.decision.coverage import Coverage, CoverageFinding
from service.decision.facts import FactSpec
from service.decision.order import Code, Order, ServiceDay
from service.decision.payer_finding import PayerFinding
from service.decision.policy import (
    Covered,
    FormNeed,
    PolicyDetermination,
    PolicyService,
    PolicyVersion,
)
from service.decision.programs import ProgramFinding
from service.decision.situations import SituationFound


class UndeterminedReason(StrEnum):
    """Reason without a determination; `cards/texts/undetermined.yaml` has the wording."""

    NO_CODE = "no_code"
    """The order has no usable code: text only, an empty coding, no code."""
    NO_POLICY = "no_policy"
    """No policy on file lists the order's codes."""
    NO_POLICY_THAT_DAY = "no_policy_that_day"
    """A policy lists the code, but none was in force on the day of service."""
    REVIEW_OVERDUE = "review_overdue"
    """The policy's review is overdue, and its file says that it gives no answer then."""
    DAY_NOT_PRECISE = "day_not_precise"
    """The date of service spans a day on which the answer changes."""
    PAYER_NOT_OURS = "payer_not_ours"
    """The coverage names a payer that this service does not answer for."""
    PAYER_NOT_TOLD = "payer_not_told"
    """The coverage has no readable identifier of its payer."""
    SEVERAL_POLICIES = "several_policies"
    """The order's codes are in more than one policy, so that no single answer applies."""
    OTHER_PATIENT = "other_patient"
    """The order is for another patient than the one the call is about."""
    NO_MEMBER_FOUND = "no_member_found"
    """No member of the payer's records fits the call's data."""
    NO_MEMBER_NUMBER = "no_member_number"
    """The call has no member number for the payer's records."""
    COVERAGE_NOT_FOUND = "coverage_not_found"
    """In the payer's records the member has no such coverage, or several."""
    APPROVAL_TOLD = "approval_told"
    """The order itself, or a decision that it refers to, tells an approval before the service."""
    AUTHORIZATION_ON_FILE = "authorization_on_file"
    """The payer has approved the service before; policies are not evaluated."""
    TECHNICAL = "technical"
    """Data needed for the answer could not be fetched."""


class Caveat(StrEnum):
    """Reason for which a policy that speaks of the order does not settle it; see `cards/texts`.

    The policy is linked all the same. No notice goes with it, and no form.
    """

    OTHER_PROGRAM = "other_program"
    """The coverage is of a program that the payer does not apply the policy to."""
    CONTRADICTORY = "contradictory"
    """The coverage's type and its payer's line of business are of different programs."""
    NOT_ACTIVE = "not_active"
    """The coverage is not in force on the day of service."""
    OTHER_PATIENT = "other_patient"
    """The coverage is another person's."""
    COVERAGE_ENDS = "coverage_ends"
    """The coverage ends within the order's dates."""
    UNDER_REVIEW = "under_review"
    """The policy's review is overdue, and its file says that the plan is asked then."""


class PriorDecision(NamedTuple):
    """The payer's decision before the service, from its records or as the call tells it.

    `said` is a value of the fact DECISION, or CONTRADICTORY where the call holds several that
    differ. `number` is untrusted.
    """

    said: str
    number: str | None = None
    day: date | None = None


CONTRADICTORY = "contradictory"


@dataclass(frozen=True, slots=True)
class NoticeOnFile:
    """An advance notice on file: notice, edition, form, day and choice.

    `notice` and `form` are ids, `edition` the first day of the edition that the form is of,
    `record` the form's "Type/id". `option` is the patient's choice, if the form has one; None after
    a refusal to sign.
    """

    notice: str
    edition: date
    form: str
    record: str
    day: date
    option: str | None = None
    refused: bool = False


@dataclass(frozen=True, slots=True)
class RejectedForm:
    """A rejected form for this patient and order: its id and notice, and the reason as a key of
    texts. A form of the policy's own belongs to no notice.
    """

    form: str
    why: str
    notice: str | None


class FormOnFile(NamedTuple):
    """A form of the policy's own that is on file: its id, and the response's "Type/id"."""

    form: str
    record: str


class TraceStep(NamedTuple):
    """One step of the decision trace, for logs, testers and call-center staff.

    It contains codes, references and days, never a patient's or an order's name. `topic` is "data"
    (fetched data), "coding", "date", "coverage", "program", "payer", "policy", "authority",
    "rule", "condition", "missing", "answer", "notice" or "documentation"; `because` is the
    evidence of `finding`.
    """

    topic: str
    finding: str
    because: str


@dataclass(frozen=True, slots=True)
class Determination:
    """The determination of one order under one coverage, with its trace.

    `policy` and `policy_determination` are None exactly when `undetermined` holds the reason; then
    `covered` is conditional, or what the reason itself decides: indeterminate for technical
    trouble, not covered for whom the payer does not know, covered with an approval on file.
    `matched` are the policy's services that the order's codings met; `billing_codes` the codes the
    statement is for. `notices` are to be suggested; once one of them is known to have been given,
    `notice_on_file` names it and none is suggested any more. `documentation_on_file` are the
    policy's own forms that need not be filled in again. `rejected_forms` are forms that came
    back but do not count. `missing` is the smallest set of facts that would settle an answer that
    the policy's rules leave open, and `possible` are then the answers that can still come.
    `approval` is the number of a prior authorization that is on file. `payer` is what the payer's
    own records say, None where they were not asked. `caveat` says why the policy does not settle
    the order, None where it does. `decision` is the payer's before the service, short of an
    approval. `coverage` is the single usable one that it is under, None without.
    """

    order: Order
    finding: CoverageFinding
    covered: Covered
    program: ProgramFinding
    day: ServiceDay
    policy: PolicyVersion | None = None
    policy_determination: PolicyDetermination | None = None
    undetermined: UndeterminedReason | None = None
    matched: tuple[PolicyService, ...] = ()
    billing_codes: tuple[Code, ...] = ()
    notices: tuple[str, ...] = ()
    trace: tuple[TraceStep, ...] = field(default=())
    notice_on_file: NoticeOnFile | None = None
    documentation_on_file: tuple[FormOnFile, ...] = ()
    rejected_forms: tuple[RejectedForm, ...] = ()
    missing: tuple[FactSpec, ...] = ()
    possible: tuple[PolicyDetermination, ...] = ()
    approval: str | None = None
    payer: PayerFinding | None = None
    caveat: Caveat | None = None
    situations: tuple[SituationFound, ...] = ()
    decision: PriorDecision | None = None

    coverage: Coverage | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Computed once: each part of an answer looks at it.
        object.__setattr__(self, "coverage", self.finding.usable)

    @property
    def forms_to_ask(self) -> tuple[FormNeed, ...]:
        """The forms that the policy's answer asks for, without those on file."""
        said = self.policy_determination
        asked = said.forms if said else ()
        if not self.documentation_on_file:
            return asked
        on_file = {found.form for found in self.documentation_on_file}
        return tuple(need for need in asked if need.form not in on_file)

    @property
    def billing_expressions(self) -> tuple[Code, ...]:
        """The billing codes with the modifiers that the order writes them with, each once."""
        written: dict[Code, list[Code]] = {}
        for coding in self.order.codings:
            if coding.code is not None and (expression := coding.expression) is not None:
                written.setdefault(coding.code, []).append(expression)
        each = (e for code in self.billing_codes for e in written.get(code, [code]))
        return tuple(dict.fromkeys(each))
