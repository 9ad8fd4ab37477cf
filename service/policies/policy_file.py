"""Policy file, <policy>/<effective start>.yaml, read as a PolicyVersion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, PlainValidator, model_validator

from cards.texts.placeholders import wrong
from service.decision import policy as core
from service.decision.offers import NOTHING_OFFERED
from service.decision.order import Code
from service.decision.policy import Covered, PolicyVersion, Program
from service.fhir.systems import CPT, HCPCS, canonical_code
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
from service.policies.offer_fields import OffersEntry

SYSTEMS: Mapping[str, str] = {"cpt": CPT, "hcpcs": HCPCS}
"""Code systems by their names in files."""

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

    @property
    def canonical(self) -> Code:
        code = Code(SYSTEMS[self.system], self.code)
        return canonical_code(*code) or code


class ServiceGroup(Model):
    """Codes with a common name on cards."""

    id: Id
    name: Text = Field(description="What cards call these services together.")
    codes: Some[CodeEntry]


class Searched(Model):
    """A search without a result."""

    searched: Text = Field(description="Where it was searched.")
    when: MonthOrDay = Field(description='When, as "YYYY-MM" or "YYYY-MM-DD".')


class AuthorityEntry(Model):
    """One level of authority: the citation found, or place and time of the search."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["found"]}, {"required": ["none_found"]}]}
    )

    level: Literal["ncd", "lcd", "other_lcd", "plan_policy"]
    name: Text
    found: Told[Id] = Field(None, description="The id of the citation that was found.")
    none_found: Told[Searched] = Field(None, description="Where and when nothing was found.")

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


class DeterminationEntry(Model):
    """The determination for one program."""

    covered: Literal[Covered.NOT_COVERED, Covered.COVERED, Covered.CONDITIONAL]
    reason: ReasonEntry
    offers: Told[OffersEntry] = None


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


class ReviewDates(Model):
    """The last and the next review of the policy."""

    last: MonthOrDay
    next: MonthOrDay


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


class PolicyFile(Model):
    """One published version of a coverage policy: <id>/<effective start>.yaml"""

    id: Id = Field(description="The same as the folder.")
    title: Text
    manual: Text = Field(description="The manual that the policy is of.")
    published: Day
    effective: Period
    review: ReviewDates
    summary: Sentence
    services: Some[ServiceGroup]
    ama_notice: Told[Text] = Field(None, description="What is said of the AMA's rights in CPT.")
    authorities: Some[AuthorityEntry] = Field(
        description="What was searched: ncd, lcd, other_lcd, plan_policy, in this order."
    )
    determinations: ByProgram[DeterminationEntry]
    advance_notice: AdvanceNotices
    wording: ByProgram[CardWording]
    reservations: Several[
        Annotated[Reservation, PlainValidator(_reservation, json_schema_input_type=Reservation)]
    ] = Field(description="What a reader should keep in mind; a text, or text and programs.")
    related: Annotated[Several[Id], EachOnce] = Field(
        (), description="Ids of citations that are related, without carrying a reason."
    )
    citations: Some[CitationEntry]

    @property
    def codes(self) -> Mapping[Code, CodeEntry]:
        """Every code with its entry."""
        return {c.canonical: c for group in self.services for c in group.codes}

    @property
    def governing(self) -> AuthorityEntry | None:
        """The first authority found, in the sequence of the search."""
        return next((a for a in self.authorities if a.found is not None), None)

    def version(self) -> PolicyVersion:
        """The version; requires resolved citations (see lint.citations)."""
        citations = {c.id: core.Citation(c.id, c.title, c.section, c.url) for c in self.citations}
        return PolicyVersion(
            id=self.id,
            title=self.title,
            manual=self.manual,
            published=self.published,
            starts=self.effective.start,
            ends=self.effective.end,
            review_last=self.review.last,
            review_next=self.review.next,
            summary=self.summary,
            services=tuple(self._services()),
            authorities=tuple(_authority(a, citations) for a in self.authorities),
            determinations={
                p: _determination(d, citations) for p, d in self.determinations.given()
            },
            notices={p: self.advance_notice.of(p) for p in Program},
            wording={p: _wording(w) for p, w in self.wording.given()},
            reservations=tuple(r.text for r in self.reservations),
            reserved_for={r.text: frozenset(r.programs) for r in self.reservations},
            related=tuple(citations[c] for c in self.related),
            citations=tuple(citations.values()),
            ama_notice=self.ama_notice,
        )

    def _services(self) -> Iterator[core.PolicyService]:
        for group in self.services:
            for entry in group.codes:
                yield core.PolicyService(entry.canonical, entry.name, group.id, group.name)


def _authority(entry: AuthorityEntry, citations: Mapping[str, core.Citation]) -> core.Authority:
    if entry.none_found is None:
        return core.Authority(entry.level, entry.name, citation=citations[entry.found or ""])
    searched = entry.none_found
    return core.Authority(
        entry.level, entry.name, searched_where=searched.searched, searched_when=searched.when
    )


def _determination(
    entry: DeterminationEntry, citations: Mapping[str, core.Citation]
) -> core.PolicyDetermination:
    return core.PolicyDetermination(
        covered=entry.covered,
        reason_id=entry.reason.id,
        reason=entry.reason.text,
        citations=tuple(citations[c] for c in entry.reason.citations),
        for_patient=entry.reason.for_patient,
        offers=entry.offers.core() if entry.offers else NOTHING_OFFERED,
    )


def _wording(entry: CardWording) -> core.Wording:
    return core.Wording(entry.summary, entry.statement, entry.do, entry.do_not)
