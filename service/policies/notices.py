"""Advance notices by program: steps before the service, and their form.

Forms have editions; a notice is dated like a policy, with one file for each edition. Editions may
overlap, and one ends by `effective.end` alone, whatever day is printed on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Annotated, Literal

from pydantic import AliasChoices, BeforeValidator, Field

from cards.coverage_information import DocNeeded
from cards.texts.placeholders import Placeholders, wrong
from service.decision.situations import Situation, Situations, situation
from service.decision.submitted_form import FormAcceptanceRule
from service.errors import ConfigurationError
from service.policies.condition_models import Compiler, ConditionEntry
from service.policies.fields import (
    Day,
    EachOnce,
    Id,
    Model,
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
from service.policies.source_entries import SourceEntry, ToBeChecked

_REASON, _EDITION = "{reason}", "{edition}"

Advice = Annotated[Text, Placeholders("services", "codes", "reason", "edition")]
BlankText = Annotated[Text, Placeholders("services", "codes", "reason")]
OnFile = Annotated[Text, Placeholders("services", "codes", "day", "due")]


class NoticeLink(Model):
    """A link of the notice."""

    label: Text
    url: Url


class NoticeTask(Model):
    """The Task created by the card's button."""

    label: Sentence = Field(description="The button.")
    description: Template
    reason: Template
    after_completion: Literal[
        "prior-auth-include", "initial-claim-include", "all-claims-include"
    ] = Field(description="A code of CRD's afterCompletionCode value set.")


class Blank(Model):
    """A blank of the form: letter, content, and who fills it in."""

    blank: Annotated[str, Field(pattern=r"^[A-Z]$"), Write("a blank's letter")]
    holds: Sentence
    by: Literal["staff", "provider", "patient"]
    text: Told[BlankText] = Field(
        None,
        description="What to write, where {reason} is the policy's reason in the "
        "patient's words; a patient's blank never has one.",
    )

    def suggests(self, reason: str) -> str | None:
        """The suggested text, before {services} and {codes} are filled in."""
        return self.text.replace(_REASON, reason) if self.text else None


class Option(Model):
    """An option of the patient on the form, in our own words."""

    option: Text
    means: Sentence
    on_file: Sentence = Field(description="Says what was chosen once the form is on file.")
    claim: bool = Field(description="Whether Medicare is billed.")


ModifierCode = Annotated[
    str, Field(pattern=r"^[A-Z0-9]{2}$"), Write("a modifier of two capital letters or digits")
]


class Modifier(Model):
    """A claim modifier, for a claim with or without a notice on file."""

    code: ModifierCode
    goes_with: Literal["notice-on-file", "no-notice"]
    when: Sentence


class UnfitModifier(Model):
    """A claim modifier that does not apply, with the reason."""

    code: ModifierCode
    because: Sentence


class RecordKind(Model):
    """A form that puts the notice on file when completed."""

    questionnaire: Id = Field(description="The form's id.")
    valid_months: Annotated[int, Field(ge=1), Write("a number of months, at least 1")] = Field(
        description="How long it counts, from the day that it tells."
    )
    text: OnFile = Field(
        description="What is said of the form on file; {day} is the day of it, {due} the first "
        "day of service for which a new one is due."
    )
    summary: Told[Template] = Field(
        None, description="The card's summary once it is on file, in place of the policy's."
    )
    do: Told[Template] = Field(None, description="What to do then, likewise.")
    do_not: Told[Template] = Field(None, description="What not to do then, likewise.")
    refused: Told[OnFile] = Field(
        None, description="The same of a refusal to sign; without it a refusal does not count."
    )
    task: Told[NoticeTask] = Field(
        None, description="The button for a form that the notice's own is not."
    )


_DOC_NEEDED_BY_VERSION: Mapping[str, tuple[str, ...]] = {
    "2.0": ("clinical", "admin", "both", "conditional"),
    "2.2": ("clinical", "admin", "patient", "conditional"),
}
"""CRD versions with their own codes in older files."""


def _doc_needed(written: object) -> DocNeeded | dict[str, str]:
    """One word, or in older files a code for each of two CRD versions."""
    if not isinstance(written, Mapping):
        if not isinstance(written, str) or written not in [*DocNeeded]:
            raise wrong("no such documentation", f"write {' or '.join(DocNeeded)}")
        return DocNeeded(written)
    for version, codes in _DOC_NEEDED_BY_VERSION.items():
        if written.get(version) not in codes:
            raise wrong(f'no code for "{version}"', f'write "{version}": {" or ".join(codes)}')
    if unknown := written.keys() - _DOC_NEEDED_BY_VERSION.keys():
        raise wrong(f"no such version: {', '.join(map(str, unknown))}", "write one word")
    return {version: written[version] for version in _DOC_NEEDED_BY_VERSION}


class SituationEntry(Model):
    """A situation in which the notice is not given, or is given with a sentence more."""

    id: Id
    when: ConditionEntry
    given: bool = Field(False, description="Whether the notice is given all the same.")
    on_file_counts: bool = Field(
        False,
        description="Whether a form of the notice that was completed in time counts, although the"
        " notice is given no more.",
    )
    summary: Told[Template] = Field(
        None,
        description="The card's summary in this situation; with it, what the situation says takes"
        " the place of the policy's words.",
    )
    card: Template = Field(description="What to do then, for the card.")
    do_not: Told[Template] = Field(
        None, description="What not to do then, on the card and on the notice's own."
    )
    order: Told[Template] = Field(
        None, description="The same for whoever reads the order; the card's where left out."
    )


class PatientText(Model):
    """A paragraph in plain words that staff can hand to the patient, by language."""

    en: Sentence = Field(description="In English.")
    es: Sentence = Field(description="In Spanish.")


class Notice(Model):
    """One edition of an advance notice: _notices/<id>/<effective start>.yaml

    `advice` is Markdown, a paragraph each, in the order of doing, where {reason} is the policy's
    reason in the patient's words and {edition} stands for `edition_note`, as long as the edition
    may be used.
    """

    id: Id = Field(description="The same as the folder.")
    title: Text
    short_name: Text
    form: Told[Text] = Field(None, description='The form\'s number, "CMS-R-131".')
    edition: Told[Text] = Field(None, description="What is printed on the form.")
    edition_note: Template = Field(
        "", description="Which edition to use, as long as it may be used."
    )
    prints_expiry: Told[Day] = Field(
        None,
        description="The day on which the print says that the form expires; it tells editions "
        "apart and ends none.",
    )
    effective: Period = Field(description="When the edition may be used.")
    programs: Annotated[Some[ProgramName], EachOnce] = Field(
        validation_alias=AliasChoices("programs", "programmes"),
        description="The Medicare programs that it is for.",
    )
    program_label: Text = Field(
        validation_alias=AliasChoices("program_label", "programme_label"),
        description="Their name for people.",
    )
    questionnaire: Id = Field(description="The id of the form that records it.")
    doc_needed_as_written: Annotated[
        DocNeeded | dict[str, str],
        BeforeValidator(_doc_needed, json_schema_input_type=DocNeeded),
        Write("clinical, admin, patient or conditional"),
    ] = Field(
        validation_alias=AliasChoices("doc_needed"),
        description="Whose documentation it is; the older form, a code for each of two versions of"
        " CRD, still reads.",
    )
    doc_purpose: Literal["withpa", "withclaim", "withorder", "retain-doc", "OTH"] = Field(
        description="CRD's doc-purpose, a code that all versions know."
    )
    documentation_reason: Sentence
    summary: Template = Field(description="A card's summary, with {services} and {codes}.")
    instruction: Told[Template] = Field(
        None,
        description="One sentence for the order, and for a card on several notices; the summary"
        " where left out.",
    )
    do: Told[Advice] = Field(
        None, description="What to do, in few words: the card's first paragraph."
    )
    do_not: Told[Advice] = Field(None, description="What not to do, in few words.")
    sent_to_payer: bool = Field(
        False, description="Whether the card says where the payer takes it (payers file)."
    )
    advice: Some[Advice] = Field(description="Markdown, a paragraph each, in the order of doing.")
    links: Several[NoticeLink]
    for_patients: Told[PatientText] = Field(
        None, description="What the notice is, for the patient: a paragraph to hand over."
    )
    task: NoticeTask
    situations: Several[SituationEntry] = Field(
        (), description="Where it is not given, or is given with a sentence more."
    )
    records: Several[RecordKind] = Field(
        (), description="The forms that put the notice on file, strongest first."
    )
    blanks: Several[Blank] = ()
    options: Several[Option] = ()
    modifiers: Several[Modifier] = ()
    why_not: Several[UnfitModifier] = ()
    sources: Several[SourceEntry] = Field((), description="Where it is said.")
    to_be_checked: ToBeChecked = Field((), description="What no source tells for certain.")

    @property
    def doc_needed(self) -> DocNeeded:
        """The source of the documentation.

        Of an older file's two codes, that of 2.2, which distinguishes the patient.
        """
        written = self.doc_needed_as_written
        return written if isinstance(written, DocNeeded) else DocNeeded(written["2.2"])

    @property
    def doc_needed_by_version(self) -> Mapping[str, str]:
        """The codes of an older file, by CRD version."""
        written = self.doc_needed_as_written
        return {} if isinstance(written, DocNeeded) else written

    @property
    def starts(self) -> date:
        """The first day of the edition's use."""
        return self.effective.start

    @property
    def ends(self) -> date | None:
        """The last day of the edition's use."""
        return self.effective.end

    @property
    def offered_forms(self) -> tuple[str, ...]:
        """The ids of the forms with a button, the notice's own first."""
        return (self.questionnaire, *(r.questionnaire for r in self.records if r.task))

    def situation(self, situation_id: str) -> SituationEntry | None:
        """The situation of this id; None in an edition without it."""
        return next((s for s in self.situations if s.id == situation_id), None)

    def expired_on(self, day: date) -> bool:
        """Whether `day` is after the last day of the edition's use."""
        return self.ends is not None and day > self.ends

    def advice_on(self, day: date, reason: str) -> tuple[str, ...]:
        """The advice for `day`, before {services} and {codes} are filled in.

        `reason` is the policy's, in the patient's words. An expired edition is not recommended.
        """
        return tuple(self.filled(paragraph, day, reason) for paragraph in self.advice)

    def filled(self, text: str, day: date, reason: str) -> str:
        """A text of the notice for `day`, {services} and {codes} still to be filled in."""
        note = "" if self.expired_on(day) else self.edition_note
        return text.replace(_EDITION, note).replace(_REASON, reason).rstrip()


class NoticeLibrary:
    """Every edition of every notice."""

    def __init__(self, notices: Sequence[Notice]) -> None:
        self._editions: dict[str, list[Notice]] = {}
        self._situations: dict[date, Situations] = {}
        self._compiled_by_edition: dict[tuple[str, date], tuple[Situation, ...]] = {}
        for notice in sorted(notices, key=lambda n: (n.id, n.starts)):
            self._editions.setdefault(notice.id, []).append(notice)

    def __iter__(self) -> Iterator[Notice]:
        """Every edition, by notice and then by start."""
        for editions in self._editions.values():
            yield from editions

    def ids(self) -> tuple[str, ...]:
        """The notices' ids, sorted."""
        return tuple(self._editions)

    def edition(self, notice_id: str, day: date) -> Notice:
        """The latest edition that started on or before `day`, possibly expired.

        The first edition for an earlier day. Raises ConfigurationError for an unknown notice.
        """
        editions = self._editions.get(notice_id)
        if not editions:
            raise ConfigurationError(
                f"no notice {notice_id!r} is on file; add _notices/{notice_id}"
            )
        started = [n for n in editions if n.starts <= day]
        return started[-1] if started else editions[0]

    def situations(self, day: date) -> Situations:
        """The situations of each notice, in its edition of the day."""
        found = self._situations.get(day)
        if found is None:
            editions = {id: self.edition(id, day) for id in self._editions}
            found = Situations({id: self._compiled(of_day) for id, of_day in editions.items()})
            # One day is kept: the next one takes its place.
            self._situations = {day: found}
        return found

    def _compiled(self, notice: Notice) -> tuple[Situation, ...]:
        key = (notice.id, notice.starts)
        if key not in self._compiled_by_edition:
            compiler = Compiler({}, lambda _where, _problem, _repair: None)
            self._compiled_by_edition[key] = tuple(
                situation(
                    s.id,
                    compiler.condition(s.when, {}, ()),
                    given=s.given,
                    on_file_counts=s.on_file_counts,
                )
                for s in notice.situations
            )
        return self._compiled_by_edition[key]

    def form_acceptance_rules(self) -> tuple[FormAcceptanceRule, ...]:
        """The acceptance rules of all editions, strongest forms first."""
        return tuple(_rule(n, strength) for n in self for strength in range(len(n.records)))


def _rule(notice: Notice, strength: int) -> FormAcceptanceRule:
    kind = notice.records[strength]
    own = kind.questionnaire == notice.questionnaire
    return FormAcceptanceRule(
        notice=notice.id,
        form=kind.questionnaire,
        strength=strength,
        starts=notice.starts,
        ends=notice.ends,
        valid_months=kind.valid_months,
        prints_expiry=notice.prints_expiry if own else None,
        options=frozenset(o.option for o in notice.options) if own else frozenset(),
        refusal_counts=kind.refused is not None,
    )
