"""Context of an adaptive form: for which policy, program and facts it was begun.

It stands in the contained Questionnaire's `useContext`, readable by everybody: the form needs no
state here. Only what the call told is there, never what the payer's own records tell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol

from cards.vocabulary import Json
from service.decision.determination import Determination
from service.decision.facts import (
    NOTHING,
    TABLE,
    Between,
    Fact,
    FactKind,
    Facts,
    FactSpec,
    Family,
    Value,
)
from service.decision.order import Code
from service.decision.policy import PolicyVersion, Program
from service.decision.rules import RuleList
from service.dtr.adaptive_forms import AdaptiveForm
from service.dtr.enable_when import Answers
from service.errors import MalformedRequest

SYSTEM = "https://covercard.example/fhir/CodeSystem/form-context"
UCUM = "http://unitsofmeasure.org"
_NONE = "none"
_MOST_CODES = 1000
"""Codes of a fact that is carried: they are put in order at each step."""
POLICY, PROGRAM = "policy", "program"


class PolicyVersions(Protocol):
    """Protocol of the versions of policies."""

    def versions(self, policy_id: str) -> Sequence[PolicyVersion]:
        """A policy's versions; empty for an unknown policy."""
        ...


@dataclass(frozen=True, slots=True)
class BegunContext:
    """Context of a begun form; without an order there is neither policy nor program nor fact."""

    policy: PolicyVersion | None = None
    program: Program | None = None
    known: Mapping[str, Fact] = field(default_factory=dict)


def context_of(determination: Determination, facts: Facts) -> BegunContext:
    """The context of an order's form; `facts` are those that the call told."""
    policy, program = determination.policy, determination.program.program
    rules = policy.rules.get(program) if policy else None
    if policy is None or rules is None:
        return BegunContext()
    told = {name: facts.get(spec) for name, spec in _carried(rules)}
    return BegunContext(policy, program, {n: f for n, f in told.items() if _is_carried(f)})


def told(form: AdaptiveForm, known: Mapping[str, Fact]) -> Answers:
    """The answers of the whole form that are known: those to questions that facts are named by.

    The full form comes with them filled in; the adaptive one does not ask for them.
    """
    return {name: (fact.value,) for name, fact in known.items() if name in form.items}


def written(context: BegunContext) -> list[Json]:
    """The context as `useContext`; empty without a policy."""
    if context.policy is None or context.program is None:
        return []
    policy = context.policy
    made = [
        _usage(POLICY, valueCodeableConcept={"text": f"{policy.id}|{policy.version}"}),
        _usage(PROGRAM, valueCodeableConcept={"text": context.program.value}),
    ]
    for name, fact in context.known.items():
        spec = _spec(policy, name)
        if spec is not None and fact.value is not None:
            made.append(_usage(name, **_written(spec, fact.value)))
    return made


def read(written: Any, place: str, policies: PolicyVersions) -> BegunContext:
    """The context that `useContext` tells; other systems' codes are left aside.

    Raises MalformedRequest with the place of what cannot have been written here.
    """
    found = dict(_of_this_system(written, place))
    if POLICY not in found:
        return BegunContext()
    at, usage = found[POLICY]
    policy_id, _, version = _text(usage).partition("|")
    policy = next((p for p in policies.versions(policy_id) if p.version == version), None)
    if policy is None:
        raise MalformedRequest("expected the policy that the form was begun under", at)
    at, usage = found.get(PROGRAM, (place, {}))
    try:
        program = Program(_text(usage))
    except ValueError:
        raise MalformedRequest("expected the program that the form was begun for", at) from None
    known: dict[str, Fact] = {}
    for name, (at, usage) in found.items():
        spec = _spec(policy, name)
        if spec is not None:
            known[name] = Fact(_read(spec, usage, at), (at,))
    return BegunContext(policy, program, known)


def _carried(rules: RuleList[Any]) -> Iterator[tuple[str, FactSpec]]:
    """The facts of rules that a call tells: no answers of forms, nothing of the payer's."""
    day = TABLE["order.day"]
    for name, spec in {**rules.facts, day.name: day}.items():
        of_a_form = spec.source is not None and spec.source.family is Family.ANSWER
        if not of_a_form and not name.startswith("member."):
            yield name, spec


def _is_carried(fact: Fact) -> bool:
    if isinstance(fact.value, frozenset) and len(fact.value) > _MOST_CODES:
        return False
    return fact.known and fact.value is not None and not isinstance(fact.value, Between)


def _spec(policy: PolicyVersion, name: str) -> FactSpec | None:
    return policy.facts.get(name) or TABLE.get(name)


def _usage(code: str, **value: Any) -> Json:
    return {"code": {"system": SYSTEM, "code": code}, **value}


def _written(spec: FactSpec, value: Value) -> Json:
    if isinstance(value, frozenset):
        codings = [{"system": c.system, "code": c.value} for c in sorted(value)]
        return {"valueCodeableConcept": {"coding": codings} if codings else {"text": _NONE}}
    if value is NOTHING:
        return {"valueCodeableConcept": {"text": _NONE}}
    if isinstance(value, bool):
        return {"valueCodeableConcept": {"text": str(value).lower()}}
    if isinstance(value, Decimal):
        unit = {"unit": spec.unit, "system": UCUM, "code": spec.unit} if spec.unit else {}
        return {"valueQuantity": {"value": float(value), **unit}}
    return {"valueCodeableConcept": {"text": str(value)}}


def _of_this_system(
    written: Any, place: str
) -> Iterator[tuple[str, tuple[str, Mapping[str, Any]]]]:
    for i, usage in enumerate(written if isinstance(written, list) else ()):
        code = usage.get("code") if isinstance(usage, Mapping) else None
        if isinstance(code, Mapping) and code.get("system") == SYSTEM:
            yield str(code.get("code")), (f"{place}[{i}]", usage)


def _text(usage: Mapping[str, Any]) -> str:
    concept = usage.get("valueCodeableConcept")
    text = concept.get("text") if isinstance(concept, Mapping) else None
    return text if isinstance(text, str) else ""


def _read(spec: FactSpec, usage: Mapping[str, Any], place: str) -> Value:
    text = _text(usage)
    if text == _NONE and spec.kind is not FactKind.CODES:
        return NOTHING
    try:
        return _READERS[spec.kind](usage, text)
    except (ValueError, KeyError, TypeError, InvalidOperation):
        raise MalformedRequest("expected the value that the form was begun with", place) from None


def _codes(usage: Mapping[str, Any], text: str) -> Value:
    if text == _NONE:
        return frozenset()
    coding = usage["valueCodeableConcept"]["coding"]
    if len(coding) > _MOST_CODES:
        raise ValueError("more codes than were written")
    return frozenset(Code(str(c["system"]), str(c["code"])) for c in coding)


def _flag(_: Mapping[str, Any], text: str) -> Value:
    return {"true": True, "false": False}[text]


def _number(usage: Mapping[str, Any], _: str) -> Value:
    return Decimal(str(usage["valueQuantity"]["value"]))


def _day(_: Mapping[str, Any], text: str) -> Value:
    return date.fromisoformat(text)


def _word(_: Mapping[str, Any], text: str) -> Value:
    if not text:
        raise ValueError(text)
    return text


_READERS = {
    FactKind.CODES: _codes,
    FactKind.CHOICE: _word,
    FactKind.FLAG: _flag,
    FactKind.NUMBER: _number,
    FactKind.DAY: _day,
    FactKind.AGE: _day,
}
