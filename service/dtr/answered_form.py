"""Input of $next-question: a QuestionnaireResponse with the adaptive form that it contains.

What comes back must be what was sent: the questions as they stand on file, with valid answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, TypeGuard

from cards.vocabulary import Json
from service.crd.call_limits import CallLimits
from service.crd.hook_request import parse_json
from service.crd.validation import Validator, check_depth, with_fhir
from service.dtr.adaptive_forms import AdaptiveForm, AdaptiveForms
from service.dtr.begun_context import BegunContext, PolicyVersions, read, told
from service.dtr.dtr_version import DtrVersion
from service.dtr.enable_when import Answers, is_enabled
from service.dtr.packaged_forms import PackagedForms
from service.errors import MalformedRequest
from service.fhir.document import without_nulls

_validator = Validator(with_fhir({"$ref": "#/$defs/resource"}))
_OPEN = frozenset({"in-progress", "completed", "amended"})

_VALUES: Mapping[str, tuple[str, type | tuple[type, ...]]] = {
    "boolean": ("valueBoolean", bool),
    "decimal": ("valueDecimal", (int, float)),
    "integer": ("valueInteger", int),
    "date": ("valueDate", str),
    "dateTime": ("valueDateTime", str),
    "time": ("valueTime", str),
    "string": ("valueString", str),
    "text": ("valueString", str),
    "url": ("valueUri", str),
    "choice": ("valueCoding", dict),
    "open-choice": ("valueCoding", dict),
    "quantity": ("valueQuantity", dict),
    "reference": ("valueReference", dict),
    "attachment": ("valueAttachment", dict),
}
"""By type of item, the element of an answer and the JSON that it holds."""
_INTEGERS = 2**31
"""FHIR's integers have 32 bits: they lie below it."""


@dataclass(frozen=True, slots=True)
class AnsweredForm:
    """A response to an adaptive form. `response` is its plain data; `asked` are the questions that
    the contained Questionnaire holds, by linkId; `context` is that Questionnaire's. `waiting`: no
    question has been answered yet, though one must be.
    """

    response: Mapping[str, Any]
    adaptive: AdaptiveForm
    asked: frozenset[str]
    answers: Answers
    context: BegunContext
    waiting: bool


@dataclass(frozen=True, slots=True)
class FormReader:
    """Reading and checking of responses to adaptive forms."""

    adaptive_forms: AdaptiveForms
    packaged: PackagedForms
    policies: PolicyVersions
    limits: CallLimits

    def read(self, body: bytes, version: DtrVersion, day: date) -> AnsweredForm:
        """The response in `body`, bare or in a Parameters resource, in this version of DTR.

        Raises MalformedRequest (400) that names the item which is not valid (DTR 2.2 spec-147).
        """
        self.limits.check_values(body)
        data = parse_json(body)
        check_depth(data)
        data = without_nulls(data, body)
        _validator.check(data)
        response, at = _response(data)
        contained, place = _contained(response, at)
        adaptive = self._form(contained, place)
        asked = frozenset(_questions(contained.get("item", ()), f"{place}.item", adaptive))
        context = read(contained.get("useContext"), f"{place}.useContext", self.policies)
        known = told(adaptive, context.known)
        items = adaptive.pruned(asked, known, conditions=version.form.conditions)
        expected = self.packaged.shaped({"item": items}, adaptive.whole, version, day)
        _same(contained.get("item", []), expected["item"], f"{place}.item")
        answers, missing = _checked(response, at, adaptive, asked, known)
        if missing and answers:
            link_id, at = missing
            raise MalformedRequest(f"expected an answer to the item with linkId {link_id}", at)
        return AnsweredForm(
            response=response,
            adaptive=adaptive,
            asked=asked,
            answers=answers,
            context=context,
            waiting=missing is not None,
        )

    def _form(self, contained: Mapping[str, Any], place: str) -> AdaptiveForm:
        derived = contained.get("derivedFrom")
        canonical = derived[0] if isinstance(derived, list) and derived else contained.get("url")
        url, _, version = str(canonical).partition("|")
        adaptive = self.adaptive_forms.get(url.rpartition("/")[2])
        if adaptive is None or adaptive.form.url != url:
            raise MalformedRequest(
                "expected an adaptive form of this payer", f"{place}.derivedFrom"
            )
        version = version or str(contained.get("version"))
        if version != adaptive.form.version:
            raise MalformedRequest(
                "expected the form's present version: begin it anew", f"{place}.derivedFrom"
            )
        return adaptive


def _response(data: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """The QuestionnaireResponse and its place, "" for the body itself."""
    if data.get("resourceType") == "Parameters":
        for i, parameter in enumerate(data.get("parameter") or ()):
            resource = parameter.get("resource") if isinstance(parameter, Mapping) else None
            if _is_a(resource, "QuestionnaireResponse"):
                return resource, f"parameter[{i}].resource."
    elif data.get("resourceType") == "QuestionnaireResponse":
        return data, ""
    raise MalformedRequest("expected a QuestionnaireResponse")


def _is_a(resource: Any, kind: str) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(resource, Mapping) and resource.get("resourceType") == kind


def _contained(response: Mapping[str, Any], at: str) -> tuple[Mapping[str, Any], str]:
    """The contained Questionnaire that the response refers to, with its place."""
    status, reference = response.get("status"), response.get("questionnaire")
    if status not in _OPEN:
        raise MalformedRequest("expected a response in progress", f"{at}status")
    if not isinstance(reference, str) or not reference.startswith("#"):
        raise MalformedRequest("expected the contained Questionnaire", f"{at}questionnaire")
    contained = response.get("contained")
    for i, resource in enumerate(contained if isinstance(contained, list) else ()):
        if _is_a(resource, "Questionnaire") and f"#{resource.get('id')}" == reference:
            return resource, f"{at}contained[{i}]"
    raise MalformedRequest("expected the contained Questionnaire", f"{at}contained")


def _questions(items: Any, place: str, adaptive: AdaptiveForm) -> Iterator[str]:
    """The linkIds of the questions that items hold. Raises where one is not of the form."""
    for i, item in enumerate(items if isinstance(items, list) else ()):
        link_id = item.get("linkId") if isinstance(item, Mapping) else None
        if not isinstance(link_id, str) or link_id not in adaptive.items:
            raise MalformedRequest("expected an item of this form", f"{place}[{i}]")
        inner = adaptive.items[link_id].get("item")
        if adaptive.items[link_id]["type"] != "group":
            yield link_id
        if inner:
            yield from _questions(item.get("item"), f"{place}[{i}].item", adaptive)


def _same(sent: Any, expected: Any, place: str) -> None:
    """Raise MalformedRequest at the first place where items are not what was asked."""
    if not isinstance(sent, list) or len(sent) != len(expected):
        raise MalformedRequest("expected the items as they were sent", place)
    for i, (item, wanted) in enumerate(zip(sent, expected, strict=True)):
        at = f"{place}[{i}]"
        if not isinstance(item, Mapping) or item.get("linkId") != wanted["linkId"]:
            raise MalformedRequest("expected the items as they were sent", at)
        _same(item.get("item", []), wanted.get("item", []), f"{at}.item")
        if _plain(item) != _plain(wanted):
            raise MalformedRequest("expected the item as it was sent", at)


def _plain(value: Any) -> Any:
    """The part that must come back as it was: without elements' ids, and without inner items."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items() if k not in ("id", "item")}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return value


def _checked(
    response: Mapping[str, Any],
    at: str,
    adaptive: AdaptiveForm,
    asked: frozenset[str],
    known: Answers,
) -> tuple[Answers, tuple[str, str] | None]:
    """The response's answers, each valid by its item's rules; and a question that must be answered
    and is not, by linkId and place, if there is one.
    """
    answers: dict[str, list[Any]] = {}
    places: dict[str, str] = {}
    for link_id, item, place in _answered(response.get("item"), f"{at}item"):
        of_form = adaptive.items.get(link_id)
        is_asked = link_id in asked or (of_form is not None and of_form["type"] == "group")
        if of_form is None or not is_asked:
            raise MalformedRequest("expected an item that was asked", place)
        if link_id in places and not of_form.get("repeats"):
            raise MalformedRequest("expected each item once", place)
        places[link_id] = place
        given = item.get("answer", [])
        if given:
            answers[link_id] = list(_values(given, of_form, f"{place}.answer"))
    enabling = {**known, **answers}
    for link_id in asked:
        required = adaptive.items[link_id].get("required") is True
        if required and link_id not in answers and _is_asked_now(adaptive, link_id, enabling):
            return answers, (link_id, places.get(link_id, f"{at}item"))
    return answers, None


def _is_asked_now(adaptive: AdaptiveForm, link_id: str, answers: Answers) -> bool:
    """Whether an item and all of its groups are enabled."""
    return all(is_enabled(item, answers) for _, item in adaptive.conditions(link_id))


def _answered(items: Any, place: str) -> Iterator[tuple[str, Mapping[str, Any], str]]:
    if items is not None and not isinstance(items, list):
        raise MalformedRequest("expected a list of items", place)
    for i, item in enumerate(items or ()):
        at = f"{place}[{i}]"
        link_id = item.get("linkId") if isinstance(item, Mapping) else None
        if not isinstance(link_id, str):
            raise MalformedRequest("expected a linkId", at)
        yield link_id, item, at
        yield from _answered(item.get("item"), f"{at}.item")
        answers = item.get("answer")
        for j, answer in enumerate(answers if isinstance(answers, list) else ()):
            if isinstance(answer, Mapping):
                yield from _answered(answer.get("item"), f"{at}.answer[{j}].item")


def _values(answers: Any, item: Json, place: str) -> Iterator[Any]:
    if not isinstance(answers, list) or (len(answers) > 1 and not item.get("repeats")):
        raise MalformedRequest("expected one answer", place)
    element, kind = _VALUES.get(item["type"], ("value", object))
    for i, answer in enumerate(answers):
        at = f"{place}[{i}]"
        given: Mapping[str, Any] = answer if isinstance(answer, Mapping) else {}
        if sum(name.startswith("value") for name in given) > 1:
            raise MalformedRequest("expected one value", at)
        if item["type"] == "open-choice" and isinstance(given.get("valueString"), str):
            yield given["valueString"]
            continue
        value = given.get(element)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise MalformedRequest(f"expected {element}", at)
        if not _is_well_formed(value, item) or not _is_an_option(value, item):
            raise MalformedRequest(f"expected a valid {element}", at)
        yield value


def _is_well_formed(value: Any, item: Json) -> bool:
    if item["type"] == "integer":
        return isinstance(value, int) and abs(value) < _INTEGERS
    if item["type"] == "date":
        try:
            date.fromisoformat(value if len(value) == 10 else f"{value}-01-01"[:10])
        except ValueError:
            return False
    if item["type"] == "dateTime":
        try:
            datetime.fromisoformat(value)
        except ValueError:
            return False
    longest = item.get("maxLength")
    return longest is None or not isinstance(value, str) or len(value) <= longest


def _is_an_option(value: Any, item: Json) -> bool:
    options = [o["valueCoding"] for o in item.get("answerOption", ()) if "valueCoding" in o]
    if item["type"] != "choice" or not options:
        return True
    return any(
        (o.get("system"), o["code"]) == (value.get("system"), value.get("code")) for o in options
    )
