"""The file of programs, programs.yaml: which type of payment is which program."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field

from service.decision.facts import TABLE
from service.decision.programs import Pays, ProgramEntry, ProgramTable
from service.decision.rules import RuleList, condition
from service.errors import Finding, LibraryError
from service.field_path import FieldPath
from service.policies import files
from service.policies.condition_models import Compiler, ConditionEntry, Say
from service.policies.fields import EachOnce, Model, ProgramName, Several, Some, Text, Told, Write
from service.policies.files import LibraryFile
from service.policies.source_entries import SourceEntry, ToBeChecked

PROGRAMS = "programs.yaml"
"""Its name beside a library's policies."""
PROGRAMS_FILE = Path(__file__).parent / PROGRAMS
"""The one that comes with the service."""

PaymentType = Annotated[
    str,
    Field(pattern=r"^[0-9]+\*?$"),
    Write('a Source of Payment code, quoted; "2*" for all that begin with 2'),
]
ProgramId = Annotated[
    str, Field(pattern=r"^[a-z0-9]+(_[a-z0-9]+)*$"), Write("an id such as medicare_advantage")
]


class ProgramLine(Model):
    """One program."""

    id: ProgramId
    name: Text = Field(description="What people call it.")
    words_for: ProgramName = Field(description="Which of a policy's words are for it.")
    types: Annotated[Several[PaymentType], EachOnce] = Field(
        (), description="Its types of payment; the longest that fits a code counts."
    )
    pays: Annotated[Pays, Field(strict=False)] = Field(
        Pays.MEDICAL, description="medical, supplement or drugs."
    )
    when: Told[ConditionEntry] = Field(
        None, description="A condition over the coverage that tells the program before its types."
    )

    def rules(self, say: Say = lambda *_: None) -> RuleList[bool] | None:
        """The condition, compiled; `say` takes what is wrong with it."""
        if self.when is None:
            return None
        return condition(Compiler({}, say).condition(self.when, {}, ("when",)))


class ProgramsFile(Model):
    """Every program, with its types of payment: programs.yaml"""

    programs: Some[ProgramLine]
    sources: Several[SourceEntry] = ()
    to_be_checked: ToBeChecked = Field((), description="What no source tells for certain.")

    def table(self) -> ProgramTable:
        """The table that decides."""
        return ProgramTable(
            ProgramEntry(line.id, line.name, line.words_for, line.types, line.pays, line.rules())
            for line in self.programs
        )


def read_programs(path: Path) -> LibraryFile[ProgramsFile]:
    """Read the file of programs. Raises LibraryError with everything that is wrong with it."""
    file = files.load(path, ProgramsFile)
    found = [*each_once(file), *conditions_can_be_read(file)]
    if found:
        raise LibraryError(found)
    return file


def load_programs(path: Path = PROGRAMS_FILE) -> ProgramTable:
    """The table of a file. Raises LibraryError with everything that is wrong with it."""
    return read_programs(path).data.table()


@functools.cache
def shipped_programs() -> ProgramTable:
    """The table that comes with the service."""
    return load_programs()


def programs_of(library: Path) -> ProgramTable:
    """The table beside a library's policies, or the one that comes with the service.

    Raises LibraryError with everything that is wrong with it.
    """
    own = library / PROGRAMS
    return load_programs(own) if own.is_file() else shipped_programs()


OF_A_COVERAGE = ("coverage.type", "coverage.plan", "coverage.group")
"""The facts that a coverage tells by itself, before there is an order to decide."""


def conditions_can_be_read(file: LibraryFile[ProgramsFile]) -> Iterator[Finding]:
    """A condition over anything else than the coverage would never hold."""
    for i, line in enumerate(file.data.programs):
        found: list[Finding] = []

        def say(
            where: FieldPath,
            problem: str,
            repair: str,
            at: int = i,
            to: list[Finding] = found,
        ) -> None:
            to.append(file.finding(("programs", at, *where), problem, repair))

        line.rules(say)
        for where, asked in line.when.asked(("when",)) if line.when else ():
            if asked.fact in TABLE and asked.fact not in OF_A_COVERAGE:
                problem = f"{asked.fact} is not told by a coverage alone"
                say((*where, "fact"), problem, f"use {', '.join(OF_A_COVERAGE)}")
        yield from found


def each_once(file: LibraryFile[ProgramsFile]) -> Iterator[Finding]:
    """An id or a type of payment that stands for two programs."""
    ids: set[str] = set()
    types: dict[str, str] = {}
    for i, line in enumerate(file.data.programs):
        if line.id in ids:
            problem = f"{line.id} stands there twice"
            yield file.finding(("programs", i, "id"), problem, "leave one of the two")
        ids.add(line.id)
        for j, told in enumerate(line.types):
            if told in types:
                problem = f"type {told} is that of {types[told]}, too"
                yield file.finding(("programs", i, "types", j), problem, "leave it to one program")
            types.setdefault(told, line.id)
