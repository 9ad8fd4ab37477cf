"""A client's calls lead to that client's own FHIR servers, and to no other client's."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

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


def call(server: Server, signer: Signer, request: dict[str, object]) -> None:
    headers = {"Content-Type": "application/json", **signer.call(server.base + PATH)}
    reply = server.post(PATH, data=json.dumps(request), headers=headers)
    assert reply.status_code == 200


@pytest.mark.threat("ssrf")
def test_only_the_client_whose_server_it_is_can_have_it_called(tmp_path: Path, ehr: Ehr) -> None:
    owner, other = ec_signer("https://owner.example.org"), ec_signer("https://other.example.org")
    entries = [{**entry(owner), "fhir_servers": [ehr.base]}, entry(other)]
    file = write_clients(tmp_path, *entries)
    request = bare("order-sign/mrs-original-medicare", ehr.base)
    with running(tmp_path, clients_file=file, fetch_budget_ms=20_000) as server:
        call(server, other, request)
        assert ehr.requests == []
        call(server, owner, request)
        assert ehr.requests != []
