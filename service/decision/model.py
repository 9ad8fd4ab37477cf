"""The words of the decision: orders, coverages, policies and what is determined of them.

Every value here is frozen: it travels one way through a call and is never changed on the way.
Days are `datetime.date` as written by their source, with no time zone of their own.
Text fields that came with a request (`Order.name`, `Coverage.payer_name`) are untrusted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import NamedTuple, Protocol


class Programme(StrEnum):
    """Which Medicare programme pays, as far as the request or the payer's configuration told."""

    MEDICARE_ADVANTAGE = "medicare_advantage"
    ORIGINAL_MEDICARE = "original_medicare"
    NOT_TOLD = "not_told"


class Covered(StrEnum):
    """The answer to "is it covered", in the codes of CRD's coverageInfo value set."""

    NOT_COVERED = "not-covered"
    COVERED = "covered"
    CONDITIONAL = "conditional"
    INDETERMINATE = "indeterminate"


class Gap(StrEnum):
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
    TECHNICAL = "technical"
    """Data needed for the answer could not be fetched."""


class Code(NamedTuple):
    """A code in its canonical form: canonical system URI, upper-case code without padding."""

    system: str
    value: str


@dataclass(frozen=True, slots=True)
class OrderCoding:
    """One coding of an order's code, as read: where it stood and what it means.

    `code` is None when the system or the code is missing. `written` is system|code as it came.
    """

    code: Code | None
    place: str
    written: str


NO_DAY_TOLD = "today"
"""The source of a day of service that no element of the order told."""


@dataclass(frozen=True, slots=True)
class ServiceDay:
    """The day of service, or the days between which it lies when the order is imprecise.

    `source` names the element that told it ("occurrenceDateTime"), or NO_DAY_TOLD when none did.
    """

    earliest: date
    latest: date
    source: str


@dataclass(frozen=True, slots=True)
class ExistingStatement:
    """A coverage-information extension that the order already carries."""

    coverage: str | None
    covered: str | None
    assertion_id: str | None


class Standing(NamedTuple):
    """Whether an order is to be carried out at all, in its own words."""

    status: str | None
    do_not_perform: bool


@dataclass(frozen=True, slots=True)
class Order:
    """One order or appointment, reduced to what a coverage decision relies on.

    `reference` is "Type/id" as in the request; `place` is its path in the request
    ("context.draftOrders.entry[0].resource"); `name` is what the orderer called it, untrusted.
    `service_day` is None when the order tells no date. References are kept as written.
    """

    reference: str
    place: str
    codings: tuple[OrderCoding, ...]
    name: str | None = None
    service_day: ServiceDay | None = None
    status: str | None = None
    intent: str | None = None
    do_not_perform: bool = False
    patient: str | None = None
    insurance: tuple[str, ...] = ()
    statements: tuple[ExistingStatement, ...] = ()


class PolicyLink(NamedTuple):
    """A policy that a payer applies, and the payer's own page of it where there is one."""

    policy_id: str
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Contact:
    """Whom to ask about an answer: plain values of a FHIR ContactPoint and its name."""

    name: str
    system: str
    value: str


@dataclass(frozen=True, slots=True)
class Payer:
    """A payer that this service answers for, from the payers file."""

    system: str
    identifier: str
    name: str
    line_of_business: Programme
    policies: tuple[PolicyLink, ...]
    contact: Contact | None = None


@dataclass(frozen=True, slots=True)
class Coverage:
    """One Coverage resource, reduced to what a decision relies on.

    `reference` is "Coverage/id". `payer` is set when an identifier told in the coverage is one of
    ours; `payer_told` when any identifier was told. `starts`/`ends` bound the coverage's period,
    inclusive, None where open. `type_codes` are Coverage.type's codings, canonical.
    """

    reference: str
    place: str
    payer: Payer | None
    payer_told: bool
    payer_name: str | None = None
    type_codes: tuple[Code, ...] = ()
    status: str | None = None
    starts: date | None = None
    ends: date | None = None
    beneficiary: str | None = None


class CoverageOutcome(StrEnum):
    """How the search for the one relevant coverage ended."""

    FOUND = "found"
    NONE = "none"
    """No coverage at all came with the call or could be fetched."""
    NOT_AT_HAND = "not_at_hand"
    """The order names a coverage that nobody gave; another one is not taken in its place."""
    SEVERAL = "several"
    """More than one coverage fits; none of them is picked."""
    NOT_ACTIVE = "not_active"
    """There are coverages of the patient, but none is active on the day of service."""
    OTHER_PATIENT = "other_patient"
    """There are coverages, but of another beneficiary."""
    UNREACHABLE = "unreachable"
    """Coverages were not given and could not be fetched for a technical reason."""


@dataclass(frozen=True, slots=True)
class CoverageFinding:
    """Which coverage counts for an order, if exactly one does, and why.

    `coverage` is set for FOUND, for NOT_ACTIVE when just one inactive coverage came, and for
    UNREACHABLE when there is one to point at. `usable` coverages only are a basis for a policy
    decision.
    """

    outcome: CoverageOutcome
    because: str
    coverage: Coverage | None = None

    @property
    def usable(self) -> Coverage | None:
        return self.coverage if self.outcome is CoverageOutcome.FOUND else None


@dataclass(frozen=True, slots=True)
class ProgrammeFinding:
    """Which programme, read from "Coverage.type", "line of business" or "nothing"."""

    programme: Programme
    source: str
    evidence: str


@dataclass(frozen=True, slots=True)
class Citation:
    """A source that a policy rests on; `url` only where one is really known."""

    id: str
    title: str
    section: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Authority:
    """One level of authority that was searched, in the policy's order.

    `level` is "ncd", "lcd", "other_lcd" or "plan_policy". Exactly one of `citation` (found) and
    `searched_where`/`searched_when` (none found) is set; `searched_when` is "YYYY-MM" or a day.
    """

    level: str
    name: str
    citation: Citation | None = None
    searched_where: str | None = None
    searched_when: str | None = None

    @property
    def found(self) -> bool:
        return self.citation is not None


@dataclass(frozen=True, slots=True)
class Service:
    """One code that a policy speaks of, with our own short name for it and its group's."""

    code: Code
    name: str
    group: str
    group_name: str


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the policy determines for one programme: the answer, and the reason with its sources."""

    covered: Covered
    reason_id: str
    reason: str
    citations: tuple[Citation, ...]


@dataclass(frozen=True, slots=True)
class Wording:
    """What a card says for one programme; templates of `cards`, with {services} and {codes}.

    `summary` is a card's summary, under 140 characters once filled; `statement` is the first
    paragraph of its detail.
    """

    summary: str
    statement: str


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """One published version of a policy: in force from `starts` to `ends`, both inclusive.

    `review_last` and `review_next` are "YYYY-MM" or a day, as published. `notices` names, by
    programme, the advance notices to suggest, as ids of the notice library.
    """

    id: str
    title: str
    manual: str
    published: date
    starts: date
    ends: date | None
    review_last: str
    review_next: str
    summary: str
    services: tuple[Service, ...]
    authorities: tuple[Authority, ...]
    rulings: Mapping[Programme, Ruling]
    notices: Mapping[Programme, tuple[str, ...]]
    wording: Mapping[Programme, Wording]
    reservations: tuple[str, ...]
    related: tuple[Citation, ...]
    citations: tuple[Citation, ...]
    ama_notice: str | None = None

    @property
    def version(self) -> str:
        """The version's name: its first effective day, ISO."""
        return self.starts.isoformat()

    @property
    def governing_authority(self) -> Authority:
        """The first authority found, in the order searched."""
        return next(a for a in self.authorities if a.found)

    def in_force_on(self, day: date) -> bool:
        return self.starts <= day and (self.ends is None or day <= self.ends)

    def review_overdue_on(self, day: date) -> bool:
        """True once the month (or day) of the next review lies before `day`."""
        return self.review_next < day.isoformat()[: len(self.review_next)]


class Policies(Protocol):
    """What the decision needs of a policy store."""

    def versions_for(self, code: Code) -> Sequence[PolicyVersion]:
        """Every version of every policy that lists the code, oldest first; empty if none."""
        ...


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
class TraceStep:
    """One step of the way from order to answer, for logs, testers and call-centre staff.

    It names codes, references and days, never a patient's name or what an order was called.
    `topic` is "data" (what was fetched), "coding", "date", "coverage", "programme", "policy",
    "authority", "answer" or "notice"; `finding` is what was found, `because` from what.
    """

    topic: str
    finding: str
    because: str


@dataclass(frozen=True, slots=True)
class Determination:
    """What was determined of one order under one coverage, and the way that led there.

    `policy` and `ruling` are None exactly when `gap` says what kept a determination from being
    made; then `covered` is conditional (or indeterminate for technical trouble). `matched` are the
    policy's services that the order's codings met; `billing_codes` the codes the statement is for.
    `notices` are to be suggested; once one of them is known to have been given, `notice_on_file`
    names it and none is suggested any more.
    """

    order: Order
    finding: CoverageFinding
    covered: Covered
    programme: ProgrammeFinding
    day: ServiceDay
    policy: PolicyVersion | None = None
    ruling: Ruling | None = None
    gap: Gap | None = None
    matched: tuple[Service, ...] = ()
    billing_codes: tuple[Code, ...] = ()
    notices: tuple[str, ...] = ()
    trace: tuple[TraceStep, ...] = field(default=())
    notice_on_file: NoticeOnFile | None = None

    @property
    def coverage(self) -> Coverage | None:
        """The coverage that the determination is made under, None where no single one is usable."""
        return self.finding.usable
