"""A client's calls lead to that client's own FHIR servers, and to no other client's."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.contract.answer_rules import parts, stated
from tests.e2e.fetch.conftest import bare
from tests.e2e.fetch.ehrs import Ehr
from tests.e2e.servers import Server, running
from tests.e2e.signing import Signer, ec_signer, entry, write_clients

PATH = "/cds-services/order-sign-crd"


@pytest.fixture
def ehr() -> Iterator[Ehr]:
    listening = Ehr()
    yield listening
    listening.close()


def call(server: Server, signer: Signer, request: dict[str, object]) -> requests.Response:
    headers = {"Content-Type": "application/json", **signer.call(server.base + PATH)}
    return server.post(PATH, data=json.dumps(request), headers=headers)


@pytest.mark.threat("ssrf")
def test_only_the_client_whose_server_it_is_can_have_it_called(tmp_path: Path, ehr: Ehr) -> None:
    owner, other = ec_signer("https://owner.example.org"), ec_signer("https://other.example.org")
    entries = [{**entry(owner), "fhir_servers": [ehr.base]}, entry(other)]
    file = write_clients(tmp_path, *entries)
    request = bare("order-sign/mrs-original-medicare", ehr.base)
    with running(tmp_path, clients_file=file, fetch_budget_ms=20_000) as server:
        refused = call(server, other, request)
        assert refused.status_code == 422
        (issue,) = refused.json()["issue"]
        assert issue["expression"] == ["fhirServer"]
        assert "fhir_servers in the clients file" in issue["diagnostics"]
        assert ehr.base not in refused.text
        assert ehr.requests == []
        assert call(server, owner, request).status_code == 200
        assert ehr.requests != []


def test_a_server_that_no_client_lists_may_be_named_and_is_not_asked(
    tmp_path: Path, ehr: Ehr
) -> None:
    signer = ec_signer("https://owner.example.org")
    file = write_clients(tmp_path, entry(signer))
    request = bare("order-sign/mrs-original-medicare", ehr.base, "coverage")
    with running(tmp_path, clients_file=file, fetch_budget_ms=20_000) as server:
        assert call(server, signer, request).status_code == 200
        assert ehr.requests == []


@pytest.mark.threat("mixed-clients")
def test_the_same_order_of_two_clients_is_asserted_under_two_ids(tmp_path: Path) -> None:
    signers = ec_signer("https://one.example.org"), ec_signer("https://two.example.org")
    file = write_clients(tmp_path, *map(entry, signers))
    request = bare("order-sign/mrs-medicare-advantage", "", "coverage", "patient")
    del request["fhirServer"], request["fhirAuthorization"]
    with running(tmp_path, clients_file=file) as server:
        first, again, other = (
            assertion_ids(call(server, signer, request)) for signer in (*signers[:1], *signers)
        )
    assert len(first) == 1
    assert first == again
    assert not first & other


def assertion_ids(reply: requests.Response) -> set[str]:
    assert reply.status_code == 200, reply.text
    return {i for s in stated(reply.json()) for i in parts(s, "coverage-assertion-id")}
