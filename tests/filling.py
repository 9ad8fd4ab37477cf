"""Fills in a Questionnaire as a person would: the questions that are shown, in their order."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Json = dict[str, Any]

_VALUES = {
    "string": "valueString",
    "text": "valueString",
    "date": "valueDate",
    "decimal": "valueDecimal",
    "boolean": "valueBoolean",
    "choice": "valueCoding",
    "reference": "valueReference",
}


def questions(items: Sequence[Json]) -> Iterator[Json]:
    """Every item of a Questionnaire, groups and displays included."""
    for item in items:
        yield item
        yield from questions(item.get("item", []))


def answers_of(items: Sequence[Json]) -> Iterator[tuple[str, Json]]:
    """Every answer of a QuestionnaireResponse with its linkId."""
    for item in items:
        yield from ((item["linkId"], answer) for answer in item.get("answer", []))
        yield from answers_of(item.get("item", []))


def completed(form: Json, begun: Json | None = None, **given: Any) -> Json:
    """The form filled in and completed: what `begun` holds stays, `given` is added by linkId.

    Keys of `given` have underscores for hyphens. Fails where a required question that is shown has
    no answer, where a question is not shown or not asked, and where a choice is none of the form's.
    """
    answers = {k.replace("_", "-"): v for k, v in given.items()}
    known = {link for link, _ in answers_of((begun or {}).get("item", []))}
    filled = _Filling(form, answers, known, begun)
    items = filled.items(form["item"])
    assert filled.unused == set(), f"not asked or not shown: {filled.unused}"
    response = copy.deepcopy(begun) if begun else {"resourceType": "QuestionnaireResponse"}
    return {
        **response,
        "questionnaire": f"{form['url']}|{form['version']}",
        "status": "completed",
        "item": items,
    }


class _Filling:
    def __init__(
        self, form: Json, answers: Mapping[str, Any], known: set[str], begun: Json | None
    ) -> None:
        self.answers = answers
        self.begun: dict[str, list[Json]] = {}
        for link, answer in answers_of((begun or {}).get("item", [])):
            self.begun.setdefault(link, []).append(answer)
        self.unused = set(answers)
        self.by_link = {q["linkId"]: q for q in questions(form["item"])}

    def items(self, asked: Sequence[Json]) -> list[Json]:
        made = []
        for item in asked:
            if item["type"] == "display" or not self._shown(item):
                continue
            link = item["linkId"]
            answered: Json = {"linkId": link, "text": item["text"]}
            if item["type"] == "group":
                made.append({**answered, "item": self.items(item["item"])})
                continue
            answer = self._answer(item)
            assert answer or not item.get("required"), f"{link} is required"
            if answer:
                made.append({**answered, "answer": answer})
        return made

    def _answer(self, item: Json) -> list[Json]:
        link = item["linkId"]
        if link not in self.answers:
            return self.begun.get(link, [])
        self.unused.discard(link)
        value = self.answers[link]
        values = value if isinstance(value, list) else [value]
        assert len(values) == 1 or item.get("repeats"), f"{link} does not repeat"
        return [{_VALUES[item["type"]]: self._value(item, v)} for v in values]

    def _value(self, item: Json, value: Any) -> Any:
        if item["type"] != "choice":
            return value
        codings = [o["valueCoding"] for o in item["answerOption"]]
        return next(c for c in codings if c["code"] == value)

    def _shown(self, item: Json) -> bool:
        return all(self._met(condition) for condition in item.get("enableWhen", []))

    def _met(self, condition: Json) -> bool:
        assert condition["operator"] == "="
        question = self.by_link[condition["question"]]
        wanted = next(v for k, v in condition.items() if k.startswith("answer"))
        given = self._answer_so_far(question)
        if isinstance(wanted, dict):
            return given is not None and given.get("code") == wanted["code"]
        return given == wanted

    def _answer_so_far(self, question: Json) -> Any:
        value = self.answers.get(question["linkId"])
        return self._value(question, value) if value is not None else None
