"""Rules about a policy's rules: that they can be read, that each can decide, that cases show it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import combinations

from cards.questionnaires import form_ids
from service.decision.conditions import All, Condition, InSets, asked_in
from service.decision.facts import NOT_TOLD, ORDER_DAY, TABLE, Fact, FactSpec
from service.decision.rules import Rule, RuleList, condition, holds
from service.errors import Finding
from service.field_path import FieldPath
from service.policies import files
from service.policies.cases import Case, CaseFacts
from service.policies.condition_models import fact_value
from service.policies.folder import LibraryFolder, Version
from service.policies.lint.citations import citations_resolve
from service.policies.rule_coverage import uncovered_sides


def rules_can_be_read(folder: LibraryFolder) -> Iterator[Finding]:
    """Facts, value sets, codes, units and days of every condition."""
    for file in folder.versions:
        yield from folder.compiled(file)[1]


def rule_ids_stand_once(folder: LibraryFolder) -> Iterator[Finding]:
    """The trace and the statistics name a rule by its id."""
    for file in folder.versions:
        seen: set[str] = set()
        for i, rule in enumerate(file.data.rules):
            if rule.id in seen:
                where: FieldPath = ("rules", i, "id")
                problem = f"another rule has the id {rule.id}"
                yield file.finding(where, problem, "give each rule its own")
            seen.add(rule.id)


def forms_of_rules_are_on_file(folder: LibraryFolder) -> Iterator[Finding]:
    """A form that is asked for is served, and a fact that an answer tells is asked in its form."""
    for file in folder.versions:
        own = folder.questionnaires.get(file.folder, {})
        for form in file.data.questionnaires:
            if form not in own:
                where: FieldPath = ("questionnaires", form)
                repair = f"add questionnaires/{form}.json to the policy's folder"
                yield file.finding(where, f"there is no questionnaire {form}", repair)
        for where, outcome in file.data.outcomes:
            for i, form in enumerate(outcome.documentation):
                at = (*where, "documentation", i)
                entry = file.data.questionnaires.get(form)
                if entry is None:
                    known = ", ".join(file.data.questionnaires) or "add it to questionnaires"
                    yield file.finding(at, f"there is no questionnaire {form}", f"name {known}")
                elif outcome.prior_authorization == "satisfied" and entry.purpose == "withpa":
                    problem = "satisfied with a form for prior authorization breaks crd-ci-q4"
                    yield file.finding(at, problem, "remove the form, or give it another purpose")
            for i, offered in enumerate(outcome.offers.forms if outcome.offers else ()):
                if offered.form not in own and offered.form not in form_ids():
                    at = (*where, "offers", "forms", i, "form")
                    repair = f"name one of {', '.join(sorted({*own, *form_ids()}))}"
                    yield file.finding(at, f"there is no form {offered.form}", repair)
        for name, fact in file.data.facts.items():
            form, _, link_id = (fact.answer or "").partition("#")
            if form in own and link_id not in set(own[form].link_ids()):
                problem = f"{form} asks nothing with the linkId {link_id}: no hook can tell it"
                repair = f"use one of {', '.join(own[form].link_ids())}"
                yield file.finding(("facts", name, "answer"), problem, repair)


def forms_stand_once(folder: LibraryFolder) -> Iterator[Finding]:
    """A form is found by its id alone: two of one id could not be told from each other."""
    yield from twice_among_forms(folder)


def twice_among_forms(*folders: LibraryFolder) -> Iterator[Finding]:
    """The forms of an id that another policy's has in these folders, or one of the service's."""
    seen: dict[str, str] = {}
    for folder in folders:
        for policy, own in folder.questionnaires.items():
            for form, file in own.items():
                if form in form_ids():
                    problem = f"{form} is a form of the service's own"
                    yield files.finding(file.path, ("id",), problem, "give it another id")
                elif form in seen:
                    problem = f"{form} is also a form of {seen[form]}"
                    yield files.finding(file.path, ("id",), problem, "give it another id")
                seen.setdefault(form, policy)


def facts_of_cases_can_be_read(folder: LibraryFolder) -> Iterator[Finding]:
    unread = _with_unread_files(folder)
    for policy, cases in folder.cases.items():
        if policy in unread:
            continue  # the facts that it declares are not known
        specs: dict[str, FactSpec] = dict(TABLE)
        for file in folder.policies.get(policy, ()):
            specs.update(folder.compiled(file)[0].facts)
        for i, entry in enumerate(cases.data.cases):
            for name, written in entry.facts.items():
                where: FieldPath = ("cases", i, "facts", name)
                if name not in specs:
                    yield cases.finding(where, f"there is no fact {name}", "declare it, or fix it")
                    continue
                try:
                    fact_value(specs[name], written, entry.on, entry.on)
                except ValueError as error:
                    yield cases.finding(where, str(error), "write it as conditions do")


def every_rule_can_decide(folder: LibraryFolder) -> Iterator[Finding]:
    """A rule that is true only where an earlier one is says nothing to anybody."""
    for file in _with_rules(folder):
        conditions = folder.compiled(file)[0].conditions
        for program, _ in file.data.determinations.given():
            mine = [i for i, r in enumerate(file.data.rules) if program in r.programs]
            listed = RuleList([Rule(str(i), conditions[i], i) for i in mine], otherwise=-1)
            reached = {
                o for d in _days(file, conditions) for o in listed.decide(_Unknown(d)).outcomes
            }
            for i in mine:
                if i not in reached:
                    problem = f"no order ever comes to it for {program}"
                    repair = "move it up, or fix its condition or that of a rule before it"
                    yield file.finding(("rules", i, "when"), problem, repair)
            if mine and -1 not in reached:
                problem = f"the rules leave nothing to determinations for {program}"
                repair = "fix the last rule's condition, or make it the determination"
                yield file.finding(("rules", mine[-1], "when"), problem, repair, warning=True)


def overlaps_have_a_case(folder: LibraryFolder) -> Iterator[Finding]:
    """Overlaps: two rules with different answers that can both be true have a case of both."""
    for file in _with_rules(folder):
        conditions = folder.compiled(file)[0].conditions
        told = [CaseFacts(case) for case in _cases(folder, file)]
        for (i, one), (j, other) in combinations(enumerate(file.data.rules), 2):
            if one.then.covered == other.then.covered or not set(one.programs) & set(
                other.programs
            ):
                continue
            both = condition(All((conditions[i], conditions[j])))
            possible = any(holds(both, _Unknown(d)) is not False for d in _days(file, conditions))
            if possible and not any(holds(both, facts) for facts in told):
                problem = f"{one.id} and {other.id} can both be true, and no case shows it"
                repair = f"add a case in which both are: {one.id} decides"
                yield file.finding(("rules", j, "when"), problem, repair)


def both_sides_have_a_case(folder: LibraryFolder) -> Iterator[Finding]:
    """Every condition is true in one case and false in another."""
    unresolved = {found.file for found in citations_resolve(folder)}
    for file in _with_rules(folder):
        if file.path in unresolved:
            continue  # no version can be made of it
        version = folder.version(file)
        for rule, words, side in uncovered_sides(version, _cases(folder, file)):
            i = next(i for i, r in enumerate(file.data.rules) if r.id == rule)
            problem = f"no case in which “{words}” is {side}"
            yield file.finding(("rules", i, "when"), problem, "add a case")


def open_asks_for_what_can_be_missing(folder: LibraryFolder) -> Iterator[Finding]:
    for file in _with_rules(folder):
        asked = {n for rule in file.data.rules for n in rule.when.facts()} | {ORDER_DAY}
        for name in file.data.open.sentences if file.data.open else ():
            if name not in asked:
                where: FieldPath = ("open", "sentences", name)
                yield file.finding(where, f"no rule asks for {name}", "remove it, or fix the name")


@dataclass(frozen=True, slots=True)
class _Unknown:
    """Nothing is told but the day."""

    today: date

    def get(self, spec: FactSpec) -> Fact:
        return Fact(self.today) if spec.name == ORDER_DAY else NOT_TOLD


def _days(file: Version, conditions: Sequence[Condition]) -> list[date]:
    """The version's first day, and those on which one of its value sets changes."""
    edges = {
        edge
        for when in conditions
        for asked in asked_in(when)
        if isinstance(asked.test, InSets)
        for value_set in asked.test.sets
        for edge in value_set.edges
    }
    start = file.data.effective.start
    return [start, *sorted(e for e in edges if file.data.effective.holds(e))]


def _with_rules(folder: LibraryFolder) -> Iterator[Version]:
    """The versions with rules that can be read, of policies all of whose files can."""
    unread = _with_unread_files(folder)
    for file in folder.versions:
        if file.data.rules and not folder.compiled(file)[1] and file.folder not in unread:
            yield file


def _with_unread_files(folder: LibraryFolder) -> frozenset[str]:
    """The policies with a file that cannot be read: what follows from it is not said."""
    return frozenset(found.file.parent.name for found in folder.findings)


def _cases(folder: LibraryFolder, file: Version) -> list[Case]:
    cases = folder.cases.get(file.folder)
    return [
        case
        for case in (cases.data.of(file.folder, folder.programs) if cases else ())
        if case.day is not None and file.data.effective.holds(case.day)
    ]
