"""A policy's rules in words: as its page, its JSON, its history and the terminal show them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from service.decision.conditions import All, Condition, InSets, Is, Not, asked_in
from service.decision.policy import PolicyDetermination, PolicyVersion, Program
from service.decision.value_sets import CodeSpan, ValueSet
from service.policies.condition_phrases import phrases


@dataclass(frozen=True, slots=True)
class RuleInWords:
    """One rule: the programs that it is for, its condition in words, and what it leads to."""

    id: str
    programs: tuple[Program, ...]
    when: str
    outcome: PolicyDetermination


def rules_in_words(policy: PolicyVersion) -> tuple[RuleInWords, ...]:
    """The rules in their order, each once."""
    found: dict[str, RuleInWords] = {}
    order: dict[str, None] = {}
    for program, listed in policy.rules.items():
        for rule in listed.rules:
            order.setdefault(rule.id)
            known = found.get(rule.id)
            programs = (*known.programs, program) if known else (program,)
            found[rule.id] = RuleInWords(rule.id, programs, in_words(rule.when), rule.outcome)
    return tuple(found[id] for id in order)


def in_words(condition: Condition, inner: bool = False) -> str:
    """A condition as one sentence without its full stop; parts of parts stand in brackets."""
    words = phrases()
    if isinstance(condition, Is):
        return condition.words
    if isinstance(condition, Not):
        return words["not_so"].format(condition=in_words(condition.of, inner=True))
    joint = words["and"] if isinstance(condition, All) else words["or"]
    if not condition.of:
        return words["always" if isinstance(condition, All) else "never"]
    text = joint.join(in_words(part, inner=True) for part in condition.of)
    return f"({text})" if inner and len(condition.of) > 1 else text


def value_sets_of(policy: PolicyVersion) -> tuple[ValueSet, ...]:
    """The named value sets that the rules turn on, each once."""
    found: dict[str, ValueSet] = {}
    for listed in policy.rules.values():
        for rule in listed.rules:
            for asked in asked_in(rule.when):
                sets = asked.test.sets if isinstance(asked.test, InSets) else ()
                found.update({s.id: s for s in sets if s.id})
    return tuple(found.values())


def codes_in_words(value_set: ValueSet) -> Iterator[str]:
    """Every line of a value set with its days: "C00-D49", "G83.4 (from 2026-10-01)"."""
    words = phrases()
    for entry in value_set.entries():
        what = entry.what
        if isinstance(what, CodeSpan):
            text = f"{what.first}*" if what.first == what.last else f"{what.first}-{what.last}"
        else:
            text = what.value
        if entry.last.year < _FOREVER:
            text += words["to_day"].format(day=entry.last)
        yield text


_FOREVER = 9999
