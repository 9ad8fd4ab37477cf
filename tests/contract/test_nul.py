"""NUL is a 400 with its place, whatever the database: no FHIR string has it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.ehr.fhir_client import _json_object
from service.errors import FetchFailed
from service.fhir.nul import places_of_nul

Read = Callable[[str], dict[str, Any]]
URL = "/cds-services/order-sign-crd"
PACKAGE = "/fhir/Questionnaire/$questionnaire-package"
NAME = "expected names of members without the NUL character"
TEXT = "expected a text without the NUL character"


def changed(call: dict[str, Any], path: tuple[str | int, ...], value: object) -> dict[str, Any]:
    """The call with a value at a path, whose parents exist."""
    *parents, last = path
    node: Any = call
    for step in parents:
        node = node[step]
    node[last] = value
    return call


OPTIONS = "davinci-crd.configuration"
ORDER = ("context", "draftOrders", "entry", 0, "resource")
OF_AN_ORDER = "context.draftOrders.entry[0].resource"
CASES: list[tuple[tuple[str | int, ...], object, str, str]] = [
    (("a\0b",), 1, "", NAME),
    (("prefetch", "a\0b"), None, "prefetch", NAME),
    (
        ("extension",),
        {"davinci-crd.configuration": {"order\0": 1}},
        "extension.davinci-crd.configuration",
        NAME,
    ),
    ((*ORDER, "x\0"), [], OF_AN_ORDER, NAME),
    (("hookInstance",), "a\0b", "hookInstance", TEXT),
    (("context", "patientId"), "ann\0", "context.patientId", TEXT),
    ((*ORDER, "id"), "mrs\0", f"{OF_AN_ORDER}.id", TEXT),
    ((*ORDER, "code", "coding", 0, "code"), "76390\0", f"{OF_AN_ORDER}.code.coding[0].code", TEXT),
    (("fhirServer",), "https://ehr.example.org/\0", "fhirServer", TEXT),
]


@pytest.mark.threat("unreadable-record")
@pytest.mark.parametrize(("path", "value", "place", "expected"), CASES, ids=lambda c: repr(c)[:30])
@pytest.mark.parametrize("version", ["2.0", "2.2"])
def test_nul_in_a_call_is_a_400_with_its_place(
    client: FlaskClient,
    fixture: Read,
    version: str,
    path: tuple[str | int, ...],
    value: object,
    place: str,
    expected: str,
) -> None:
    call = fixture("order-sign/mrs-medicare-advantage")
    call["extension"] = {"davinci-crd.requestedVersion": version}
    reply = client.post(URL, json=changed(call, path, value))
    assert reply.status_code == 400
    assert reply.json is not None
    (issue,) = reply.json["issue"]
    assert issue["diagnostics"] == (f"{place}: {expected}" if place else expected)
    assert "\0" not in reply.text and "u0000" not in reply.text


@pytest.mark.threat("unreadable-record")
@pytest.mark.parametrize(
    ("url", "body", "place"),
    [
        (f"{URL}/feedback", {"feedback": [{"card": "a\0"}]}, "feedback[0].card"),
        (f"{URL}/feedback", {"feedback": [{"a\0": 1}]}, "feedback[0]"),
        (
            PACKAGE,
            {"resourceType": "Parameters", "parameter": [{"name": "context", "valueString": "\0"}]},
            "parameter[0].valueString",
        ),
    ],
)
def test_nul_in_another_body_is_a_400_with_its_place(
    client: FlaskClient, url: str, body: dict[str, Any], place: str
) -> None:
    reply = client.post(url, json=body)
    assert reply.status_code == 400
    assert reply.json is not None
    assert reply.json["issue"][0]["expression"] == [place]


def test_a_backslash_before_it_is_a_text_and_no_nul() -> None:
    body = json.dumps({"a": "\\u0000"}).encode()
    assert b"u0000" in body
    assert places_of_nul(json.loads(body), body) == []


def test_of_many_places_the_first_are_told() -> None:
    data = {"list": ["\0"] * 1000}
    assert len(places_of_nul(data, json.dumps(data).encode())) == 20


def test_what_an_ehr_answers_with_nul_is_no_fhir() -> None:
    with pytest.raises(FetchFailed, match="not-fhir"):
        _json_object(b'{"resourceType": "Patient", "id": "a\\u0000"}')
