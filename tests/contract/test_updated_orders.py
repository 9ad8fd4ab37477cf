"""An order goes back as it came: every byte of every value, but for our statement among extensions.

The bytes of the reply are compared, not what a JSON reader makes of them: 1.00 and 1.0 are the same
to a reader, and not to a prescription (CRD 2.2.1 resp-37).
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import msgspec
import pytest
from flask.testing import FlaskClient

from tests.conftest import FIXTURES, fixture_text
from tests.contract.calls import FIXTURE_NAMES, SERVICE_OF_HOOK, Json, answer, call_of
from tests.contract.card_kinds import COVERAGE_INFORMATION

Raw = dict[str, msgspec.Raw]
members = msgspec.json.Decoder(Raw).decode
elements = msgspec.json.Decoder(list[msgspec.Raw]).decode


class _Action(msgspec.Struct):
    resource: msgspec.Raw


class _Answer(msgspec.Struct, rename="camel"):
    system_actions: list[_Action]


def compact(raw: bytes) -> bytes:
    """The JSON without the white space between its tokens, which stay as they are."""
    return msgspec.json.format(raw, indent=-1)


def updated_orders(client: FlaskClient, hook: str, body: bytes) -> list[bytes]:
    """The bytes of each resource that comes back."""
    url = f"/cds-services/{SERVICE_OF_HOOK[hook]}"
    reply = client.post(url, data=body, content_type="application/json")
    assert reply.status_code == 200, reply.get_data(as_text=True)
    answered = msgspec.json.decode(reply.get_data(), type=_Answer)
    return [bytes(action.resource) for action in answered.system_actions]


def resources_within(raw: bytes) -> dict[tuple[str, str], bytes]:
    """The bytes of every resource in a request, by type and id; the first one counts."""
    found: dict[tuple[str, str], bytes] = {}
    pending = [raw]
    while pending:
        value = pending.pop(0)
        if value[:1] == b"[":
            pending.extend(bytes(item) for item in elements(value))
        elif value[:1] == b"{":
            fields = members(value)
            named = {k: json.loads(bytes(fields[k])) for k in ("resourceType", "id") if k in fields}
            if len(named) == 2 and named["resourceType"] != "Bundle":
                found.setdefault((named["resourceType"], named["id"]), value)
            else:
                pending.extend(bytes(item) for item in fields.values())
    return found


def check_unchanged(before: bytes, after: bytes) -> None:
    """Assert that nothing but our statement was added; that it stands last, once."""
    sent, back = members(compact(before)), members(after)
    added = [] if "extension" in sent else ["extension"]
    assert list(back) == [*sent, *added]
    for name in sent.keys() - {"extension"}:
        assert bytes(back[name]) == bytes(sent[name]), name
    *others, ours = (bytes(e) for e in elements(bytes(back["extension"])))
    theirs = [bytes(e) for e in elements(bytes(sent.get("extension", msgspec.Raw(b"[]"))))]
    assert others == theirs
    assert json.loads(ours)["url"] == COVERAGE_INFORMATION


@pytest.mark.requirement(
    "crd-2.2.1:resp-37", "crd-2.2.1:resp-47", "cds-hooks-2.0:132", "crd-2.2.1:found-40"
)
@pytest.mark.parametrize("name", FIXTURE_NAMES)
def test_an_updated_order_is_the_received_one_but_for_the_statement(
    client: FlaskClient, name: str
) -> None:
    body = fixture_text(FIXTURES / f"{name}.json").encode()
    received = resources_within(compact(body))
    for after in updated_orders(client, json.loads(body)["hook"], body):
        order = json.loads(after)
        check_unchanged(received[order["resourceType"], order["id"]], after)


ODD = rb"""{ "resourceType" : "ServiceRequest", "zebra": [ ], "id":"odd",
  "status" :"draft", "intent":"order",
  "_intent":{"id":"i","extension":[{"url":"http://example.org/i"}]},
  "quantityQuantity" : { "value" : 1.00 , "unit" : "scan" },
  "extension": [
    {"url":"http://example.org/long", "valueDecimal": 0.10000000000000000555111512312578},
    {"url":"http://example.org/large","valueDecimal":1E+5},
    { "url" : "http://example.org/negative-zero","valueDecimal":-0.0},
    {"url":"http://example.org/integer","n":123456789012345678901234567890}
  ],
  "code":{"coding":[{"system":"http:\/\/www.ama-assn.org\/go\/cpt","code":"76390",
    "display":"MR spectroscopy \u2013 \ud83e\udde0"}]},
  "note":[{"text":"caf\u00e9 \t \u0001 end"}], "subject" : {"reference":"Patient/ann"},
  "empty" : { },
  "contained":[{"resourceType":"Basic","id":"c","weight":2.50}],
  "occurrenceDateTime":"2026-12-01T09:30:00.000+00:00" }"""


def with_order(order: bytes, compacted: bool) -> bytes:
    """An order-sign call with that order in it."""
    request = call_of("order-sign/mrs-medicare-advantage")
    request["context"]["draftOrders"]["entry"] = [{"resource": "the order"}]
    body = json.dumps(request, indent=None if compacted else 2).encode()
    return body.replace(b'"the order"', compact(order) if compacted else order)


@pytest.mark.requirement("crd-2.2.1:resp-37", "cds-hooks-2.0:132")
@pytest.mark.parametrize("compacted", [True, False])
def test_odd_numbers_escapes_and_empty_values_come_back_to_the_byte(
    client: FlaskClient, compacted: bool
) -> None:
    (after,) = updated_orders(client, "order-sign", with_order(ODD, compacted))
    check_unchanged(ODD, after)
    for token in (
        b'"value":1.00,',
        b"0.10000000000000000555111512312578",
        b"1E+5",
        b"-0.0",
        b"123456789012345678901234567890",
        rb"http:\/\/www.ama-assn.org\/go\/cpt",
        rb"MR spectroscopy \u2013 \ud83e\udde0",
        rb"caf\u00e9 \t \u0001 end",
        b'"zebra":[]',
        b'"empty":{}',
        b'"weight":2.50',
        b'"2026-12-01T09:30:00.000+00:00"',
    ):
        assert token in after


@pytest.mark.requirement("crd-2.2.1:found-40")
@pytest.mark.parametrize("name", FIXTURE_NAMES)
def test_no_answer_spends_white_space_between_its_tokens(client: FlaskClient, name: str) -> None:
    body = fixture_text(FIXTURES / f"{name}.json").encode()
    url = f"/cds-services/{SERVICE_OF_HOOK[json.loads(body)['hook']]}"
    reply = client.post(url, data=body, content_type="application/json").get_data()
    assert reply == compact(reply)
    discovery = client.get("/cds-services").get_data()
    assert discovery == compact(discovery)


def annotated(order: Json, *statements: Mapping[str, str]) -> None:
    """Put statements of somebody on an order: by coverage and assertion id."""
    order["extension"] = [
        {
            "url": COVERAGE_INFORMATION,
            "extension": [
                {"url": "coverage", "valueReference": {"reference": s["coverage"]}},
                {"url": "covered", "valueCode": "conditional"},
                {"url": "date", "valueDate": "2026-01-01"},
                {"url": "coverage-assertion-id", "valueString": s["id"]},
            ],
        }
        for s in statements
    ]


@pytest.mark.requirement("crd-2.2.1:covinfo-1")
def test_an_order_carries_one_statement_for_one_coverage(client: FlaskClient) -> None:
    request = call_of("order-sign/mrs-medicare-advantage")
    (entry,) = request["context"]["draftOrders"]["entry"]
    annotated(
        entry["resource"],
        {"coverage": "Coverage/ma-ann", "id": "old-1"},
        {"coverage": "Coverage/elsewhere", "id": "theirs"},
        {"coverage": "Coverage/ma-ann", "id": "old-2"},
    )
    (action,) = answer(client, request).get("systemActions", [])
    by_coverage = [
        next(p["valueReference"]["reference"] for p in e["extension"] if p["url"] == "coverage")
        for e in action["resource"]["extension"]
    ]
    assert by_coverage == ["Coverage/elsewhere", "Coverage/ma-ann"]


@pytest.mark.requirement("crd-2.2.1:resp-35", "crd-2.2.1:resp-36", "crd-2.0.1:267", "crd-2.0.1:268")
@pytest.mark.parametrize("version", ["2.0", "2.2"])
@pytest.mark.parametrize(
    "name",
    [
        "order-sign/mrs-medicare-advantage",
        "order-sign/mrs-original-medicare",
        "order-sign/every-order-type",
        "order-sign/unlisted-code",
        "order-sign/no-date-of-service",
        "order-sign/expired-coverage",
        "order-select/mrs-selected",
        "appointment-book/mrs-appointment",
    ],
)
def test_what_was_stated_before_is_not_stated_again(
    client: FlaskClient, name: str, version: str
) -> None:
    request = call_of(name, version)
    updated = {
        a["resource"]["id"]: a["resource"] for a in answer(client, request).get("systemActions", [])
    }
    assert updated
    context = request["context"]
    for entry in (context.get("draftOrders") or context["appointments"])["entry"]:
        entry["resource"] = updated.get(entry["resource"]["id"], entry["resource"])
    assert answer(client, request).get("systemActions", []) == []
