"""What was determined of an order, and the way there.

Every value here is frozen: it travels one way through a call and is never changed on the way.
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
from service.decision.policy import Covered, PolicyDetermination, PolicyService, PolicyVersion
from service.decision.programs import ProgramFinding


class UndeterminedReason(StrEnum):
    """What kept a determination from being made; each is worded in `cards/texts/gaps.yaml`."""

    NO_CODE = "no_code"
    """Nothing in the order can be looked up: text only, an empty coding, no code at all."""
    NO_POLICY = "no_policy"
    """The codes are readable, but no policy on file here speaks of them."""
    NO_POLICY_THAT_DAY = "no_policy_that_day"
    """A policy speaks of the code, but none was in force on the day of service."""
    DAY_NOT_PRECISE = "day_not_precise"
    """The date of service spans a day on which the answer changes."""
    PAYER_NOT_OURS = "payer_not_ours"
    """The coverage names a payer that this service does not answer for."""
    PAYER_NOT_TOLD = "payer_not_told"
    """The coverage does not say in a readable way who the payer is."""
    SEVERAL_POLICIES = "several_policies"
    """The order's codes fall under more than one policy, so no single answer holds for it."""
    OTHER_PATIENT = "other_patient"
    """The order is for another patient than the one the call is about."""
    NO_MEMBER_FOUND = "no_member_found"
    """By the payer's own records nobody fits what the call tells."""
    NO_MEMBER_NUMBER = "no_member_number"
    """The call tells no member number to look for in the payer's own records."""
    COVERAGE_NOT_FOUND = "coverage_not_found"
    """By the payer's own records the member has no such coverage, or several fit."""
    AUTHORIZATION_ON_FILE = "authorization_on_file"
    """The payer has approved the service before, so that no policy is asked."""
    TECHNICAL = "technical"
    """Data needed for the answer could not be fetched."""


@dataclass(frozen=True, slots=True)
class NoticeOnFile:
    """An advance notice that was given: which one, by which form, when, and what was chosen.

    `notice` and `form` are ids, `record` the form's "Type/id". `option` is the patient's choice
    where the form asks for one; None where the patient `refused` to sign.
    """

    notice: str
    form: str
    record: str
    day: date
    option: str | None = None
    refused: bool = False


@dataclass(frozen=True, slots=True)
class RejectedForm:
    """A form for this patient and order that does not count: its id and why not, a key of texts."""

    form: str
    why: str


class TraceStep(NamedTuple):
    """One step of the way from order to answer, for logs, testers and call-centre staff.

    It names codes, references and days, never a patient's name or what an order was called.
    `topic` is "data" (what was fetched), "coding", "date", "coverage", "program", "payer",
    "policy", "authority", "rule", "condition", "missing", "answer" or "notice"; `finding` is what
    was found, `because` from what.
    """

    topic: str
    finding: str
    because: str


@dataclass(frozen=True, slots=True)
class Determination:
    """What was determined of one order under one coverage, and the way that led there.

    `policy` and `policy_determination` are None exactly when `undetermined` holds the reason; then
    `covered` is conditional, or what the reason itself decides: indeterminate for technical
    trouble, not covered for whom the payer does not know, covered with an approval on file.
    `matched` are the policy's services that the order's codings met; `billing_codes` the codes the
    statement is for. `notices` are to be suggested; once one of them is known to have been given,
    `notice_on_file` names it and none is suggested any more. `rejected_forms` are forms that came
    back but do not count. `missing` is the smallest set of facts that would settle an answer that
    the policy's rules leave open, and `possible` are then the answers that can still come.
    `approval` is the number of a prior authorization that is on file. `payer` is what the payer's
    own records say, None where they were not asked.
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
    rejected_forms: tuple[RejectedForm, ...] = ()
    missing: tuple[FactSpec, ...] = ()
    possible: tuple[PolicyDetermination, ...] = ()
    approval: str | None = None
    payer: PayerFinding | None = None

    @property
    def coverage(self) -> Coverage | None:
        """The coverage that the determination is made under, None where no single one is usable."""
        return self.finding.usable
