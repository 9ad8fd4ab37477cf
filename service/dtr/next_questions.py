"""$next-question: the question that can still change the answer, until the answer is certain.

Stateless: the form that comes back says what was asked, for which policy it was begun, and which
facts were known then. The next question is the first missing fact that the form can tell, and where
another answer enables it, that one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from typing import Any, Protocol

from cards.vocabulary import Json
from service.crd.call_limits import CallLimits
from service.decision.facts import NOT_TOLD, Fact, FactSource, FactSpec, Family
from service.decision.policy import PolicyDetermination, PolicyVersion
from service.decision.rules import RuleList
from service.dtr.adaptive_forms import CONTAINED_ID, AdaptiveForm, AdaptiveForms
from service.dtr.answered_form import AnsweredForm, FormReader
from service.dtr.begun_context import BegunContext, PolicyVersions, told, written
from service.dtr.dtr_version import DtrVersion
from service.dtr.enable_when import Answers, is_enabled
from service.dtr.packaged_forms import PackagedForms
from service.fhir.fact_readers.answer_facts import answered


class PolicyLibrary(PolicyVersions, Protocol):
    """Protocol of all versions of all policies."""

    def __iter__(self) -> Iterator[PolicyVersion]:
        """Every version, by policy and then by start."""
        ...


@dataclass(frozen=True, slots=True)
class FormFacts:
    """The decision's `Facts` of an adaptive form: its answers, and what was known when it began."""

    form: AdaptiveForm
    answers: Answers
    known: Mapping[str, Fact]
    today: date
    zone: tzinfo = UTC

    @property
    def enabling(self) -> Answers:
        """The answers by which a question is asked: those that were known, and those given."""
        return {**told(self.form, self.known), **self.answers}

    def get(self, spec: FactSpec) -> Fact:
        """The fact with its value or the reason for which it is unknown; never an exception."""
        link_id = answer_of(spec.source, self.form)
        if link_id is None:
            return self.known.get(spec.name, NOT_TOLD)
        return answered(
            spec, list(self.answers.get(link_id, ())), f"item[linkId={link_id}]", self.zone
        )


def answer_of(source: FactSource | None, form: AdaptiveForm) -> str | None:
    """The linkId of the form's item that tells a fact, or None."""
    if source is None or source.family is not Family.ANSWER:
        return None
    return source.link_id if source.questionnaire == form.whole.id else None


def decides(form: AdaptiveForm, context: BegunContext) -> bool:
    """Whether the form's answers bear on the rules of a context."""
    if context.policy is None or context.program is None:
        return False
    rules = context.policy.rules.get(context.program)
    return rules is not None and bears_on(form, rules)


def bears_on(form: AdaptiveForm, rules: RuleList[PolicyDetermination]) -> bool:
    """Whether one of the form's answers is a fact of these rules."""
    return any(answer_of(spec.source, form) is not None for spec in rules.facts.values())


def next_question(
    form: AdaptiveForm,
    rules: Iterable[RuleList[PolicyDetermination]],
    facts: FormFacts,
    asked: Iterable[str],
) -> str | None:
    """The linkId of the question that is asked next; None where no answer of this form can change
    the outcome any more.
    """
    done = frozenset(asked)
    for rule_list in rules:
        for missing in rule_list.decide(facts).missing:
            link_id = answer_of(missing.spec.source, form)
            if link_id is None or link_id not in form.items:
                continue
            question = _to_ask(form, link_id, facts.enabling, done)
            if question is not None:
                return question
    return None


def _to_ask(
    form: AdaptiveForm, link_id: str, answers: Answers, asked: frozenset[str]
) -> str | None:
    """The item, or first the question that enables it; None where there is nothing to ask."""
    if link_id in asked:
        return None
    for _, item in form.conditions(link_id):
        if is_enabled(item, answers):
            continue
        enabling = [condition["question"] for condition in item["enableWhen"]]
        found = (_to_ask(form, q, answers, asked) for q in enabling if q in form.items)
        return next((question for question in found if question is not None), None)
    return link_id


class NextQuestions:
    """The use case of $next-question, and of the begin of adaptive forms. Stateless.

    `clock` gives the current time with a time zone; `zone` is the time zone of a day; `version` is
    answered in at the address that is no version's own.
    """

    def __init__(
        self,
        adaptive_forms: AdaptiveForms,
        policies: PolicyLibrary,
        packaged: PackagedForms,
        clock: Callable[[], datetime],
        zone: tzinfo,
        limits: CallLimits,
        version: DtrVersion,
    ) -> None:
        self.forms = adaptive_forms
        self._policies = policies
        self._packaged = packaged
        self._reader = FormReader(adaptive_forms, packaged, policies, limits)
        self._clock = clock
        self._zone = zone
        self._version = version

    def answer(self, body: bytes, version: DtrVersion | None = None) -> Json:
        """The QuestionnaireResponse with the next question, or completed.

        Raises MalformedRequest (400) where it is not the form that was sent, or not valid.
        """
        version = version or self._version
        now = self._clock().astimezone(self._zone)
        sent = self._reader.read(body, version, now.date())
        context = sent.context
        if sent.waiting:
            return self._response(sent, context, sent.asked, False, version, now)
        question = self._next(sent.adaptive, context, sent.answers, sent.asked, now.date())
        asked = sent.asked if question is None else sent.asked | {question}
        return self._response(sent, context, asked, question is None, version, now)

    def begin(
        self, form: AdaptiveForm, context: BegunContext, version: DtrVersion, today: date
    ) -> tuple[str, ...]:
        """The questions of a form that begins, by linkId: one where the version's first form has
        any.
        """
        if not version.form.search_has_items:
            return ()
        question = self._next(form, context, {}, (), today)
        return () if question is None else (question,)

    def contained(
        self,
        form: AdaptiveForm,
        context: BegunContext,
        asked: Iterable[str],
        version: DtrVersion,
        day: date,
    ) -> Json:
        """The Questionnaire that a response contains, with these questions."""
        known = told(form, context.known)
        items = form.pruned(asked, known, conditions=version.form.conditions)
        address = self._packaged.address(version)
        made = form.questionnaire(items, address, version.form.contained_profiles)
        if not version.form.contained_url:
            del made["url"]
        usage = written(context)
        if usage:
            made["useContext"] = usage
        return self._packaged.shaped(made, form.whole, version, day)

    def _next(
        self,
        form: AdaptiveForm,
        context: BegunContext,
        answers: Answers,
        asked: Iterable[str],
        today: date,
    ) -> str | None:
        facts = FormFacts(form, answers, context.known, today, self._zone)
        return next_question(form, self._rules(form, context, today), facts, asked)

    def _rules(
        self, form: AdaptiveForm, context: BegunContext, today: date
    ) -> Sequence[RuleList[PolicyDetermination]]:
        """The rules that the form's answers decide: those of its policy, if it has one."""
        if context.policy is not None and context.program is not None:
            rules = context.policy.rules.get(context.program)
            return [rules] if rules else []
        return [
            rules
            for policy in self._policies
            if policy.in_force_on(today)
            for rules in policy.rules.values()
            if bears_on(form, rules)
        ]

    def _response(
        self,
        sent: AnsweredForm,
        context: BegunContext,
        asked: Iterable[str],
        complete: bool,
        version: DtrVersion,
        now: datetime,
    ) -> Json:
        contained = self.contained(sent.adaptive, context, asked, version, now.date())
        made: Json = dict(sent.response)
        made["contained"] = [contained]
        made["questionnaire"] = f"#{CONTAINED_ID}"
        made["status"] = "completed" if complete else "in-progress"
        made["authored"] = now.isoformat(timespec="seconds")
        return made


def begun_items(asked_items: Sequence[Json]) -> list[Json]:
    """The items of a response that begins: of each question that is asked, without an answer."""
    made: list[Json] = []
    for asked in asked_items:
        item: Any = {"linkId": asked["linkId"], "text": asked["text"]}
        inner = begun_items(asked.get("item", []))
        made.append({**item, "item": inner} if inner else item)
    return made
