"""View of an answer, for display: cards, changes of orders, or issues."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from cards.coverage_information.reader import is_coverage_information, read_extension
from service.errors import BodyTooLarge, MalformedRequest
from service.fhir.extension_display import value_in_words
from service.fhir.resources import Resources


class ShownCoding(msgspec.Struct, frozen=True):
    """A coding of a topic or of an override reason."""

    code: str = ""
    system: str = ""
    display: str = ""


class ShownSource(msgspec.Struct, frozen=True):
    label: str = ""
    topic: ShownCoding | None = None


class ShownLink(msgspec.Struct, frozen=True):
    label: str
    url: str

    @property
    def safe(self) -> bool:
        """Whether it is a web address, safe for a click."""
        return self.url.startswith(("http://", "https://"))


class ShownAction(msgspec.Struct, frozen=True, rename="camel"):
    type: str
    description: str = ""
    resource: dict[str, Any] | None = None
    resource_id: str | None = None


class ShownSuggestion(msgspec.Struct, frozen=True):
    label: str
    uuid: str = ""
    actions: list[ShownAction] = []


class ShownCard(msgspec.Struct, frozen=True, rename="camel"):
    summary: str
    source: ShownSource
    indicator: str = "info"
    uuid: str = ""
    detail: str = ""
    links: list[ShownLink] = []
    suggestions: list[ShownSuggestion] = []
    override_reasons: list[ShownCoding] = []


class ShownIssue(msgspec.Struct, frozen=True):
    diagnostics: str = ""
    code: str = ""


class ShownAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """The body of a 200, or the OperationOutcome of an error."""

    cards: list[ShownCard] = []
    system_actions: list[ShownAction] = []
    issue: list[ShownIssue] = []


@dataclass(frozen=True, slots=True)
class OrderChange:
    """The changes of an order by an action.

    `coverage_information` is what was added, each as (element, value in words) rows;
    `others` names the elements that differ besides; `known` is whether the order came with the
    request, so that the two could be compared at all.
    """

    order: str
    description: str
    coverage_information: tuple[tuple[tuple[str, str], ...], ...]
    others: tuple[str, ...]
    known: bool


LONGEST_DETAILS = 50_000
"""Characters of all details of an answer: Markdown takes a hundred times as long as other text."""


def read_answer(text: str) -> ShownAnswer:
    """The answer in `text`.

    Raises MalformedRequest for another text, BodyTooLarge for details that no answer here has.
    """
    try:
        answer = msgspec.json.decode(text, type=ShownAnswer)
    except (msgspec.DecodeError, UnicodeError):
        raise MalformedRequest("expected the body of an answer to a hook call", "answer") from None
    if sum(len(card.detail) for card in answer.cards) > LONGEST_DETAILS:
        raise BodyTooLarge(
            f"expected details of at most {LONGEST_DETAILS} characters together", "answer.cards"
        )
    return answer


def order_changes(answer: ShownAnswer, sent: Resources | None) -> Iterator[OrderChange]:
    """The changes of each systemAction, compared with the `sent` resources."""
    for action in answer.system_actions:
        if action.resource is not None:
            yield _change(action, action.resource, sent)


def _change(action: ShownAction, after: Mapping[str, Any], sent: Resources | None) -> OrderChange:
    order = f"{after.get('resourceType')}/{after.get('id')}"
    found = sent.get(order) if sent else None
    before: Mapping[str, Any] = found.data if found else {}
    extensions, extensions_before = _extensions(after), _extensions(before)
    written = {_written(e) for e in extensions}
    written_before = {_written(e) for e in extensions_before}
    added = [e for e in extensions if _written(e) not in written_before]
    kept = [e for e in extensions_before if _written(e) in written]
    others = [
        key
        for key in dict.fromkeys([*before, *after])
        if key != "extension" and before.get(key) != after.get(key)
    ]
    if kept != extensions_before or not all(map(is_coverage_information, added)):
        others.append("extension")
    return OrderChange(
        order=order,
        description=action.description,
        coverage_information=tuple(_rows(e) for e in added if is_coverage_information(e)),
        others=tuple(others) if found else (),
        known=found is not None,
    )


def _written(extension: Mapping[str, Any]) -> bytes:
    """The same for equal extensions: thousands are compared by it."""
    return msgspec.json.encode(extension, order="deterministic")


def _extensions(resource: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    written = resource.get("extension")
    return [e for e in written if isinstance(e, Mapping)] if isinstance(written, list) else []


def _rows(extension: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((part.url, value_in_words(part.json)) for part in read_extension(extension).parts)
