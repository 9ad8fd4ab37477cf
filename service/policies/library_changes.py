"""Changes from one library to another: what is answered otherwise, from when, and for whom.

An answer is that of a policy for a code and a program of the policies' words, on each day. What a
policy says besides, notices, forms, value sets, programs and payers are compared by their content.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from service.decision.order import Code
from service.decision.policy import PolicyDetermination, PolicyVersion, Program
from service.decision.programs import ProgramEntry
from service.policies.differences import differences
from service.policies.library import OnFile
from service.policies.notices import Notice
from service.policies.payers import Payers
from service.policies.rules_in_words import in_words, value_sets_of

_TOLD_AS_ANSWERS = ("coverage", "rules")
_DAY = timedelta(days=1)
_MOST_CODES = 20


@dataclass(frozen=True, slots=True)
class AnswerChanged:
    """Codes of a policy that are answered otherwise for a program in a period.

    `first` and `last` are its days, both inclusive, None where it has no beginning or end. `before`
    and `after` are the answers in words, None where no policy speaks. `payers` are the names of
    those that apply the policy for the program, before or after.
    """

    policy: str
    program: str
    codes: tuple[str, ...]
    first: date | None
    last: date | None
    before: str | None
    after: str | None
    payers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ContentChanged:
    """Another change: `kind` is "policy", "notice", "form", "value set", "program" or "payer".

    `about` is its id, with the version or edition; `item` the part of it, "" for the whole.
    `before` is None for what was added, `after` for what was removed.
    """

    kind: str
    about: str
    item: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class LibraryChanges:
    """All changes from one library to another; both are empty where nothing changes."""

    answers: tuple[AnswerChanged, ...]
    contents: tuple[ContentChanged, ...]


def library_changes(before: OnFile, after: OnFile) -> LibraryChanges:
    """The changes from one library to another, answers first."""
    contents = (
        *_policies(before, after),
        *_changed("notice", _notices(before), _notices(after)),
        *_changed("form", _forms(before), _forms(after)),
        *_value_sets(before, after),
        *_changed("program", _programs(before.payers), _programs(after.payers)),
        *_changed("payer", _payers(before.payers), _payers(after.payers)),
    )
    return LibraryChanges(tuple(_answers(before, after)), contents)


def _ids(before: OnFile, after: OnFile) -> list[str]:
    return sorted({*before.policies.ids(), *after.policies.ids()})


def _answers(before: OnFile, after: OnFile) -> Iterator[AnswerChanged]:
    for policy in _ids(before, after):
        older, newer = before.policies.versions(policy), after.policies.versions(policy)
        periods = list(_periods((*older, *newer)))
        codes = {s.code: None for v in (*older, *newer) for s in v.services}
        for program in Program:
            found: dict[tuple[_Change, ...], list[Code]] = {}
            for code in codes:
                changes = tuple(_of_code(older, newer, periods, code, program))
                if changes:
                    found.setdefault(changes, []).append(code)
            payers = _applying(before.payers, after.payers, policy, program)
            for changes, same in found.items():
                shown = tuple(sorted(code.value for code in same))
                for change in changes:
                    yield AnswerChanged(policy, program.value, shown, *change, payers)


_Change = tuple[date | None, date | None, str | None, str | None]


def _of_code(
    older: Iterable[PolicyVersion],
    newer: Iterable[PolicyVersion],
    periods: Iterable[tuple[date, date]],
    code: Code,
    program: Program,
) -> Iterator[_Change]:
    """The periods in which a code is answered otherwise, those side by side as one."""
    open_one: _Change | None = None
    for first, last in periods:
        was, becomes = (_answer_on(v, code, program, first) for v in (older, newer))
        if open_one is not None and open_one[2:] == (was, becomes):
            open_one = (open_one[0], _told(last), was, becomes)
            continue
        if open_one is not None:
            yield open_one
        open_one = (_told(first), _told(last), was, becomes) if was != becomes else None
    if open_one is not None:
        yield open_one


def _periods(versions: Iterable[PolicyVersion]) -> Iterator[tuple[date, date]]:
    """Spans of days on none of which an answer of these versions begins or ends."""
    begins = {date.min}
    for version in versions:
        spans = {(version.starts, version.ends or date.max)}
        spans.update((service.first, service.last) for service in version.services)
        for first, last in spans:
            begins.add(first)
            if last < date.max:
                begins.add(last + _DAY)
    days = sorted(begins)
    yield from zip(days, [*(day - _DAY for day in days[1:]), date.max], strict=True)


def _told(day: date) -> date | None:
    return None if day in (date.min, date.max) else day


def _answer_on(
    versions: Iterable[PolicyVersion], code: Code, program: Program, day: date
) -> str | None:
    version = next((v for v in versions if v.speaks_of(code, day)), None)
    determination = version.determinations.get(program) if version else None
    if version is None or determination is None:
        return None
    listed = version.rules.get(program)
    if listed is None or not listed.rules:
        return _in_short(determination)
    rules = [f"{_in_short(rule.outcome)} where {in_words(rule.when)}" for rule in listed.rules]
    return "; ".join((*rules, f"otherwise {_in_short(determination)}"))


def _in_short(outcome: PolicyDetermination) -> str:
    parts: list[str] = [outcome.covered.value]
    if outcome.prior_authorization is not None:
        parts.append(f"prior authorization {outcome.prior_authorization.value}")
    if outcome.forms:
        parts.append(f"forms {', '.join(need.form for need in outcome.forms)}")
    return ", ".join(parts)


def _applying(before: Payers, after: Payers, policy: str, program: Program) -> tuple[str, ...]:
    """The payers whose policy it is under a program of these words, before or after.

    Where no program is told, it is each payer that applies the policy at all.
    """
    names: dict[str, None] = {}
    for payers in (before, after):
        told = [entry.id for entry in payers.programs if entry.words_for is program]
        for payer in payers:
            applies = any(payer.applies(policy, program_id) for program_id in told)
            untold = program is Program.UNKNOWN and any(
                link.policy_id == policy for link in payer.policies
            )
            if applies or untold:
                names.setdefault(payer.name)
    return tuple(names)


def _policies(before: OnFile, after: OnFile) -> Iterator[ContentChanged]:
    """Statements of policies besides their answers, by version; a new one beside the former."""
    for policy in _ids(before, after):
        older = {v.version: v for v in before.policies.versions(policy)}
        newer = {v.version: v for v in after.policies.versions(policy)}
        for name in sorted({*older, *newer}):
            about = f"{policy} {name}"
            was, becomes = older.get(name), newer.get(name)
            if was is None and becomes is not None:
                yield ContentChanged("policy", about, "", None, _in_force(becomes))
                earlier = [v for v in newer.values() if v.starts < becomes.starts]
                if earlier:
                    yield from _statements(about, earlier[-1], becomes)
            elif becomes is None and was is not None:
                yield ContentChanged("policy", about, "", _in_force(was), None)
            elif was is not None and becomes is not None:
                if was.ends != becomes.ends:
                    yield ContentChanged(
                        "policy", about, "in force", _in_force(was), _in_force(becomes)
                    )
                yield from _statements(about, was, becomes)


def _statements(about: str, older: PolicyVersion, newer: PolicyVersion) -> Iterator[ContentChanged]:
    for change in differences(older, newer):
        if change.section not in _TOLD_AS_ANSWERS:
            item = f"{change.section} {change.item}".strip()
            yield ContentChanged("policy", about, item, change.before, change.after)


def _in_force(version: PolicyVersion) -> str:
    until = f"to {version.ends}" if version.ends else "on"
    return f"{version.title}, in force from {version.starts} {until}"


_Contents = Mapping[str, Mapping[str, Hashable]]
"""By id: the parts of each, in words."""


def _changed(kind: str, before: _Contents, after: _Contents) -> Iterator[ContentChanged]:
    for about in sorted({*before, *after}):
        was, becomes = before.get(about), after.get(about)
        if was is None or becomes is None:
            yield ContentChanged(kind, about, "", _whole(was), _whole(becomes))
            continue
        for item in dict.fromkeys((*was, *becomes)):
            if was.get(item) != becomes.get(item):
                yield ContentChanged(
                    kind, about, item, _words(was.get(item)), _words(becomes.get(item))
                )


def _whole(parts: Mapping[str, Hashable] | None) -> str | None:
    return None if parts is None else (_words(parts.get("title") or parts.get("name")) or "there")


def _words(value: Hashable | None) -> str | None:
    if value is None or value in ("", ()):
        return None
    if isinstance(value, tuple):
        shown = ", ".join(map(str, value[:_MOST_CODES]))
        left = len(value) - _MOST_CODES
        return f"{shown} and {left} more" if left > 0 else shown
    return str(value)


def _notices(library: OnFile) -> _Contents:
    return {f"{n.id} {n.starts}": _parts_of(n) for n in library.notices}


def _parts_of(notice: Notice) -> Mapping[str, Hashable]:
    told = notice.model_dump(mode="json", exclude={"id"}, exclude_none=True)
    return {name: value if isinstance(value, str) else repr(value) for name, value in told.items()}


def _forms(library: OnFile) -> _Contents:
    libraries = {
        f"library {form['id']}": {"version": str(form["version"]), "content": repr(form)}
        for form in library.form_libraries
    }
    forms: dict[str, Mapping[str, Hashable]] = {
        str(form["id"]): {
            "title": str(form["title"]),
            "version": str(form["version"]),
            "items": repr(form["item"]),
            "the rest": repr(sorted((k, v) for k, v in form.items() if k not in _OF_A_FORM)),
        }
        for form in library.questionnaires
    }
    return forms | libraries


_OF_A_FORM = ("title", "version", "item")


def _value_sets(before: OnFile, after: OnFile) -> Iterator[ContentChanged]:
    """Codes that a value set gains and loses, with the policies whose rules turn on it."""
    for about in sorted({*before.value_sets, *after.value_sets}):
        was, becomes = (_lines(library, about) for library in (before, after))
        users = [
            version.id
            for library in (before, after)
            for version in library.policies
            if any(value_set.id == about for value_set in value_sets_of(version))
        ]
        item = f"codes for rules of {', '.join(dict.fromkeys(users))}" if users else "codes"
        if lost := tuple(line for line in was if line not in becomes):
            yield ContentChanged("value set", about, item, _words(lost), None)
        if gained := tuple(line for line in becomes if line not in was):
            yield ContentChanged("value set", about, item, None, _words(gained))


def _lines(library: OnFile, about: str) -> Mapping[str, None]:
    """The lines of a value set in words, with their days."""
    named = library.value_sets.get(about)
    found: dict[str, None] = {}
    for what, first, last in named.lines if named else ():
        if isinstance(what, Code):
            words = what.value
        else:
            words = f"{what.first}*" if what.first == what.last else f"{what.first}-{what.last}"
        spans = (f"from {first}" if _told(first) else "", f"to {last}" if _told(last) else "")
        found[" ".join((words, *filter(None, spans)))] = None
    return found


def _programs(payers: Payers) -> _Contents:
    return {entry.id: _parts_of_program(entry) for entry in payers.programs}


def _parts_of_program(entry: ProgramEntry) -> Mapping[str, Hashable]:
    rules = entry.when.rules if entry.when else ()
    return {
        "name": entry.name,
        "words for": entry.words_for.value,
        "types of payment": entry.types,
        "pays": entry.pays.value,
        "when": tuple(in_words(rule.when) for rule in rules),
    }


def _payers(payers: Payers) -> _Contents:
    found: dict[str, Mapping[str, Hashable]] = {}
    for payer in payers:
        found[payer.key] = {
            "name": payer.name,
            "line of business": payer.line_of_business,
            "identifiers": tuple("|".join(each) for each in payer.identifiers),
            "member systems": tuple(sorted(payer.member_systems)),
            "contact": f"{payer.contact.name}, {payer.contact.value}" if payer.contact else None,
            "requests": payer.requests,
            **{
                f"applies {link.policy_id}": (*sorted(link.applied_to), *filter(None, [link.url]))
                for link in payer.policies
            },
        }
    operator = payers.operator_contact
    found["operator"] = {
        "name": payers.operator_name,
        "contact": f"{operator.name}, {operator.value}" if operator else None,
    }
    return found
