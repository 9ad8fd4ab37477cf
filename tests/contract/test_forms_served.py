"""The forms are served to everybody, as FHIR, and may be kept for a while."""

from __future__ import annotations

import pytest
from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.operationoutcome import OperationOutcome
from fhir.resources.R4B.questionnaire import Questionnaire
from flask.testing import FlaskClient

BASE = "http://127.0.0.1:8642/fhir/Questionnaire"
IDS = ("abn-record", "advance-notice-record", "organization-determination-request")


@pytest.mark.parametrize("form_id", IDS)
def test_a_form_is_read_by_its_id_under_its_own_canonical(
    client: FlaskClient, form_id: str
) -> None:
    reply = client.get(f"/fhir/Questionnaire/{form_id}")
    assert reply.status_code == 200
    assert reply.content_type == "application/fhir+json"
    form = reply.get_json()
    Questionnaire.model_validate(form)
    assert form["url"] == f"{BASE}/{form_id}"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", IDS),
        (f"?url={BASE}/abn-record", ("abn-record",)),
        (f"?url={BASE}/abn-record&version=1.0.0", ("abn-record",)),
        (f"?url={BASE}/abn-record%7C1.0.0", ("abn-record",)),
        (f"?url={BASE}/abn-record&version=2", ()),
        (f"?url={BASE}/abn-record%7C2", ()),
        ("?url=http://other.example.org/abn-record", ()),
        ("?_format=json&unknown=1", IDS),
    ],
)
def test_a_form_is_found_by_its_canonical(
    client: FlaskClient, query: str, found: tuple[str, ...]
) -> None:
    reply = client.get(f"/fhir/Questionnaire{query}")
    assert reply.content_type == "application/fhir+json"
    bundle = reply.get_json()
    Bundle.model_validate(bundle)
    assert (bundle["type"], bundle["total"]) == ("searchset", len(found))
    assert tuple(e["resource"]["id"] for e in bundle.get("entry", [])) == found


def test_a_form_that_is_not_there_is_an_operation_outcome(client: FlaskClient) -> None:
    reply = client.get("/fhir/Questionnaire/letter")
    assert reply.status_code == 404
    assert reply.content_type == "application/fhir+json"
    OperationOutcome.model_validate(reply.get_json())


def test_a_form_may_be_kept_and_is_sent_again_only_when_it_has_changed(
    client: FlaskClient,
) -> None:
    first = client.get("/fhir/Questionnaire/abn-record")
    assert first.headers["Cache-Control"] == "public, max-age=3600"
    again = client.get(
        "/fhir/Questionnaire/abn-record", headers={"If-None-Match": first.headers["ETag"]}
    )
    assert again.status_code == 304
    assert again.data == b""
    other = client.get("/fhir/Questionnaire/abn-record", headers={"If-None-Match": '"another"'})
    assert other.status_code == 200
