"""Lint rules on advance notices: programs and editions."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from cards.questionnaires import form_ids
from service.decision.policy import Covered, Program
from service.errors import Finding
from service.field_path import FieldPath
from service.policies.condition_models import Compiler
from service.policies.folder import NOTICES, Edition, LibraryFolder
from service.policies.notices import Notice


def notices_are_on_file(folder: LibraryFolder) -> Iterator[Finding]:
    for file in folder.versions:
        for where, _, notice in file.data.advance_notice.named:
            if notice not in folder.notice_ids:
                on_file = ", ".join(sorted(folder.notice_ids))
                repair = f"add {NOTICES}/{notice}, or name one of {on_file}"
                yield file.finding(where, f"no notice {notice} is on file", repair)


def program_has_notice_advice(folder: LibraryFolder) -> Iterator[Finding]:
    for file in folder.versions:
        for program, said in file.data.determinations.given():
            # An advance notice is Medicare's: for other programs there is none.
            medicare = program is not Program.NOT_MEDICARE
            told = said.notices and said.covered is not Covered.COVERED
            if medicare and told and not file.data.advance_notice.of(program):
                where = ("advance_notice", program.value)
                repair = "name the notice that the patient gets in advance"
                yield file.finding(where, f"no advance notice for {program}", repair)


def notice_is_for_the_program(folder: LibraryFolder) -> Iterator[Finding]:
    """A notice of another program, such as an ABN for Medicare Advantage, is an error."""
    programs = {edition.folder: set(edition.data.programs) for edition in folder.editions}
    for file in folder.versions:
        for where, program, notice in file.data.advance_notice.named:
            meant = programs.get(notice, {program})
            if program is not Program.UNKNOWN and program not in meant:
                problem = f"{notice} is for {', '.join(sorted(meant))}, not for {program}"
                yield file.finding(where, problem, "suggest that program's own notice")


def patient_is_told_the_policys_reason(folder: LibraryFolder) -> Iterator[Finding]:
    """A notice with the policy's reason requires `for_patient` (ABN blank E)."""
    asking = {edition.folder for edition in folder.editions if _gives_the_reason(edition.data)}
    for file in folder.versions:
        for _, program, notice in file.data.advance_notice.named:
            reason = file.data.determinations.of(program).reason
            if notice in asking and reason.for_patient is None:
                problem = f"{notice} tells the patient the reason, and {program} has none for it"
                repair = "add for_patient: the reason in words that a patient understands"
                place = ("determinations", program.value, "reason")
                yield file.finding(place, problem, repair)


def _gives_the_reason(notice: Notice) -> bool:
    texts = [*notice.advice, *(b.text for b in notice.blanks if b.text)]
    return any("{reason}" in text for text in texts)


def notice_folder_holds_an_edition(folder: LibraryFolder) -> Iterator[Finding]:
    broken = {f.file.parent.name for f in folder.findings}
    for name, editions in folder.notices.items():
        if not editions and name not in broken:
            place = folder.directory / NOTICES / name
            repair = "add <effective start>.yaml, or remove the folder"
            yield Finding(place, "(folder)", "holds no edition of a notice", repair)


def situations_can_be_read(folder: LibraryFolder) -> Iterator[Finding]:
    """A condition that cannot be read would keep a notice back for ever, or never."""
    for file in folder.editions:
        found: list[Finding] = []

        def say(
            where: FieldPath,
            problem: str,
            repair: str,
            file: Edition = file,
            to: list[Finding] = found,
        ) -> None:
            to.append(file.finding(where, problem, repair))

        compiler = Compiler({}, say)
        for i, entry in enumerate(file.data.situations):
            compiler.condition(entry.when, {}, ("situations", i, "when"))
        yield from found


def forms_are_on_file(folder: LibraryFolder) -> Iterator[Finding]:
    """A form must exist, to be prefilled and recognized."""
    for file in folder.editions:
        named: list[tuple[FieldPath, str]] = [(("questionnaire",), file.data.questionnaire)]
        for i, record in enumerate(file.data.records):
            named.append((("records", i, "questionnaire"), record.questionnaire))
        for where, form in named:
            if form not in form_ids():
                repair = f"name one of {', '.join(sorted(form_ids()))}"
                yield file.finding(where, f"there is no form {form}", repair)


def patient_fills_the_patients_blanks(folder: LibraryFolder) -> Iterator[Finding]:
    """Blanks G, I and J of an ABN are the patient's and have no suggested text."""
    for file in folder.editions:
        for i, blank in enumerate(file.data.blanks):
            patients = blank.by == "patient"
            if patients and blank.text is not None:
                problem = f"blank {blank.blank} is the patient's and has a text"
                yield file.finding(("blanks", i, "text"), problem, "remove the text")
            if file.data.form == "CMS-R-131" and blank.blank in "GIJ" and not patients:
                problem = f"blank {blank.blank} of CMS-R-131 is filled in by {blank.by}"
                yield file.finding(("blanks", i, "by"), problem, "write: by: patient")


def notice_has_not_expired(folder: LibraryFolder, on: date) -> Iterator[Finding]:
    for editions in folder.notices.values():
        started = [e for e in editions if e.data.starts <= on]
        latest = started[-1] if started else None
        if latest and latest.data.expired_on(on):
            yield latest.finding(
                ("effective", "end"),
                f"the edition expired on {latest.data.ends}",
                "add the new edition as a file of its own",
                warning=True,
            )
