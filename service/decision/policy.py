"""Policy version: services, period, determinations and wording.

All values are frozen: they travel one way through a call.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple, Protocol

from service.decision.facts import FactSpec
from service.decision.offers import NOTHING_OFFERED, OfferedForm, Offers
from service.decision.order import Code
from service.decision.rules import RuleList


class Program(StrEnum):
    """Program group with its own words in a policy; each line of the programs' table has one."""

    MEDICARE_ADVANTAGE = "medicare_advantage"
    ORIGINAL_MEDICARE = "original_medicare"
    UNKNOWN = "not_told"
    """Medicare without saying which, or nothing told at all."""
    NOT_MEDICARE = "not_medicare"
    """A policy may have no words for it."""


class ReviewEffect(StrEnum):
    """Effect of an overdue review on a policy's answers."""

    WARN = "warn"
    """The policy answers; the card tells that its review is overdue."""
    VERIFY = "verify"
    """The answer is conditional: under review, ask the plan."""
    STOP = "stop"
    """There is no answer by this policy."""


class Covered(StrEnum):
    """Codes of CRD's coverageInfo value set."""

    NOT_COVERED = "not-covered"
    COVERED = "covered"
    CONDITIONAL = "conditional"
    INDETERMINATE = "indeterminate"


@dataclass(frozen=True, slots=True)
class Citation:
    """A source of a policy; `url` only if it is known."""

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
class PolicyService:
    """One code of a policy, with its own short name and its group's.

    `first` and `last` are the days on which the code belongs, both inclusive.
    """

    code: Code
    name: str
    group: str
    group_name: str
    first: date = date.min
    last: date = date.max


@dataclass(frozen=True, slots=True)
class Wording:
    """Wording of a card: templates with {services} and {codes}.

    `summary` is a card's summary, under 140 characters once filled; `statement` is the first
    paragraph of its detail, `do` and `do_not` are the next ones.
    """

    summary: str
    statement: str
    do: str | None = None
    do_not: str | None = None


class PriorAuthorization(StrEnum):
    """Need of a prior authorization, in the codes of CRD's pa-needed."""

    NONE = "no-auth"
    NEEDED = "auth-needed"
    SATISFIED = "satisfied"
    CONDITIONAL = "conditional"


class FormNeed(NamedTuple):
    """A required form: by whom, for which purpose (CRD's doc-purpose), and the reason.

    `needed` is "clinical", "admin" or "patient"; `form` the id of a form on file. `offer` is the
    card with its button, None where only coverage information asks for it. `adaptive`: question by
    question, as far as these can still change the answer.
    """

    needed: str
    purpose: str
    form: str
    reason: str
    offer: OfferedForm | None = None
    adaptive: bool = False


class OutcomeDetail(NamedTuple):
    """A limitation or another detail of an answer.

    `category` is CRD 2.2's ("cat-limitation", "cat-decisional", "cat-other"). `value` is a text, a
    truth value, (number, UCUM unit) or the (first, last) day of a period.
    """

    name: str
    category: str
    value: str | bool | tuple[str, str] | tuple[date, date]
    qualification: str | None = None


@dataclass(frozen=True, slots=True)
class PolicyDetermination:
    """The policy's determination: answer, and reason with sources.

    `for_patient` is the reason in words that a patient reads on a notice; a template as `Wording`.
    `wording` takes the place of the program's where an outcome has words of its own.
    `prior_authorization` is None where nothing is said of it. `info_needed` are CRD's codes of what
    a conditional answer waits for. `valid_days` is how long the answer holds, `billing_codes` which
    codes it is for (all that matched, where empty). `notices` says whether an advance notice goes
    with it, `offers` what is offered besides.
    """

    covered: Covered
    reason_id: str
    reason: str
    citations: tuple[Citation, ...]
    for_patient: str | None = None
    wording: Wording | None = None
    prior_authorization: PriorAuthorization | None = None
    forms: tuple[FormNeed, ...] = ()
    info_needed: tuple[str, ...] = ()
    details: tuple[OutcomeDetail, ...] = ()
    valid_days: int | None = None
    billing_codes: tuple[Code, ...] = ()
    contact: tuple[str, str, str] | None = None
    notices: bool = True
    offers: Offers = NOTHING_OFFERED


@dataclass(frozen=True, slots=True)
class OpenAnswer:
    """The answer without decisive facts: the card's wording, and a sentence for each fact.

    A sentence asks for the fact and says what it would settle ("Add the diagnosis: covered for
    …"). `forms` are, by fact, those whose answers tell it.
    """

    wording: Wording
    sentences: Mapping[str, str]
    forms: Mapping[str, FormNeed]


class Approval(NamedTuple):
    """Approval of a policy: the committee or office, and the day."""

    by: str
    on: date


class Evidence(NamedTuple):
    """Evidence summary and rationale of internal coverage criteria (42 CFR 422.101(b)(6))."""

    summary: str
    rationale: str


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """One published version of a policy: in force from `starts` to `ends`, both inclusive.

    `review_last` and `review_next` are "YYYY-MM" or a day, as published. `notices` names, by
    program, the advance notices to suggest, as ids of the notice library. `rules` decide by facts,
    each list with the program's determination as its `otherwise`; a program without rules has none,
    and its determination is all that is said. `open` is set where there are rules. `facts` are
    those that the policy declares for itself. `owner`, `approved` and `evidence` are None where the
    policy's file does not tell them; `to_be_checked` is what no source tells for certain.
    `when_overdue` is the effect of an overdue review. `reserved_for` are the programs of a
    reservation; one that it leaves out is for all. `version` is its name: its first effective day,
    ISO; `searched` says in words which authorities were searched, and what was found.
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
    services: tuple[PolicyService, ...]
    authorities: tuple[Authority, ...]
    determinations: Mapping[Program, PolicyDetermination]
    notices: Mapping[Program, tuple[str, ...]]
    wording: Mapping[Program, Wording]
    reservations: tuple[str, ...]
    related: tuple[Citation, ...]
    citations: tuple[Citation, ...]
    ama_notice: str | None = None
    owner: str | None = None
    approved: Approval | None = None
    evidence: Evidence | None = None
    to_be_checked: tuple[str, ...] = ()
    when_overdue: ReviewEffect = ReviewEffect.WARN
    reserved_for: Mapping[str, frozenset[Program]] = field(default_factory=dict)
    rules: Mapping[Program, RuleList[PolicyDetermination]] = field(default_factory=dict)
    open: OpenAnswer | None = None
    facts: Mapping[str, FactSpec] = field(default_factory=dict)
    services_by_code: Mapping[Code, PolicyService] = field(init=False, repr=False, compare=False)
    version: str = field(init=False, repr=False, compare=False)
    searched: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Computed once: a policy may have tens of thousands of codes, and the rest is read in
        # every call.
        by_code = MappingProxyType({s.code: s for s in self.services})
        object.__setattr__(self, "services_by_code", by_code)
        object.__setattr__(self, "version", self.starts.isoformat())
        found = (f"{a.name}: {'found' if a.found else 'none found'}" for a in self.authorities)
        object.__setattr__(self, "searched", "; ".join(found))

    @property
    def outcomes(self) -> Iterator[PolicyDetermination]:
        """Every outcome of its rules and determinations, some of them several times."""
        yield from self.determinations.values()
        for listed in self.rules.values():
            yield from (rule.outcome for rule in listed.rules)

    @property
    def forms_with_button(self) -> frozenset[str]:
        """The ids of forms that one of its answers offers on a card."""
        needed = [need for outcome in self.outcomes for need in outcome.forms]
        if self.open is not None:
            needed.extend(self.open.forms.values())
        offered = {offer.form for outcome in self.outcomes for offer in outcome.offers.forms}
        return frozenset(offered | {need.form for need in needed if need.offer is not None})

    def reason_for_patient(self, program: Program) -> str:
        """The reason in the patient's words, else the card's statement."""
        return self.determinations[program].for_patient or self.wording[program].statement

    @property
    def governing_authority(self) -> Authority:
        """The first authority found, in the order searched. Raises ValueError without one."""
        for authority in self.authorities:
            if authority.citation is not None:
                return authority
        raise ValueError(f"{self.id} {self.version}: no authority was found")

    def reservations_for(self, program: Program) -> tuple[str, ...]:
        """Reservations under the program."""
        return tuple(r for r in self.reservations if program in self.reserved_for.get(r, Program))

    def speaks_of(self, code: Code, day: date) -> bool:
        """Whether the version is in force on `day` and lists the code then."""
        service = self.services_by_code.get(code)
        return (
            service is not None and service.first <= day <= service.last and self.in_force_on(day)
        )

    def in_force_on(self, day: date) -> bool:
        return self.starts <= day and (self.ends is None or day <= self.ends)

    def review_overdue_on(self, day: date) -> bool:
        """True once the month (or day) of the next review lies before `day`."""
        return self.review_next < day.isoformat()[: len(self.review_next)]

    def review_effect_on(self, day: date) -> ReviewEffect | None:
        """The effect of a review that is overdue on `day`; None for one that is not."""
        return self.when_overdue if self.review_overdue_on(day) else None


class Policies(Protocol):
    """Protocol of a policy store."""

    @property
    def clinical_systems(self) -> frozenset[str]:
        """The code systems that are never billed by; policies may list their codes all the same."""
        ...

    def versions_for(self, code: Code) -> Sequence[PolicyVersion]:
        """The versions of all policies with the code, oldest first."""
        ...
