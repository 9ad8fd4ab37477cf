"""Policy file, <policy>/<effective start>.yaml, read as a PolicyVersion."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from functools import cached_property
from typing import Annotated, Literal, NamedTuple

from pydantic import ConfigDict, Field, PlainValidator, model_validator

from cards.texts.placeholders import wrong
from service.decision import policy as core
from service.decision.conditions import Condition, asked_in
from service.decision.facts import ORDER_DAY, TABLE, FactSpec
from service.decision.offers import NOTHING_OFFERED
from service.decision.order import Code
from service.decision.policy import Covered, PolicyVersion, Program, ReviewEffect
from service.decision.rules import Rule, RuleList
from service.fhir.systems import canonical_code
from service.field_path import FieldPath
from service.policies.code_tokens import CODE_SYSTEMS
from service.policies.condition_models import Compiler, ConditionEntry, FactEntry, FactName
from service.policies.condition_phrases import phrases
from service.policies.fields import (
    ByProgram,
    Day,
    EachOnce,
    Id,
    Model,
    MonthOrDay,
    Period,
    ProgramName,
    Sentence,
    Several,
    Some,
    Template,
    Text,
    Told,
    Url,
    Write,
)
from service.policies.offer_fields import OffersEntry, QuestionnaireTask
from service.policies.source_entries import ToBeChecked
from service.policies.value_set_files import NamedSet

SYSTEMS: Mapping[str, str] = {name: CODE_SYSTEMS[name] for name in ("cpt", "hcpcs")}
"""The names by which the files call the systems of billing codes."""

LEVELS = ("ncd", "lcd", "other_lcd", "plan_policy")
"""The levels of authority, in the sequence of the search."""

BillingCode = Annotated[
    str,
    Field(pattern=r"^[A-Z0-9]{5}$"),
    Write("a code of five capital letters and digits, quoted"),
]


class CodeEntry(Model):
    """One code of the policy."""

    system: Literal["cpt", "hcpcs"] = Field(description="The code's system.")
    code: BillingCode
    name: Text = Field(description="A short name in our own words, never the CPT descriptor.")
    first: Told[Day] = Field(None, description="The first day on which the code belongs.")
    last: Told[Day] = Field(None, description="The last day on which the code belongs.")

    @property
    def canonical(self) -> Code:
        code = Code(SYSTEMS[self.system], self.code)
        return canonical_code(*code) or code


class ServiceGroup(Model):
    """Codes that cards call by one name: written out, or those of a value set."""

    id: Id
    name: Text = Field(description="What cards call these services together.")
    codes: Several[CodeEntry] = ()
    value_set: Told[Id] = Field(None, description="A value set on file, in place of codes.")

    @model_validator(mode="after")
    def _one_of_two(self) -> ServiceGroup:
        if bool(self.codes) == (self.value_set is not None):
            raise wrong("needs exactly one of codes and value_set", "keep or add one of them")
        return self


class Searched(Model):
    """A search without a result."""

    searched: Text = Field(description="FieldPath it was searched.")
    when: MonthOrDay = Field(description='When, as "YYYY-MM" or "YYYY-MM-DD".')


class AuthorityEntry(Model):
    """One level of authority: the citation found, or place and time of the search."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["found"]}, {"required": ["none_found"]}]}
    )

    level: Literal["ncd", "lcd", "other_lcd", "plan_policy"]
    name: Text
    found: Told[Id] = Field(None, description="The id of the citation that was found.")
    none_found: Told[Searched] = Field(None, description="FieldPath and when nothing was found.")

    @model_validator(mode="after")
    def _one_of_two(self) -> AuthorityEntry:
        if (self.found is None) == (self.none_found is None):
            raise wrong("needs exactly one of found and none_found", "keep or add one of them")
        return self


class ReasonEntry(Model):
    """The reason of a determination."""

    id: Id
    text: Sentence = Field(description="For the card and the coverage information.")
    for_patient: Told[Template] = Field(
        None, description="The same in words that a patient understands, for a notice."
    )
    citations: Annotated[Several[Id], EachOnce] = Field(description="Ids of citations below.")


class DetailEntry(Model):
    """A limit or another fact that goes along with an answer: exactly one of the three values."""

    name: Text = Field(description='A word or two: "limit".')
    category: Literal["limitation", "decisional", "other"] = "limitation"
    value: Told[bool | Text] = None
    quantity: Annotated[
        Told[Annotated[str, Field(pattern=r"^\d+(\.\d+)? \S+$")]],
        Write('a number and a UCUM unit: "1 {test}"'),
    ] = None
    period: Told[Period] = None
    qualification: Told[Sentence] = Field(None, description="A sentence about the value.")

    @model_validator(mode="after")
    def _one_of_three(self) -> DetailEntry:
        if sum(v is not None for v in (self.value, self.quantity, self.period)) != 1:
            problem = "needs exactly one of value, quantity and period"
            raise wrong(problem, "keep or add one of them")
        if self.period is not None and self.period.end is None:
            raise wrong("the period has no end", "add end: a limit is for a time that ends")
        return self

    def detail(self) -> core.OutcomeDetail:
        value: str | bool | tuple[str, str] | tuple[date, date] = self.value or False
        if self.quantity is not None:
            number, _, unit = self.quantity.partition(" ")
            value = (number, unit)
        elif self.period is not None:
            value = (self.period.start, self.period.end or date.max)
        return core.OutcomeDetail(self.name, f"cat-{self.category}", value, self.qualification)


class OutcomeContact(Model):
    """Contact for this outcome, where it is not the payer's own."""

    name: Text
    system: Literal["phone", "fax", "email", "url", "sms", "other"]
    value: Text


class QuestionnaireEntry(Model):
    """A form of the policy's own: questionnaires/<id>.json beside its file."""

    needed: Literal["clinical", "admin", "patient"] = Field(
        "clinical", description="Whose documentation it is."
    )
    purpose: Literal["withpa", "withclaim", "withorder", "retain-doc", "OTH"] = Field(
        description="A code of CRD's doc-purpose."
    )
    reason: Sentence = Field(description="What it is asked for.")
    task: Told[QuestionnaireTask] = Field(
        None, description="The card whose button asks for it; without it there is no button."
    )
    adaptive: Literal[True, False] = Field(
        False,
        description="Whether clients get it question by question, as long as an answer can decide.",
    )


class DeterminationEntry(Model):
    """Determination: the answer, with its reason, details, documentation and offers.

    What breaks an invariant of a version of CRD is refused here, and never reaches an EHR.
    """

    covered: Literal[Covered.NOT_COVERED, Covered.COVERED, Covered.CONDITIONAL]
    reason: ReasonEntry
    offers: Told[OffersEntry] = None
    summary: Told[Template] = Field(
        None, description="A card's summary, in place of the program's wording."
    )
    statement: Told[Template] = Field(None, description="The card's first paragraph, likewise.")
    prior_authorization: Told[Literal["no-auth", "auth-needed", "satisfied", "conditional"]] = (
        Field(None, description="A code of CRD's pa-needed.")
    )
    documentation: Annotated[Several[Id], EachOnce] = Field(
        (), description="Ids of the policy's questionnaires that have to be filled in."
    )
    info_needed: Annotated[
        Several[
            Literal["performer", "location", "timeframe", "contract-window", "detail-code", "OTH"]
        ],
        EachOnce,
    ] = Field((), description="What a conditional answer waits for; codes of CRD's info-needed.")
    details: Several[DetailEntry] = ()
    valid_days: Annotated[
        Told[Annotated[int, Field(ge=1)]], Write("a whole number of days, 1 or more")
    ] = Field(None, description="For how many days the answer holds.")
    billing_codes: Several[BillingCode] = Field(
        (), description="The codes that it holds for, where not all of those that were ordered."
    )
    contact: Told[OutcomeContact] = None
    notices: bool = Field(True, description="Whether the program's advance notice goes with it.")

    @model_validator(mode="after")
    def _crd_invariants(self) -> DeterminationEntry:
        conditional = Covered.CONDITIONAL in (self.covered, self.prior_authorization)
        if self.covered is Covered.NOT_COVERED and self.prior_authorization is not None:
            raise wrong(
                "not-covered with a prior authorization breaks crd-ci-q2 of CRD 2.0.1 and 2.2.1: "
                "pa-needed must be absent with not-covered",
                "remove prior_authorization",
            )
        if self.info_needed and not conditional:
            raise wrong(
                "info_needed breaks crd-ci-q3 of CRD 2.0.1: something must be conditional",
                "say conditional, or remove info_needed",
            )
        if (self.summary is None) != (self.statement is None):
            raise wrong("summary and statement go together", "add the one that is missing")
        return self

    def outcome(
        self, policy: PolicyFile, citations: Mapping[str, core.Citation]
    ) -> core.PolicyDetermination:
        """The decision's value, where citations and questionnaires are on file."""
        authorization = self.prior_authorization
        wording = None
        if self.summary is not None and self.statement is not None:
            wording = core.Wording(self.summary, self.statement)
        contact = self.contact
        return core.PolicyDetermination(
            covered=self.covered,
            reason_id=self.reason.id,
            reason=self.reason.text,
            citations=tuple(citations[c] for c in self.reason.citations),
            for_patient=self.reason.for_patient,
            offers=self.offers.core() if self.offers else NOTHING_OFFERED,
            wording=wording,
            prior_authorization=core.PriorAuthorization(authorization) if authorization else None,
            forms=tuple(policy.form(f) for f in self.documentation if f in policy.questionnaires),
            info_needed=tuple(self.info_needed),
            details=tuple(d.detail() for d in self.details),
            valid_days=self.valid_days,
            billing_codes=tuple(policy.billed_by(self.billing_codes)),
            contact=(contact.name, contact.system, contact.value) if contact else None,
            notices=self.notices,
        )


class RuleEntry(Model):
    """One rule: the first one that is true decides."""

    id: Id
    programs: Annotated[Some[ProgramName], EachOnce] = Field(
        tuple(Program), description="The programs that it is for; all where left out."
    )
    when: ConditionEntry
    then: DeterminationEntry

    @model_validator(mode="after")
    def _satisfied_by_an_approval(self) -> RuleEntry:
        satisfied = self.then.prior_authorization == "satisfied"
        if satisfied and not {"earlier.approval", "earlier.approved"} & set(self.when.facts()):
            raise wrong(
                "satisfied without the number of an approval breaks crd-ci-q5 of CRD 2.0.1: "
                "satisfied-pa-id must exist",
                "let the rule ask for {fact: earlier.approved, is: true}",
            )
        return self


class OpenEntry(Model):
    """Wording of an open answer, where facts are missing."""

    summary: Template = Field(description="The card's summary: under 140 characters.")
    statement: Template = Field(description="The card's first paragraph.")
    sentences: dict[FactName, Sentence] = Field(
        {}, description='By fact, what to add and what it settles: "Add the diagnosis: …".'
    )


class CardWording(Model):
    """The wording of a card for one program, with {services} and {codes}."""

    summary: Template = Field(description="A card's summary: under 140 characters once filled in.")
    statement: Template = Field(description="The first paragraph of its detail: what.")
    do: Told[Template] = Field(None, description="The next one: what to do.")
    do_not: Told[Template] = Field(None, description="The next one: what not to do.")


class AdvanceNotices(Model):
    """Advance notices by program: ids of _notices."""

    medicare_advantage: Annotated[Several[Id], EachOnce] = ()
    original_medicare: Annotated[Several[Id], EachOnce] = ()
    not_told: Annotated[Several[Id], EachOnce] = ()
    not_medicare: Annotated[Several[Id], EachOnce] = ()

    def of(self, program: Program) -> tuple[str, ...]:
        notices: tuple[str, ...] = getattr(self, program.value)
        return notices

    @cached_property
    def named(self) -> Sequence[tuple[FieldPath, Program, str]]:
        """Every id with its program, and its place in the policy's file."""
        return tuple(
            (("advance_notice", program.value, i), program, notice)
            for program in Program
            for i, notice in enumerate(self.of(program))
        )


class ReviewDates(Model):
    """The last and the next review of the policy."""

    last: MonthOrDay
    next: MonthOrDay
    when_overdue: Annotated[ReviewEffect, Field(strict=False)] = Field(
        ReviewEffect.WARN, description="What an overdue review does to the answers."
    )


class ApprovalEntry(Model):
    """The approval of the policy."""

    by: Text = Field(description="A committee or an office.")
    on: Day


class EvidenceEntry(Model):
    """Evidence of internal coverage criteria (42 CFR 422.101(b)(6)); sources are citations."""

    summary: Sentence = Field(description="What evidence was considered.")
    rationale: Sentence = Field(description="Why the criteria follow from it.")


class Reservation(Model):
    """Something to keep in mind, and for which programs."""

    text: Sentence
    programs: Annotated[Some[ProgramName], EachOnce] = tuple(Program)


def _reservation(written: object) -> Reservation:
    """A text alone is for every program."""
    if isinstance(written, str):
        written = {"text": written}
    return Reservation.model_validate(written)


class CitationEntry(Model):
    """A source of the policy."""

    id: Id
    title: Text
    section: Told[Text] = None
    url: Told[Url] = Field(None, description="Its address, only where it is really known.")


class CompiledRules(NamedTuple):
    """The declared facts by name, and a condition for each rule, in the file's order."""

    facts: Mapping[str, FactSpec]
    conditions: tuple[Condition, ...]


class PolicyFile(Model):
    """One published version of a coverage policy: <id>/<effective start>.yaml"""

    id: Id = Field(description="The same as the folder.")
    title: Text
    manual: Text = Field(description="The manual that the policy is of.")
    published: Day
    effective: Period
    review: ReviewDates
    owner: Told[Text] = Field(None, description="Who keeps the policy: an office, no person.")
    approved: Told[ApprovalEntry] = None
    evidence: Told[EvidenceEntry] = None
    to_be_checked: ToBeChecked = Field((), description="What no source tells for certain.")
    summary: Sentence
    services: Some[ServiceGroup]
    ama_notice: Told[Text] = Field(None, description="What is said of the AMA's rights in CPT.")
    authorities: Some[AuthorityEntry] = Field(
        description="What was searched: ncd, lcd, other_lcd, plan_policy, in this order."
    )
    facts: dict[FactName, FactEntry] = Field({}, description="Facts that the policy declares.")
    questionnaires: dict[Id, QuestionnaireEntry] = Field(
        {}, description="The policy's own forms, by the id of their file."
    )
    rules: Several[RuleEntry] = Field(
        (), description="The first one that is true decides; else determinations do."
    )
    open: Told[OpenEntry] = None
    determinations: ByProgram[DeterminationEntry] = Field(
        description="What is determined; where there are rules, where none of them is true."
    )
    advance_notice: AdvanceNotices
    wording: ByProgram[CardWording]
    reservations: Several[
        Annotated[
            Reservation, PlainValidator(_reservation, json_schema_input_type=Text | Reservation)
        ]
    ] = Field(description="What a reader should keep in mind; a text, or text and programs.")
    related: Annotated[Several[Id], EachOnce] = Field(
        (), description="Ids of citations that are related, without carrying a reason."
    )
    citations: Some[CitationEntry]

    @model_validator(mode="after")
    def _words_for_what_is_open(self) -> PolicyFile:
        if bool(self.rules) != (self.open is not None):
            raise wrong(
                "rules and open go together", "add open: what is said where facts are missing"
            )
        for _, determination in self.determinations.given():
            if determination.prior_authorization == "satisfied":
                raise wrong(
                    "satisfied without the number of an approval breaks crd-ci-q5 of CRD 2.0.1",
                    "move it into a rule that asks for {fact: earlier.approved, is: true}",
                )
        return self

    @property
    def codes(self) -> Mapping[Code, CodeEntry]:
        """Every code with its entry."""
        return {c.canonical: c for group in self.services for c in group.codes}

    def billed_by(self, values: Collection[str]) -> Iterator[Code]:
        """The policy's codes with these values."""
        if values:
            yield from (code for code in self.codes if code.value in values)

    @property
    def governing(self) -> AuthorityEntry | None:
        """The first authority found, in the sequence of the search."""
        return next((a for a in self.authorities if a.found is not None), None)

    @property
    def form_tasks(self) -> Iterator[tuple[FieldPath, QuestionnaireTask]]:
        """The cards of the policy's own forms, with their places."""
        for form_id, entry in self.questionnaires.items():
            if entry.task is not None:
                yield ("questionnaires", form_id, "task"), entry.task

    @cached_property
    def outcomes(self) -> Sequence[tuple[FieldPath, DeterminationEntry]]:
        """Every outcome with its place: the rules' in their order, then each program's own."""
        given = self.determinations.given()
        return (
            *((("rules", i, "then"), rule.then) for i, rule in enumerate(self.rules)),
            *((("determinations", program.value), own) for program, own in given),
        )

    def form(self, form_id: str) -> core.FormNeed:
        """Need for one of the policy's own questionnaires, as coverage information states it."""
        entry = self.questionnaires[form_id]
        offer = entry.task.core(form_id, entry.reason) if entry.task else None
        return core.FormNeed(
            entry.needed, entry.purpose, form_id, entry.reason, offer, entry.adaptive
        )

    @model_validator(mode="after")
    def _adaptive_forms_decide(self) -> PolicyFile:
        answered = {fact.answer.partition("#")[0] for fact in self.facts.values() if fact.answer}
        for form_id, entry in self.questionnaires.items():
            if entry.adaptive and form_id not in answered:
                raise wrong(
                    f"no fact is an answer of {form_id}, which is adaptive",
                    "declare such a fact, or remove adaptive",
                )
        return self

    def compiled(self, compiler: Compiler) -> CompiledRules:
        """The facts that the policy declares, and the rules' conditions."""
        specs = {
            name: compiler.fact(name, entry, self.questionnaires.keys(), ("facts", name))
            for name, entry in self.facts.items()
        }
        conditions = tuple(
            compiler.condition(rule.when, specs, ("rules", i, "when"))
            for i, rule in enumerate(self.rules)
        )
        return CompiledRules(specs, conditions)

    def version(self, sets: Mapping[str, NamedSet], compiled: CompiledRules) -> PolicyVersion:
        """The version, where nothing stops it (see lint.rule_table.STOPPING).

        `sets` are the value sets on file, `compiled` is what `compiled` makes by them.
        """
        specs, conditions = compiled
        citations = {c.id: core.Citation(c.id, c.title, c.section, c.url) for c in self.citations}
        own = {p: d.outcome(self, citations) for p, d in self.determinations.given()}
        outcomes = [rule.then.outcome(self, citations) for rule in self.rules]

        lists: dict[object, RuleList[core.PolicyDetermination]] = {}

        def listed(program: Program) -> RuleList[core.PolicyDetermination] | None:
            mine = tuple(i for i, entry in enumerate(self.rules) if program in entry.programs)
            if not mine:
                return None
            # Programs with the same rules and the same determination share a list.
            key = (mine, own[program])
            if key not in lists:
                rules = [Rule(self.rules[i].id, conditions[i], outcomes[i]) for i in mine]
                lists[key] = RuleList(rules, own[program])
            return lists[key]

        return PolicyVersion(
            id=self.id,
            title=self.title,
            manual=self.manual,
            published=self.published,
            starts=self.effective.start,
            ends=self.effective.end,
            review_last=self.review.last,
            review_next=self.review.next,
            owner=self.owner,
            approved=core.Approval(self.approved.by, self.approved.on) if self.approved else None,
            evidence=_evidence(self.evidence),
            to_be_checked=self.to_be_checked,
            when_overdue=self.review.when_overdue,
            summary=self.summary,
            services=tuple(self._services(sets)),
            authorities=tuple(_authority(a, citations) for a in self.authorities),
            determinations=own,
            notices={p: self.advance_notice.of(p) for p in Program},
            wording={p: _wording(w) for p, w in self.wording.given()},
            reservations=tuple(r.text for r in self.reservations),
            reserved_for={r.text: frozenset(r.programs) for r in self.reservations},
            related=tuple(citations[c] for c in self.related),
            citations=tuple(citations.values()),
            ama_notice=self.ama_notice,
            rules={p: found for p in own if (found := listed(p)) is not None},
            open=self._open(specs, conditions),
            facts=specs,
        )

    def _open(
        self, specs: Mapping[str, FactSpec], conditions: Sequence[Condition]
    ) -> core.OpenAnswer | None:
        if self.open is None:
            return None
        asked = {is_.fact.name: is_.fact for c in conditions for is_ in asked_in(c)}
        asked[ORDER_DAY] = TABLE[ORDER_DAY]
        default: str = phrases()["add_fact"]
        return core.OpenAnswer(
            core.Wording(self.open.summary, self.open.statement),
            sentences={
                name: self.open.sentences.get(name) or default.format(fact=spec.words)
                for name, spec in asked.items()
            },
            forms={
                name: self.form(spec.source.questionnaire)
                for name, spec in specs.items()
                if spec.source is not None and spec.source.questionnaire in self.questionnaires
            },
        )

    def _services(self, sets: Mapping[str, NamedSet]) -> Iterator[core.PolicyService]:
        for group in self.services:
            for entry in group.codes:
                days = entry.first or date.min, entry.last or date.max
                yield core.PolicyService(entry.canonical, entry.name, group.id, group.name, *days)
            named = sets.get(group.value_set or "")
            for line in named.lines if named else ():
                if isinstance(line.what, Code):
                    name = named.names.get(line.what, group.name) if named else group.name
                    yield core.PolicyService(
                        line.what, name, group.id, group.name, line.first, line.last
                    )


def _authority(entry: AuthorityEntry, citations: Mapping[str, core.Citation]) -> core.Authority:
    if entry.none_found is None:
        return core.Authority(entry.level, entry.name, citation=citations[entry.found or ""])
    searched = entry.none_found
    return core.Authority(
        entry.level, entry.name, searched_where=searched.searched, searched_when=searched.when
    )


def _evidence(entry: EvidenceEntry | None) -> core.Evidence | None:
    return core.Evidence(entry.summary, entry.rationale) if entry else None


def _wording(entry: CardWording) -> core.Wording:
    return core.Wording(entry.summary, entry.statement, entry.do, entry.do_not)
