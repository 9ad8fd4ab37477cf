"""The wording of all answers, read and held to what is filled into it and to the decision's words.

A wrong placeholder, a reason without its sentence or a template's misspelled field stops the start;
in a call each of them would be an error, or a card that says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from cards import advance_notice, early_warning, noncoverage, not_checked
from cards.texts import Texts
from cards.texts.template_check import template_problems
from cards.texts.templates import FOLDER, environment
from cards.texts.wording import (
    CaveatTexts,
    PackageTexts,
    PayerTexts,
    Phrases,
    UndeterminedTexts,
)
from service.decision.coverage import CoverageOutcome
from service.decision.determination import CONTRADICTORY, Caveat, UndeterminedReason
from service.decision.facts import APPROVED, DECISION, TABLE
from service.ehr.fetch_report import UnreadBecause
from service.errors import Finding, LibraryError
from service.field_path import FieldPath
from service.policies import files
from service.policies.files import LibraryFile
from service.policies.lint.card_wording import never_said_in

M = TypeVar("M", bound=BaseModel)

TEMPLATES = (noncoverage.DETAIL, early_warning.DETAIL, advance_notice.DETAIL, not_checked.DETAIL)

_NO_COVERAGE = {*CoverageOutcome} - {CoverageOutcome.FOUND}
_UNDETERMINED = {*UndeterminedReason, "coverage_not_sent", "payer_not_read"}
_COVERAGE_NOTES = {*_NO_COVERAGE, "payer_not_told", "payer_not_read"}
_NOT_CHECKED = {
    "unread",
    "no_id",
    "coverage_unnamed",
    UndeterminedReason.OTHER_PATIENT,
    UndeterminedReason.NO_MEMBER_FOUND,
    UndeterminedReason.NO_MEMBER_NUMBER,
    UndeterminedReason.COVERAGE_NOT_FOUND,
    *(f"coverage_{outcome}" for outcome in _NO_COVERAGE),
}
_AUTHORIZATION = {*(TABLE[DECISION].choices or ()), CONTRADICTORY} - {APPROVED}


def load_texts(folder: Path = FOLDER) -> Texts:
    """Read and check everything. Raises LibraryError with all that is wrong."""
    reading = _Reading(folder)
    texts = reading.texts()
    if reading.wrong or texts is None:
        raise LibraryError(reading.wrong)
    return texts


def lint_texts(folder: Path = FOLDER) -> list[Finding]:
    """Everything that stops the start, and what must never be said."""
    reading = _Reading(folder)
    reading.texts()
    return [*reading.wrong, *chain.from_iterable(reading.never_said)]


class _Reading:
    """A folder of wordings as it is read: what fits, and what is wrong."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.wrong: list[Finding] = []
        self.never_said: list[Iterator[Finding]] = []

    def texts(self) -> Texts | None:
        """The wording; None where a table does not fit its model."""
        phrases = self._table("phrases", Phrases)
        undetermined = self._table("undetermined", UndeterminedTexts)
        packages = self._table("packages", PackageTexts)
        payer = self._table("payer", PayerTexts)
        caveats = self._table("caveats", CaveatTexts)
        templates = environment(self.folder)
        for at in template_problems(TEMPLATES, templates, self.folder):
            self.wrong.append(Finding(at.file, "(template)", at.problem, at.repair, at.line))
        if phrases and undetermined and packages and payer and caveats:
            self._keys(caveats, (), caveats.data.root, Caveat)
            self._keys(undetermined, (), undetermined.data.root, _UNDETERMINED)
            self._shown_elsewhere(undetermined)
            said = phrases.data
            self._keys(phrases, ("coverage_notes",), said.coverage_notes, _COVERAGE_NOTES)
            self._keys(phrases, ("not_checked",), said.not_checked, _NOT_CHECKED)
            self._keys(phrases, ("unread_because",), said.unread_because, UnreadBecause)
            self._keys(payer, ("authorization",), payer.data.authorization, _AUTHORIZATION)
            return Texts(
                phrases.data,
                undetermined.data,
                packages.data,
                payer.data,
                caveats.data,
                templates,
            )
        return None

    def _table(self, name: str, model: type[M]) -> LibraryFile[M] | None:
        try:
            file = files.load(self.folder / f"{name}.yaml", model)
        except LibraryError as error:
            self.wrong.extend(error.findings)
            return None
        self.never_said.append(never_said_in(file))
        return file

    def _shown_elsewhere(self, file: LibraryFile[UndeterminedTexts]) -> None:
        """Texts shared with packages and the decision log have no placeholders."""
        for reason in UndeterminedReason:
            text = file.data.get(reason)
            if text and "{" in text.reason:
                repair = "leave it out: packages and the decision log show the reason as it is"
                self.wrong.append(
                    file.finding((reason.value, "reason"), "has something to fill in", repair)
                )

    def _keys(
        self,
        file: LibraryFile[M],
        where: FieldPath,
        told: Mapping[str, object],
        wanted: Iterable[str],
    ) -> None:
        """Every key that the decision can come to has its text, and there is no other."""
        known = sorted(map(str, wanted))
        self.wrong.extend(_missing(file, where, told, known))
        for key in told.keys() - {*known}:
            repair = f"remove it; known here: {', '.join(known)}"
            self.wrong.append(file.finding((*where, key), "is never said", repair))


def _missing(
    file: LibraryFile[M], where: FieldPath, told: Mapping[str, object], known: Iterable[str]
) -> Iterator[Finding]:
    for key in known:
        if key not in told:
            yield file.finding((*where, key), "is missing", "add it: the decision can come to it")
