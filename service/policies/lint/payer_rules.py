"""Lint rules on the payers file, and on the table of programs."""

from __future__ import annotations

from collections.abc import Iterator

from service.decision.policy import Program
from service.decision.programs import ProgramTable
from service.errors import Finding
from service.field_path import FieldPath
from service.policies.files import LibraryFile
from service.policies.folder import LibraryFolder
from service.policies.payers import PayersFile
from service.policies.program_table import ProgramsFile


def duplicate_payers(payers: LibraryFile[PayersFile]) -> Iterator[Finding]:
    seen: set[tuple[str, str]] = set()
    for i, payer in enumerate(payers.data.payers):
        for where, identifier in payer.told():
            told = (identifier.system, identifier.value)
            if told in seen:
                problem = f"{told[0]}|{told[1]} stands for two payers"
                yield payers.finding(("payers", i, *where), problem, "give each its own")
            seen.add(told)


def unknown_policies(payers: LibraryFile[PayersFile], *folders: LibraryFolder) -> Iterator[Finding]:
    known = {policy for folder in folders for policy in folder.policies}
    on_file = ", ".join(sorted(known)) or "the policies on file"
    for i, payer in enumerate(payers.data.payers):
        for j, policy in enumerate(payer.policies):
            if policy.id not in known:
                problem = f"{payer.name} names the policy {policy.id}, which is not on file"
                where = ("payers", i, "policies", j, "id")
                yield payers.finding(where, problem, f"name one of {on_file}")


def twice_on_file(folder: LibraryFolder, added: LibraryFolder) -> Iterator[Finding]:
    """A policy of one id in both folders: neither could be told from the other."""
    for policy in sorted(folder.policies.keys() & added.policies.keys()):
        (version, *_) = added.policies[policy]
        problem = f"the policy {policy} is in {folder.directory} as well"
        yield version.finding(("id",), problem, "give it another id, or leave one out")


def unknown_programs(payers: LibraryFile[PayersFile], programs: ProgramTable) -> Iterator[Finding]:
    """A program that the table does not have, at a payer or at a policy of its."""
    on_file = ", ".join(p.id for p in programs)
    for i, payer in enumerate(payers.data.payers):
        at: FieldPath = ("payers", i, "line_of_business")
        named: list[tuple[FieldPath, str]] = [(at, payer.line_of_business)]
        for j, policy in enumerate(payer.policies):
            named += [
                (("payers", i, "policies", j, "programs", k), program)
                for k, program in enumerate(policy.programs or ())
            ]
        for where, program in named:
            if programs.get(program) is None:
                problem = f"{payer.name} names the program {program}, which is not on file"
                yield payers.finding(where, problem, f"name one of {on_file}")


def other_programs(
    programs: LibraryFile[ProgramsFile], *folders: LibraryFolder
) -> Iterator[Finding]:
    """A table beside policies that is not the service's: their cases would tell other programs."""
    for folder in folders:
        own = folder.own_programs
        if own is not None and own.data.programs != programs.data.programs:
            problem = f"is another table than {programs.path}, by which the service decides"
            repair = "leave one of the two, or let COVERCARD_PROGRAMS_FILE name this one"
            yield own.finding((), problem, repair)


def programs_have_words(
    payers: LibraryFile[PayersFile], programs: ProgramTable, *folders: LibraryFolder
) -> Iterator[Finding]:
    """A policy that is applied to a program needs words for it."""
    for i, payer in enumerate(payers.data.payers):
        for j, policy in enumerate(payer.policies):
            for k, named in enumerate(policy.programs or ()):
                program = programs.get(named)
                if program is None or program.words_for is not Program.NOT_MEDICARE:
                    continue
                for version in (v for f in folders for v in f.policies.get(policy.id, ())):
                    if version.data.wording.not_medicare is None:
                        problem = f"{policy.id} {version.path.stem} has no words for {program.name}"
                        repair = "add not_medicare to its determinations and wording"
                        where = ("payers", i, "policies", j, "programs", k)
                        yield payers.finding(where, problem, repair)


def policies_are_applied(
    payers: LibraryFile[PayersFile], folder: LibraryFolder
) -> Iterator[Finding]:
    """A policy without a payer has no effect; it may be a future one."""
    applied = {policy.id for payer in payers.data.payers for policy in payer.policies}
    for policy in sorted(folder.policies.keys() - applied):
        problem = f"no payer applies the policy {policy}: it has no effect"
        repair = f'add "- id: {policy}" to the policies of each payer that does'
        yield payers.finding(("payers",), problem, repair, warning=True)
