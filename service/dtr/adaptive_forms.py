"""Adaptive forms: for each form whose answers decide a policy's rules, one that asks only these.

It has a canonical of its own, and no file: its first form and its questions are made of the form's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from cards.questionnaires import ADAPTIVE_SUFFIX, Form, Forms
from cards.vocabulary import Json
from service.decision.facts import FactSource, Family
from service.decision.policy import PolicyVersion
from service.dtr.enable_when import Answers, is_enabled

ADAPTIVE = "http://hl7.org/fhir/uv/sdc/StructureDefinition/sdc-questionnaire-questionnaireAdaptive"
_PROFILES = "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition/"
SEARCH_PROFILE = _PROFILES + "dtr-questionnaire-adapt-search"
CONTAINED_ID = "questionnaire"


@dataclass(frozen=True, slots=True)
class AdaptiveForm:
    """An adaptive form: `form` is its first one, without items; `whole` the form that it is of.

    `parents` gives each item's chain of groups, outermost first, by linkId.
    """

    form: Form
    whole: Form
    items: Mapping[str, Json]
    parents: Mapping[str, tuple[str, ...]]

    def conditions(self, link_id: str) -> Iterator[tuple[str, Json]]:
        """The item and its groups, each with its linkId: what enables it stands there."""
        for each in (*self.parents[link_id], link_id):
            yield each, self.items[each]

    def pruned(self, asked: Iterable[str], told: Answers, *, conditions: bool) -> list[Json]:
        """The whole form's items, of its questions those asked alone; groups only around them.

        `told` are answers that need not be asked for. Without `conditions`, enableWhen is left out;
        else what `told` fulfills is, and the conditions on other questions are.
        """
        pruning = _Pruning(frozenset(asked), told, conditions)
        return list(pruning.of(self.whole.resource["item"]))

    def questionnaire(self, items: Sequence[Json], address: str, profiles: Sequence[str]) -> Json:
        """The contained Questionnaire with these items and profiles; `address` is where it is
        continued.
        """
        made: Json = {
            "resourceType": "Questionnaire",
            "id": CONTAINED_ID,
            "meta": {"profile": list(profiles)},
            "text": _narrative(self.form.title),
            **_without(self.first_form(address), "resourceType", "id", "meta"),
            "derivedFrom": [self.form.canonical],
        }
        if items:
            made["item"] = list(items)
        return made

    def first_form(self, address: str) -> Json:
        """The Questionnaire of a package: dtr-questionnaire-adapt-search."""
        return {
            name: [*value, {"url": ADAPTIVE, "valueUrl": address}] if name == "extension" else value
            for name, value in self.form.resource.items()
        }


class AdaptiveForms:
    """The adaptive forms, by id and by the id of the form that they are of."""

    def __init__(self, forms: Forms, policies: Iterable[PolicyVersion]) -> None:
        deciding = {source.questionnaire for p in policies for source in _answers(p)}
        made = (adaptive(form) for form in forms if form.id in deciding)
        self._forms = forms
        self._by_id = MappingProxyType({each.form.id: each for each in made})

    def __iter__(self) -> Iterator[AdaptiveForm]:
        return iter(self._by_id.values())

    def get(self, form_id: str) -> AdaptiveForm | None:
        """The adaptive form with this id of its own."""
        return self._by_id.get(form_id)

    def of(self, form: Form) -> AdaptiveForm | None:
        """The adaptive form that is made of a form."""
        return self._by_id.get(form.id + ADAPTIVE_SUFFIX)

    def answered_by(self, canonical: str) -> Form | None:
        """The whole form of a response to an adaptive one, in any version with the same linkIds."""
        url, bar, version = canonical.strip().partition("|")
        if not url.endswith(ADAPTIVE_SUFFIX):
            return None
        return self._forms.answered_by(url.removesuffix(ADAPTIVE_SUFFIX) + bar + version)

    def by_canonical(self, canonical: str) -> AdaptiveForm | None:
        """The adaptive form of a canonical, in its version if it has one, or None."""
        url, bar, version = canonical.strip().partition("|")
        if not url.endswith(ADAPTIVE_SUFFIX):
            return None
        whole = self._forms.by_canonical(url.removesuffix(ADAPTIVE_SUFFIX) + bar + version)
        return self._by_id.get(whole.id + ADAPTIVE_SUFFIX) if whole else None


def _answers(policy: PolicyVersion) -> Iterator[FactSource]:
    """The answers of forms that a policy's rules use."""
    for rules in policy.rules.values():
        for spec in rules.facts.values():
            if spec.source is not None and spec.source.family is Family.ANSWER:
                yield spec.source


def adaptive(form: Form) -> AdaptiveForm:
    """The adaptive form of a form."""
    url = form.url + ADAPTIVE_SUFFIX
    resource: Json = {
        "resourceType": "Questionnaire",
        "id": form.id + ADAPTIVE_SUFFIX,
        "meta": {"profile": [SEARCH_PROFILE]},
        "extension": list(form.resource.get("extension", ())),
        "url": url,
        **_without(form.resource, "resourceType", "id", "meta", "text", "extension", "url", "item"),
    }
    if "name" in resource:
        resource["name"] += "Adaptive"
    first = Form(form.id + ADAPTIVE_SUFFIX, url, form.version, form.title, form.changed, resource)
    items: dict[str, Json] = {}
    parents: dict[str, tuple[str, ...]] = {}
    _collect(form.resource["item"], (), items, parents)
    return AdaptiveForm(first, form, items, parents)


def _collect(
    found: Sequence[Json],
    above: tuple[str, ...],
    items: dict[str, Json],
    parents: dict[str, tuple[str, ...]],
) -> None:
    for item in found:
        items[item["linkId"]] = item
        parents[item["linkId"]] = above
        _collect(item.get("item", ()), (*above, item["linkId"]), items, parents)


@dataclass(frozen=True, slots=True)
class _Pruning:
    kept: frozenset[str]
    told: Answers
    conditions: bool

    def of(self, items: Sequence[Json]) -> Iterator[Json]:
        for item in items:
            inner = list(self.of(item.get("item", ())))
            if item["linkId"] not in self.kept and not inner:
                continue
            conditions = list(self._conditions(item))
            made = _without(item, "item", "enableWhen", "enableBehavior")
            if conditions:
                made["enableWhen"] = conditions
                if len(conditions) > 1:
                    made["enableBehavior"] = item["enableBehavior"]
            yield {**made, "item": inner} if inner else made

    def _conditions(self, item: Json) -> Iterator[Json]:
        if not self.conditions or is_enabled(item, self.told):
            return
        # A condition on a question that the form does not hold would name nothing.
        yield from (c for c in item.get("enableWhen", ()) if c["question"] in self.kept)


def _without(resource: Mapping[str, Any], *names: str) -> Json:
    return {name: value for name, value in resource.items() if name not in names}


def _narrative(title: str) -> Json:
    plain = title.replace("&", "&amp;").replace("<", "&lt;")
    div = f'<div xmlns="http://www.w3.org/1999/xhtml"><p>{plain}</p></div>'
    return {"status": "generated", "div": div}
