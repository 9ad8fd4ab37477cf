"""Adaptive forms ask what can still change the answer, over all paths of every example form."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import pytest

from cards.questionnaires import load_forms
from service.decision.conditions import InRange, Is, OneOf
from service.decision.facts import Fact, FactKind, FactSource, FactSpec, Family
from service.decision.policy import PolicyDetermination, PolicyVersion
from service.decision.rules import Decision, Rule, RuleList
from service.dtr.adaptive_forms import AdaptiveForm, AdaptiveForms, adaptive
from service.dtr.begun_context import told
from service.dtr.enable_when import Answers, is_enabled
from service.dtr.next_questions import FormFacts, answer_of, next_question
from service.policies.library import load_library
from service.settings import Settings
from tests.conftest import ROOT

TODAY = date(2026, 11, 22)
MOST_PATHS = 4000
Rules = RuleList[PolicyDetermination]


def _library() -> tuple[AdaptiveForms, list[PolicyVersion]]:
    settings = Settings()
    on_file = load_library(
        settings.policies_dir,
        ROOT / "examples" / "inferno" / "payers.yaml",
        ROOT / "examples" / "policies",
    )
    return AdaptiveForms(load_forms(on_file.questionnaires), on_file.policies), [*on_file.policies]


FORMS, POLICIES = _library()


def rules_of(form: AdaptiveForm) -> Iterator[Rules]:
    """The different rule lists that the form's answers decide."""
    met: list[int] = []
    for policy in POLICIES:
        for rules in policy.rules.values():
            used = any(answer_of(s.source, form) for s in rules.facts.values())
            if used and id(rules) not in met:
                met.append(id(rules))
                yield rules


CASES = [
    pytest.param(form, rules, id=f"{form.whole.id}-{n}")
    for form in FORMS
    for n, rules in enumerate(rules_of(form))
]


def test_the_examples_have_adaptive_forms() -> None:
    assert {form.whole.id for form in FORMS} >= {"oxygen-need", "conservative-care"}
    assert len(CASES) >= 2


def numbers(rules: Rules, spec: FactSpec) -> list[Decimal]:
    """Numbers on both sides of each bound that the rules put on a fact."""
    words = " ".join(w for _, w in rules.conditions() if spec.words in w or spec.called in w)
    bounds = {Decimal(n) for n in re.findall(r"\d+(?:\.\d+)?", words)} or {Decimal(1)}
    return sorted({b + d for b in bounds for d in (-1, 0, 1) if b + d >= 0})


def answers_to(item: Mapping[str, Any], spec: FactSpec | None, rules: Rules) -> Sequence[Any]:
    """Answers to an item: enough that each of its tests comes out both ways; None is none."""
    if item["type"] == "boolean":
        return (None, True, False)
    if "answerOption" in item:
        return (None, *(o["valueCoding"] for o in item["answerOption"] if "valueCoding" in o))
    if item["type"] in ("integer", "decimal", "quantity") and spec is not None:
        found = numbers(rules, spec)
        if item["type"] == "quantity":
            return (None, *({"value": float(n), "code": spec.unit} for n in found))
        return (None, *(int(n) if item["type"] == "integer" else float(n) for n in found))
    if item["type"] == "date":
        return (None, "2026-01-01", "2026-11-20")
    return (None, "some text")


def known_facts(form: AdaptiveForm, rules: Rules) -> Iterator[dict[str, Fact]]:
    """What the order may have told: nothing, and each fact in several ways."""
    yield {}
    others = [s for s in rules.facts.values() if answer_of(s.source, form) is None]
    values: list[list[Fact | None]] = []
    for spec in others:
        told: Iterable[Any] = ()
        if spec.kind is FactKind.FLAG:
            told = (True, False)
        elif spec.kind is FactKind.CODES:
            told = (frozenset(),)
        elif spec.kind is FactKind.NUMBER:
            told = numbers(rules, spec)[:3]
        values.append([None, *(Fact(value, ("order",)) for value in told)])
    for chosen in itertools.islice(itertools.product(*values), 60):
        yield {s.name: f for s, f in zip(others, chosen, strict=True) if f is not None}


def paths(
    form: AdaptiveForm, rules: Rules, known: Mapping[str, Fact] = MappingProxyType({})
) -> Iterator[dict[str, list[Any]]]:
    """Every way of filling in the questions that bear on the rules, and what enables them; the full
    form comes with what is known filled in.
    """
    of_item = {answer_of(s.source, form): s for s in rules.facts.values()}
    bearing = {link for link in of_item if link in form.items}
    pending = list(bearing)
    for link in pending:
        for _, item in form.conditions(str(link)):
            for condition in item.get("enableWhen", ()):
                if condition["question"] not in bearing:
                    bearing.add(condition["question"])
                    pending.append(condition["question"])
    links = sorted(str(link) for link in bearing)
    choices = [answers_to(form.items[link], of_item.get(link), rules) for link in links]
    for chosen in itertools.islice(itertools.product(*choices), MOST_PATHS):
        filled = {link: [v] for link, v in zip(links, chosen, strict=True) if v is not None}
        yield without_disabled(form, filled, told(form, known))


def without_disabled(
    form: AdaptiveForm, filled: dict[str, list[Any]], prefilled: Answers
) -> dict[str, list[Any]]:
    """What a form holds: a question that is not enabled has no answer."""
    while True:
        kept = {
            link: values
            for link, values in filled.items()
            if all(is_enabled(i, {**prefilled, **filled}) for _, i in form.conditions(link))
        }
        if kept == filled:
            return kept
        filled = kept


def walked(
    form: AdaptiveForm, rules: Rules, filled: Mapping[str, list[Any]], known: Mapping[str, Fact]
) -> tuple[list[str], Decision[PolicyDetermination]]:
    """The questions of the adaptive form on a path, and the decision at its end."""
    asked: list[str] = []
    while True:
        answers = {link: filled[link] for link in asked if link in filled}
        facts = FormFacts(form, answers, known, TODAY)
        question = next_question(form, [rules], facts, asked)
        if question is None:
            return asked, rules.decide(facts)
        assert question not in asked
        asked.append(question)


@pytest.mark.form_rule("dtr-adaptive-outcome")
@pytest.mark.parametrize(("form", "rules"), CASES)
def test_the_adaptive_and_the_full_form_lead_to_the_same_outcome_on_every_path(
    form: AdaptiveForm, rules: Rules
) -> None:
    questions = [link for link, item in form.items.items() if item["type"] != "group"]
    seen = 0
    for known in known_facts(form, rules):
        for filled in paths(form, rules, known):
            full = rules.decide(FormFacts(form, filled, known, TODAY))
            asked, adaptive = walked(form, rules, filled, known)
            assert adaptive.outcomes == full.outcomes, (filled, known)
            assert len(asked) <= len(questions)
            assert set(asked) <= set(questions) - set(told(form, known))
            seen += 1
    assert seen > 2


@pytest.mark.form_rule("dtr-adaptive-minimal")
@pytest.mark.parametrize(("form", "rules"), CASES)
def test_each_question_that_is_asked_could_change_the_answer_when_it_was_asked(
    form: AdaptiveForm, rules: Rules
) -> None:
    for filled in paths(form, rules):
        asked, _ = walked(form, rules, filled, {})
        for n, question in enumerate(asked):
            answers = {link: filled[link] for link in asked[:n] if link in filled}
            before = rules.decide(FormFacts(form, answers, {}, TODAY))
            assert not before.certain, (question, answers)


def made_form() -> tuple[AdaptiveForm, Rules]:
    """A form of four questions, one behind another: what the examples are too short for."""
    on_oxygen = {"linkId": "on-oxygen", "text": "On oxygen?", "type": "boolean"}
    hours = {
        "linkId": "hours",
        "text": "For how many hours?",
        "type": "integer",
        "enableWhen": [{"question": "on-oxygen", "operator": "=", "answerBoolean": True}],
    }
    group = {"linkId": "use", "text": "Use", "type": "group", "item": [on_oxygen, hours]}
    others = [
        {"linkId": link, "text": link, "type": "boolean", "required": True}
        for link in ("seen", "trained")
    ]
    form = {
        "resourceType": "Questionnaire",
        "id": "made",
        "version": "1.0.0",
        "title": "Made",
        "status": "active",
        "date": "2026-01-01T00:00:00+00:00",
        "item": [group, *others, {"linkId": "remark", "text": "Remark", "type": "string"}],
    }
    (whole,) = (f for f in load_forms([form]) if f.id == "made")
    seen, trained = answer_fact("seen"), answer_fact("trained")
    hours_told = answer_fact("hours", FactKind.NUMBER)
    rules: Any = RuleList(
        [
            Rule("seen", Is(seen, OneOf(frozenset({False}))), "not covered"),
            Rule("long", Is(hours_told, InRange(low=Decimal(15)), "hours at least 15"), "covered"),
            Rule("trained", Is(trained, OneOf(frozenset({True}))), "covered"),
        ],
        otherwise="not covered",
    )
    return adaptive(whole), rules


def answer_fact(link: str, kind: FactKind = FactKind.FLAG) -> FactSpec:
    source = FactSource(Family.ANSWER, questionnaire="made", link_id=link)
    return FactSpec(link, kind, link, ("item.answer",), unit="1", source=source)


def test_a_question_behind_another_is_asked_where_its_answer_can_still_decide() -> None:
    form, rules = made_form()
    for filled in paths(form, rules):
        full = rules.decide(FormFacts(form, filled, {}, TODAY))
        asked, decided = walked(form, rules, filled, {})
        assert decided.outcomes == full.outcomes, filled
        assert "remark" not in asked
        if "hours" in asked:
            assert asked.index("on-oxygen") < asked.index("hours")
    assert walked(form, rules, {"seen": [False]}, {})[0] == ["seen"]
    assert walked(form, rules, {"seen": [True], "on-oxygen": [False]}, {})[0] == [
        *("seen", "on-oxygen", "trained")
    ]
    assert walked(form, rules, {"seen": [True], "on-oxygen": [True], "hours": [16]}, {})[0] == [
        *("seen", "on-oxygen", "hours")
    ]


def test_only_what_is_asked_stands_in_the_form_with_the_groups_around_it() -> None:
    form, _ = made_form()
    (group,) = form.pruned({"hours", "on-oxygen"}, {}, conditions=True)
    assert [i["linkId"] for i in group["item"]] == ["on-oxygen", "hours"]
    assert "enableWhen" in group["item"][1]
    (group,) = form.pruned({"hours", "on-oxygen"}, {}, conditions=False)
    assert "enableWhen" not in group["item"][1]
    assert form.pruned((), {}, conditions=True) == []


def test_a_condition_on_a_question_that_is_not_asked_is_left_out() -> None:
    form = next(f for f in FORMS if f.whole.id == "oxygen-need")
    whole = form.items["treatment"]
    assert [c["question"] for c in whole["enableWhen"]] == ["saturation", "arterial-oxygen"]
    _, treatment = form.pruned({"saturation", "treatment-tried"}, {}, conditions=True)
    assert [c["question"] for c in treatment["enableWhen"]] == ["saturation"]
    assert "enableBehavior" not in treatment
    both = form.pruned({"saturation", "arterial-oxygen", "treatment-tried"}, {}, conditions=True)
    assert both[-1]["enableWhen"] == whole["enableWhen"]
    assert both[-1]["enableBehavior"] == "any"
    (alone,) = form.pruned({"treatment-tried"}, {}, conditions=True)
    assert not {"enableWhen", "enableBehavior"} & alone.keys()
