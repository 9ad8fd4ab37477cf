"""The forms are served to everybody, as FHIR, and may be kept for a while."""

from __future__ import annotations

import pytest
from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.operationoutcome import OperationOutcome
from fhir.resources.R4B.questionnaire import Questionnaire
from flask.testing import FlaskClient

BASE = "http://127.0.0.1:8642/fhir/Questionnaire"
IDS = ("abn-record", "organization-determination-request")


@pytest.mark.parametrize("form_id", IDS)
def test_a_form_is_read_by_its_id_under_its_own_canonical(
    client: FlaskClient, form_id: str
) -> None:
    reply = client.get(f"/fhir/Questionnaire/{form_id}")
    assert reply.status_code == 200
    assert reply.content_type == "application/fhir+json"
    form = reply.get_json()
    Questionnaire.model_validate(form)
    assert form["url"] == f"https://covercard.example/fhir/Questionnaire/{form_id}"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", IDS),
        (f"?url={BASE}/abn-record", ("abn-record",)),
        (f"?url={BASE}/abn-record&version=1.2.0", ("abn-record",)),
        (f"?url={BASE}/abn-record%7C1.2.0", ("abn-record",)),
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


@pytest.mark.threat("visitor-flood")
@pytest.mark.parametrize("query", ["&".join(["title=zz"] * 101), "_id=" + "," * 100])
def test_a_search_by_masses_of_values_is_refused(client: FlaskClient, query: str) -> None:
    """Each of them would be compared with each form's, for anybody."""
    reply = client.get(f"/fhir/Questionnaire?{query}")
    assert reply.status_code == 400
    OperationOutcome.model_validate(reply.get_json())


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


@pytest.mark.parametrize(
    ("query", "found", "searched"),
    [
        ("_id=abn-record", ("abn-record",), "?_id=abn-record"),
        ("_id=abn-record,letter", ("abn-record",), "?_id=abn-record%2Cletter"),
        ("_id=letter", (), "?_id=letter"),
        ("status=active", IDS, "?status=active"),
        ("status=draft,retired", (), "?status=draft%2Cretired"),
        ("_id=abn-record&status=active", ("abn-record",), "?_id=abn-record&status=active"),
        ("_id=abn-record&_id=organization-determination-request", (), None),
        ("version=1.2.0", IDS[:1], "?version=1.2.0"),
        ("version=1.3.0", IDS[1:], "?version=1.3.0"),
        ("unknown=1&_format=json&_count=50", IDS, ""),
        ("url=", IDS, ""),
    ],
)
def test_forms_are_searched_as_fhir_clients_do(
    client: FlaskClient, query: str, found: tuple[str, ...], searched: str | None
) -> None:
    bundle = client.get(f"/fhir/Questionnaire?{query}").get_json()
    Bundle.model_validate(bundle)
    assert tuple(e["resource"]["id"] for e in bundle.get("entry", [])) == found
    if searched is not None:
        assert bundle["link"] == [{"relation": "self", "url": f"{BASE}{searched}"}]


def test_a_client_that_prefers_it_is_told_of_parameters_that_nobody_knows(
    client: FlaskClient,
) -> None:
    prefer = {"Prefer": "handling=strict"}
    reply = client.get("/fhir/Questionnaire?subject-type=Patient", headers=prefer)
    assert reply.status_code == 400
    assert reply.content_type == "application/fhir+json"
    (issue,) = reply.get_json()["issue"]
    assert "_id" in issue["diagnostics"]
    known = client.get("/fhir/Questionnaire?_id=abn-record&_format=json", headers=prefer)
    assert known.status_code == 200


@pytest.mark.parametrize(
    "address", ["/fhir/Questionnaire/", "/fhir/Questionnaire/abn-record/", "/cds-services/"]
)
def test_a_slash_at_the_end_changes_nothing(client: FlaskClient, address: str) -> None:
    reply = client.get(address)
    assert reply.status_code == 200
    assert reply.get_json() == client.get(address.rstrip("/")).get_json()
