"""Summary of the orders in a form: a contained Binary that an answer refers to (DTR 2.2 spec-160).

A form asks for it by an item of type reference with this linkId.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

from cards.fhir_json import complex_part, part
from cards.naming import codes_phrase, services_phrase
from cards.questionnaires.response_draft import INFORMATION_ORIGIN
from cards.vocabulary import Json
from service.response.form_filler import named_services
from service.response.response_context import Decided

LINK_ID = "order-summary"
CONTAINED_REFERENCE = "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition/containedReference"
_XHTML = "application/xhtml+xml"


def with_order_summary(
    response: Json, items: Sequence[Json], orders: Sequence[Decided], origin: str
) -> Json:
    """The response with the summary of its orders, where one of the form's items asks for it.

    `items` are the form's; `origin` is the version's code for an answer of the server.
    """
    chain = _chain(items)
    lines = list(_lines(orders))
    if chain is None or not lines:
        return response
    *groups, item = chain
    reference = {"reference": f"#{LINK_ID}"}
    source = complex_part(INFORMATION_ORIGIN, [part("source", "Code", origin)])
    answer = {
        "extension": [source, part(CONTAINED_REFERENCE, "Boolean", True)],
        "valueReference": reference,
    }
    answered = {"linkId": LINK_ID, "text": item["text"], "answer": [answer]}
    made: Json = {}
    for name, value in response.items():
        if name == "extension":
            made["contained"] = [_binary(lines)]  # at its place in FHIR's sequence of elements
        made[name] = value
    made["item"] = _placed(made["item"], [g["linkId"] for g in groups], answered, items)
    return made


def _chain(items: Sequence[Json]) -> list[Json] | None:
    """The item that asks for the summary, after its groups, outermost first."""
    for item in items:
        if item["linkId"] == LINK_ID and item["type"] == "reference":
            return [item]
        inner = _chain(item.get("item", ()))
        if inner is not None:
            return [item, *inner]
    return None


def _placed(
    answered: Sequence[Json], groups: Sequence[str], answer: Json, form: Sequence[Json]
) -> list[Json]:
    """The answer among the items of its group, in the form's order."""
    if groups:
        inner = next(item for item in form if item["linkId"] == groups[0]).get("item", ())
        return [
            {**item, "item": _placed(item.get("item", ()), groups[1:], answer, inner)}
            if item["linkId"] == groups[0]
            else item
            for item in answered
        ]
    order = {item["linkId"]: n for n, item in enumerate(form)}
    return sorted([*answered, answer], key=lambda item: order[item["linkId"]])


def _lines(orders: Sequence[Decided]) -> Iterator[str]:
    for decided in orders:
        services = named_services((decided.determination,))
        named = f"{services_phrase(services)} ({codes_phrase(services)})" if services else ""
        day = decided.determination.order.service_day
        told = [named, *decided.details.diagnoses, str(day) if day else ""]
        yield "; ".join(text for text in told if text)


def _binary(lines: Sequence[str]) -> Json:
    shown = "".join(f"<li>{escape(line)}</li>" for line in lines)
    narrative: Any = f'<div xmlns="http://www.w3.org/1999/xhtml"><ul>{shown}</ul></div>'
    return {
        "resourceType": "Binary",
        "id": LINK_ID,
        "contentType": _XHTML,
        "data": b64encode(narrative.encode()).decode(),
    }
