"""Lint rules on what facts can be: codes of a system that a fact never has, answers of no form,
days that do not count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta

from service.decision.conditions import Edge, InWindow, asked_in, shifted
from service.decision.facts import FactKind, FactSource, Family
from service.decision.units import is_known
from service.errors import Finding
from service.fhir.encounters import CareClass
from service.fhir.fact_readers.encounter_facts import ENCOUNTER_PRIORITIES
from service.fhir.systems import (
    CPT,
    HCPCS,
    ICD_10_CM,
    LOINC,
    PLACE_OF_SERVICE,
    PROVIDER_TAXONOMY,
    SNOMED_CT,
    SOURCE_OF_PAYMENT,
    US_NPI,
    canonical_system,
)
from service.field_path import FieldPath
from service.policies.code_tokens import CODE_SYSTEMS, code_system
from service.policies.condition_models import ConditionEntry
from service.policies.folder import Edition, LibraryFolder, Version

SYSTEMS_OF: Mapping[str, frozenset[str]] = {
    "order.codes": frozenset({CPT, HCPCS, SNOMED_CT, LOINC}),
    "order.modifiers": frozenset({CPT, HCPCS}),
    "order.category": frozenset({SNOMED_CT}),
    "order.body_site": frozenset({SNOMED_CT}),
    "order.reason": frozenset({ICD_10_CM, SNOMED_CT}),
    "order.performer": frozenset({US_NPI, PROVIDER_TAXONOMY, SNOMED_CT}),
    "order.place": frozenset({PLACE_OF_SERVICE, SNOMED_CT}),
    "coverage.type": frozenset({SOURCE_OF_PAYMENT}),
    "coverage.beside": frozenset({SOURCE_OF_PAYMENT}),
    "observation": frozenset({LOINC, SNOMED_CT, CPT, HCPCS}),
    "procedure": frozenset({CPT, HCPCS, SNOMED_CT, LOINC}),
    "order": frozenset({CPT, HCPCS, SNOMED_CT, LOINC}),
}
"""By fact of the table, and by source of a declared one, those of the named systems that its codes
can be of. Systems without a name here, such as an EHR's own, can be a fact's anywhere.
"""

_DECLARED = ("observation", "procedure", "order")
_NAMED = frozenset(CODE_SYSTEMS.values())
_WRITTEN = ("string", "text")
_ITEMS: Mapping[FactKind, tuple[str, ...]] = {
    FactKind.NUMBER: ("integer", "decimal", "quantity", *_WRITTEN),
    FactKind.FLAG: ("boolean",),
    FactKind.CHOICE: ("choice", "open-choice", *_WRITTEN, "url", "date", "dateTime", "time"),
    FactKind.DAY: ("date", "dateTime", *_WRITTEN),
    FactKind.CODES: ("choice", "open-choice"),
}
"""The types of a Questionnaire's items (Questionnaire.item.type) that tell each kind of answer."""


def code_systems_fit_the_facts(folder: LibraryFolder) -> Iterator[Finding]:
    """A condition on codes of a system that its fact never has is false for every order."""
    for file in folder.versions:
        for name, declared in file.data.facts.items():
            for source in _DECLARED:
                written: Sequence[str] = getattr(declared, source) or ()
                yield from _alien(folder, file, ("facts", name, source), source, written)
        for i, rule in enumerate(file.data.rules):
            yield from _asked(folder, file, ("rules", i, "when"), rule.when, file.data.facts)
    for edition in folder.editions:
        for i, situation in enumerate(edition.data.situations):
            yield from _asked(folder, edition, ("situations", i, "when"), situation.when, ())


def answers_can_be_facts(folder: LibraryFolder) -> Iterator[Finding]:
    """A fact is told by no hook where its form asks for another kind of answer."""
    for file in folder.versions:
        for name, declared in file.data.facts.items():
            form, _, link_id = (declared.answer or "").partition("#")
            asked = folder.questionnaires.get(file.folder, {}).get(form)
            kind = dict(asked.item_types()).get(link_id) if asked else None
            if kind is None or declared.kind is None:
                continue  # that there is no such form or item is another rule's
            telling = _ITEMS[FactKind(declared.kind)]
            if kind not in telling:
                problem = f"{form} asks {link_id} as {kind}, so no hook can tell a {declared.kind}"
                repair = f"fix the kind, or make the item one of {', '.join(telling)}"
                yield file.finding(("facts", name, "kind"), problem, repair)


def windows_fit_the_facts(folder: LibraryFolder) -> Iterator[Finding]:
    """A rule on days before those that its fact counts takes what was then for nothing."""
    for file in folder.versions:
        (_, conditions), wrong = folder.compiled(file)
        if wrong:
            continue
        for i, (rule, condition) in enumerate(zip(file.data.rules, conditions, strict=True)):
            tests = asked_in(condition)
            for where, asked in rule.when.asked(("rules", i, "when")):
                for operator, test in zip(asked.held_against, tests, strict=False):
                    source, window = test.fact.source, test.test
                    if source is None or source.family not in _OF_DAYS:
                        continue
                    if not isinstance(window, InWindow):
                        continue
                    said = _beyond(source, window, file.data.effective.start)
                    if said is not None:
                        within = file.data.facts[test.fact.name].within
                        repair = f"give {test.fact.name} more than within: {within}, or fix the day"
                        if within is None:
                            repair = "fix the day: what a fact tells was before the service"
                        yield file.finding((*where, operator), said, repair)


def _beyond(source: FactSource, window: InWindow, start: date) -> str | None:
    """Problem of a window over days of a fact; None where they fit.

    It is looked at for a year, since a month is not as long as another.
    """
    edges = [e for e in (window.first, window.last) if e is not None]
    for n in range(_A_YEAR if all(e.day is None for e in edges) else 1):
        service = start + timedelta(n)
        first, last = (_on(edge, service) for edge in (window.first, window.last))
        if first is not None and first > service:
            return "no such day is before the service: no order ever fulfills it"
        if not (source.months or source.days):
            continue
        counts = shifted(service, -source.months, -source.days)
        if last is not None and last < counts:
            return "no day that counts is so long ago: no order ever fulfills it"
        if first is not None and first < counts:
            return "reaches further back than the days that count"
    return None


_A_YEAR = 366
_OF_DAYS = (Family.PROCEDURE, Family.ORDER)


def _on(edge: Edge | None, service: date) -> date | None:
    return edge.on(service, service) if edge is not None else None


def _asked(
    folder: LibraryFolder,
    file: Version | Edition,
    at: FieldPath,
    when: ConditionEntry,
    declared: Mapping[str, object] | Sequence[str],
) -> Iterator[Finding]:
    for where, asked in when.asked(at):
        fact = asked.fact or ""
        if fact in SYSTEMS_OF and fact not in declared:
            yield from _alien(folder, file, (*where, "in"), fact, asked.in_ or ())


def _alien(
    folder: LibraryFolder,
    file: Version | Edition,
    at: FieldPath,
    fact: str,
    written: Sequence[str],
) -> Iterator[Finding]:
    own = SYSTEMS_OF[fact]
    for i, each in enumerate(written):
        systems = _systems(folder, each)
        if systems and systems <= _NAMED - own:
            problem = f"{each} is of {_names(systems)}, which {fact} never has"
            yield file.finding((*at, i), problem, f"use codes of {_names(own)}")


def _systems(folder: LibraryFolder, written: str) -> frozenset[str]:
    """The systems of a code or of a value set's codes; none where it cannot be read."""
    name, bar, _ = written.partition("|")
    if not bar:
        named = folder.value_sets.get(written)
        return named.codes.systems if named else frozenset()
    system = code_system(name.strip())
    return frozenset({canonical_system(system)} if system else ())


def _names(systems: frozenset[str]) -> str:
    return " or ".join(name for name, system in CODE_SYSTEMS.items() if system in systems)


_WORDS: Mapping[str, frozenset[str]] = {
    "encounter.class": frozenset(str(kind) for kind in CareClass),
    "encounter.priority": frozenset(ENCOUNTER_PRIORITIES.values()),
}
"""By fact, the words of the codes that are known; other codes are told as an EHR writes them."""


def encounters_are_told_in_these_words(folder: LibraryFolder) -> Iterator[Finding]:
    """A word with a slip would be true for no encounter; it may be a code of an EHR's own."""
    for file in folder.versions:
        for i, rule in enumerate(file.data.rules):
            yield from _unusual(file, ("rules", i, "when"), rule.when)
    for edition in folder.editions:
        for i, situation in enumerate(edition.data.situations):
            yield from _unusual(edition, ("situations", i, "when"), situation.when)


def _unusual(file: Version | Edition, at: FieldPath, when: ConditionEntry) -> Iterator[Finding]:
    for where, asked in when.asked(at):
        words = _WORDS.get(asked.fact or "", frozenset())
        told = (asked.is_,) if asked.is_ is not None else asked.in_ or ()
        for word in told if words else ():
            if word not in words:
                problem = f"{asked.fact} is {word} only where an EHR has a code of its own"
                repair = f"use one of {', '.join(sorted(words))}, unless it has"
                yield file.finding((*where, "is"), problem, repair, warning=True)


def facts_are_used(folder: LibraryFolder) -> Iterator[Finding]:
    """A declared fact is asked for by a rule, or fills in an item of a form; else it is a slip."""
    for file in folder.versions:
        asked = {name for rule in file.data.rules for name in rule.when.facts()}
        own = folder.questionnaires.get(file.folder, {})
        filled = {link_id for form in own.values() for link_id in form.link_ids()}
        for name in file.data.facts:
            if name not in asked and name not in filled:
                problem = f"no rule asks for {name}, and no form has an item of this name"
                where: FieldPath = ("facts", name)
                yield file.finding(where, problem, "remove it, or fix the name", warning=True)


def limits_have_units(folder: LibraryFolder) -> Iterator[Finding]:
    """A quantity goes to the EHR with its unit as UCUM's."""
    for file in folder.versions:
        for at, outcome in file.data.outcomes:
            for i, detail in enumerate(outcome.details):
                unit = (detail.quantity or "1 1").partition(" ")[2]
                if not is_known(unit):
                    where = (*at, "details", i, "quantity")
                    repair = f"what is counted stands in braces: {{{unit}}}"
                    problem = f"{unit} is not known as a unit of UCUM"
                    yield file.finding(where, problem, repair, warning=True)
