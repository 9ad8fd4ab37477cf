"""Rules about advance notices: which program gets which, and which editions may be used."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from cards.questionnaires import form_ids
from service.decision.policy import Covered, Program
from service.errors import Finding
from service.policies.drafts import Draft, Drafts
from service.policies.files import Where


def notices_are_on_file(drafts: Drafts) -> Iterator[Finding]:
    for draft in drafts.versions:
        for where, _, notice in _suggested(draft):
            if notice not in drafts.notice_ids:
                repair = (
                    f"add _notices/{notice}, or name one of {', '.join(sorted(drafts.notice_ids))}"
                )
                yield draft.file.finding(where, f"no notice {notice} is on file", repair)


def program_has_notice_advice(drafts: Drafts) -> Iterator[Finding]:
    for draft in drafts.versions:
        for program in Program:
            covered = draft.data["determinations"][program]["covered"] == Covered.COVERED
            if not covered and not draft.data["advance_notice"].get(program):
                where = ("advance_notice", program.value)
                repair = "name the notice that the patient gets in advance"
                yield draft.file.finding(where, f"no advance notice for {program}", repair)


def notice_is_for_the_program(drafts: Drafts) -> Iterator[Finding]:
    """An ABN for Medicare Advantage, above all."""
    programs = {d.folder: set(d.data["programs"]) for d in drafts.editions}
    for draft in drafts.versions:
        for where, program, notice in _suggested(draft):
            meant = programs.get(notice, {program})
            if program != Program.UNKNOWN and program not in meant:
                problem = f"{notice} is for {', '.join(sorted(meant))}, not for {program}"
                yield draft.file.finding(where, problem, "suggest that program's own notice")


def patient_is_told_the_policys_reason(drafts: Drafts) -> Iterator[Finding]:
    """A notice that gives the policy's reason needs it in words for the patient (ABN blank E)."""
    asking = {d.folder for d in drafts.editions if _gives_the_reason(d)}
    for draft in drafts.versions:
        for _, program, notice in _suggested(draft):
            reason = draft.data["determinations"][program]["reason"]
            if notice in asking and "for_patient" not in reason:
                problem = f"{notice} tells the patient the reason, and {program} has none for it"
                repair = "add for_patient: the reason in words that a patient understands"
                place = ("determinations", program, "reason")
                yield draft.file.finding(place, problem, repair)


def _gives_the_reason(edition: Draft) -> bool:
    texts = [*edition.data["advice"], *(b.get("text", "") for b in edition.data.get("blanks", ()))]
    return any("{reason}" in text for text in texts)


def notice_folder_holds_an_edition(drafts: Drafts) -> Iterator[Finding]:
    broken = {f.file.parent.name for f in drafts.findings}
    for name, editions in drafts.notices.items():
        if not editions and name not in broken:
            place = drafts.directory / "_notices" / name
            repair = "add <effective start>.yaml, or remove the folder"
            yield Finding(place, "(folder)", "holds no edition of a notice", repair)


def forms_are_on_file(drafts: Drafts) -> Iterator[Finding]:
    """A form that is not here could be neither filled in nor found again."""
    for draft in drafts.editions:
        named: list[tuple[Where, str]] = [(("questionnaire",), draft.data["questionnaire"])]
        for i, record in enumerate(draft.data.get("records", ())):
            named.append((("records", i, "questionnaire"), record["questionnaire"]))
        for where, form in named:
            if form not in form_ids():
                repair = f"name one of {', '.join(sorted(form_ids()))}"
                yield draft.file.finding(where, f"there is no form {form}", repair)


def patient_fills_the_patients_blanks(drafts: Drafts) -> Iterator[Finding]:
    """Blanks G, I and J of an ABN are the patient's: nobody suggests what to write there."""
    for draft in drafts.editions:
        for i, blank in enumerate(draft.data.get("blanks", ())):
            patients = blank["by"] == "patient"
            if patients and "text" in blank:
                problem = f"blank {blank['blank']} is the patient's and has a text"
                yield draft.file.finding(("blanks", i, "text"), problem, "remove the text")
            if draft.data.get("form") == "CMS-R-131" and blank["blank"] in "GIJ" and not patients:
                problem = f"blank {blank['blank']} of CMS-R-131 is filled in by {blank['by']}"
                yield draft.file.finding(("blanks", i, "by"), problem, "write: by: patient")


def notice_has_not_expired(drafts: Drafts, on: date) -> Iterator[Finding]:
    for editions in drafts.notices.values():
        started = [e for e in editions if e.starts <= on]
        latest = started[-1] if started else None
        if latest and latest.ends is not None and latest.ends < on:
            yield latest.file.finding(
                ("effective", "end"),
                f"the edition expired on {latest.ends}",
                "add the new edition as a file of its own",
                warning=True,
            )


def _suggested(draft: Draft) -> Iterator[tuple[Where, str, str]]:
    for program, notices in draft.data["advance_notice"].items():
        for i, notice in enumerate(notices):
            yield ("advance_notice", program, i), program, notice
