"""Advance notices: what to tell the patient before the service, with which form, by program.

Forms come in editions that expire, so a notice is dated like a policy: one file an edition.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Literal

from cards.coverage_information import DocNeeded
from service.decision.policy import Program
from service.decision.submitted_form import FormAcceptanceRule
from service.errors import ConfigurationError, LibraryError
from service.policies.drafts import Draft, Drafts, read_drafts
from service.policies.lint.rule_table import STOPPING_NOTICES

_REASON, _EDITION = "{reason}", "{edition}"


@dataclass(frozen=True, slots=True)
class NoticeLink:
    label: str
    url: str


@dataclass(frozen=True, slots=True)
class NoticeTask:
    """The to-do that a click on the card creates.

    `label` is the button; `description` and `reason` are templates with {services} and {codes};
    `after_completion` is a code of CRD's afterCompletionCode value set.
    """

    label: str
    description: str
    reason: str
    after_completion: str


@dataclass(frozen=True, slots=True)
class Blank:
    """A blank of the form: its letter, what it holds, and by whom ("staff", "provider", "patient").

    `text` suggests what to write, a template, where {reason} is the policy's reason in the
    patient's words; a patient's blank never has one.
    """

    blank: str
    holds: str
    by: str
    text: str | None = None

    def suggests(self, reason: str) -> str | None:
        """What to write, {services} and {codes} still to be filled in."""
        return self.text.replace(_REASON, reason) if self.text else None


@dataclass(frozen=True, slots=True)
class Option:
    """A choice that the form gives the patient, in our words.

    `on_file` says what was chosen once the form is on file; `claim` is whether Medicare is billed.
    """

    option: str
    means: str
    on_file: str
    claim: bool


@dataclass(frozen=True, slots=True)
class Modifier:
    """A claim modifier and when it goes on the line: `goes_with` a notice on file, or with none."""

    code: str
    goes_with: Literal["notice-on-file", "no-notice"]
    when: str


@dataclass(frozen=True, slots=True)
class UnfitModifier:
    """A claim modifier that does not belong here, and why."""

    code: str
    because: str


@dataclass(frozen=True, slots=True)
class RecordKind:
    """A form that puts the notice on file once somebody has filled it in.

    `questionnaire` is the form's id. It counts for `valid_months` from the day that it tells.
    `text` and `refused` are templates with {services}, {codes} and {day}; a refusal to sign counts
    where there is a text for it. `task` is the button for a form that the notice's own is not.
    """

    questionnaire: str
    valid_months: int
    text: str
    refused: str | None = None
    task: NoticeTask | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """One edition of a notice.

    `form` is the form's number ("CMS-R-131") and `edition` what is printed on it, None where there
    is no set form; `prints_expiry` is the day on which the print says that it expires. `starts` to
    `ends`, both inclusive, is when the edition may be used.
    `programs` are those it is for, `program_label` their name for people. `questionnaire` is
    the id of the form that records it; `doc_needed` whose documentation that is, and
    `doc_needed_by_version` the codes that a file of the older form names for a version of CRD;
    `doc_purpose` a code that both versions know. `summary` and `advice` are templates with
    {services} and {codes}; `advice` is Markdown, a paragraph each, in the order of doing, where
    {reason} is the policy's reason in the patient's words and {edition} stands for `edition_note`,
    which says what edition to use as long as it may be used.
    `records` are the forms that put the notice on file, strongest first.
    """

    id: str
    title: str
    short_name: str
    form: str | None
    edition: str | None
    starts: date
    ends: date | None
    programs: tuple[Program, ...]
    program_label: str
    questionnaire: str
    doc_needed: DocNeeded
    doc_purpose: str
    documentation_reason: str
    summary: str
    advice: tuple[str, ...]
    links: tuple[NoticeLink, ...]
    task: NoticeTask
    blanks: tuple[Blank, ...] = ()
    options: tuple[Option, ...] = ()
    modifiers: tuple[Modifier, ...] = ()
    why_not: tuple[UnfitModifier, ...] = ()
    prints_expiry: date | None = None
    edition_note: str = ""
    records: tuple[RecordKind, ...] = ()
    doc_needed_by_version: Mapping[str, str] = field(default_factory=dict)

    @property
    def offered_forms(self) -> tuple[str, ...]:
        """The ids of the forms that a card has a button for, the notice's own first."""
        return (self.questionnaire, *(r.questionnaire for r in self.records if r.task))

    def expired_on(self, day: date) -> bool:
        """Whether `day` lies after the last day on which the edition may be used."""
        return self.ends is not None and day > self.ends

    def advice_on(self, day: date, reason: str) -> tuple[str, ...]:
        """The advice for `day`, {services} and {codes} still to be filled in.

        `reason` is the policy's, in the patient's words. An expired edition is not recommended.
        """
        note = "" if self.expired_on(day) else self.edition_note
        filled = (a.replace(_EDITION, note).replace(_REASON, reason) for a in self.advice)
        return tuple(paragraph.rstrip() for paragraph in filled)


class NoticeLibrary:
    """Every edition of every notice."""

    def __init__(self, notices: Sequence[Notice]) -> None:
        self._editions: dict[str, list[Notice]] = {}
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
        """The latest edition that started on or before `day`; it may have expired since.

        Before the first edition's start, the first: no older form is on file. Raises
        ConfigurationError if there is no such notice.
        """
        editions = self._editions.get(notice_id)
        if not editions:
            raise ConfigurationError(
                f"no notice {notice_id!r} is on file; add _notices/{notice_id}"
            )
        started = [n for n in editions if n.starts <= day]
        return started[-1] if started else editions[0]

    def form_acceptance_rules(self) -> tuple[FormAcceptanceRule, ...]:
        """What a form on file must be to count, for every edition, strongest forms first."""
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


def load_notices(directory: Path) -> NoticeLibrary:
    """Read every notice under `directory`/_notices. Raises LibraryError with all that is wrong."""
    drafts = read_drafts(directory, policies=False, cases=False)
    findings = [*drafts.findings, *(f for rule in STOPPING_NOTICES for f in rule(drafts))]
    if findings:
        raise LibraryError(findings)
    return notices_of(drafts)


def notices_of(drafts: Drafts) -> NoticeLibrary:
    """The notices of drafts with which nothing is wrong."""
    return NoticeLibrary([_notice(d) for d in drafts.editions])


def _notice(draft: Draft) -> Notice:
    data: Mapping[str, Any] = draft.data
    written = data["doc_needed"]
    by_version: Mapping[str, str] = written if isinstance(written, Mapping) else {}
    # Of the two versions that the older form names, 2.2 tells more: it has a code for the patient.
    of_newest = by_version["2.2"] if by_version else written
    return Notice(
        id=data["id"],
        title=data["title"],
        short_name=data["short_name"],
        form=data.get("form"),
        edition=data.get("edition"),
        starts=draft.starts,
        ends=draft.ends,
        programs=tuple(map(Program, data["programs"])),
        program_label=data["program_label"],
        questionnaire=data["questionnaire"],
        doc_needed=DocNeeded(of_newest),
        doc_purpose=data["doc_purpose"],
        documentation_reason=data["documentation_reason"],
        summary=data["summary"],
        advice=tuple(data["advice"]),
        links=tuple(NoticeLink(**link) for link in data["links"]),
        task=NoticeTask(**data["task"]),
        blanks=tuple(Blank(**blank) for blank in data.get("blanks", ())),
        options=tuple(Option(**option) for option in data.get("options", ())),
        modifiers=tuple(Modifier(**m) for m in data.get("modifiers", ())),
        why_not=tuple(UnfitModifier(**m) for m in data.get("why_not", ())),
        prints_expiry=date.fromisoformat(printed)
        if (printed := data.get("prints_expiry"))
        else None,
        edition_note=data.get("edition_note", ""),
        records=tuple(map(_record, data.get("records", ()))),
        doc_needed_by_version=dict(by_version),
    )


def _record(data: Mapping[str, Any]) -> RecordKind:
    task = data.get("task")
    return RecordKind(**{**data, "task": NoticeTask(**task) if task else None})
