"""The request to the plan says that who performs it is outside the network, from import to form."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from click.testing import CliRunner

from service.cli import cli
from tests.conftest import fixture_text
from tests.contract.answer_rules import check_answer, parts, stated
from tests.e2e.servers import ROOT, Server, running
from tests.filling import answers_of

Json = dict[str, Any]
FORM = "https://covercard.example/fhir/Questionnaire/organization-determination-request"
INSIDE, OUTSIDE = "9999998310", "9999999029"
US_NPI = "http://hl7.org/fhir/sid/us-npi"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service whose payer has a contract with one performer, by records imported as files."""
    folder = tmp_path_factory.mktemp("network")
    url = f"sqlite:///{folder}/payer-data.sqlite3"
    network = folder / "network.csv"
    network.write_text(f"payer,npi\nexample-health-plan,{INSIDE}\n", "utf-8")
    runner = CliRunner(env={"COVERCARD_PAYER_DATA": url})
    members = ROOT / "examples" / "payer-data" / "members.csv"
    imports = (["payer-data", "import", str(file)] for file in (members, network))
    for arguments in (["db", "upgrade"], *imports):
        done = runner.invoke(cli, arguments)
        assert done.exit_code == 0, done.output
    with running(folder, payer_data=url) as started:
        yield started


def performed_by(npi: str) -> Json:
    path = ROOT / "fhir_fixtures" / "order-sign" / "mrs-medicare-advantage.json"
    request: Json = json.loads(fixture_text(path, datetime.now(UTC).date()))
    del request["fhirServer"], request["fhirAuthorization"]
    (order,) = (e["resource"] for e in request["context"]["draftOrders"]["entry"])
    order["performer"] = [{"identifier": {"system": US_NPI, "value": npi}}]
    return request


def begun(server: Server, request: Json) -> dict[str, Any]:
    """The answers that the payer has filled in, by linkId, after the order was signed."""
    reply = server.post("/cds-services/order-sign-crd", json=request)
    assert reply.status_code == 200, reply.text
    answer: Json = reply.json()
    check_answer(answer)
    (statement,) = stated(answer)
    assert parts(statement, "questionnaire") == [f"{FORM}|1.3.0"]
    coverage, payer = (e["resource"] for e in request["prefetch"]["coverage"]["entry"])
    given = [
        {"name": "coverage", "resource": coverage},
        {"name": "order", "resource": answer["systemActions"][0]["resource"]},
        {"name": "referenced", "resource": request["prefetch"]["patient"]},
        {"name": "referenced", "resource": payer},
    ]
    body = {"resourceType": "Parameters", "parameter": given}
    package = server.post("/fhir/Questionnaire/$questionnaire-package", json=body)
    assert package.status_code == 200, package.text
    (bundle,) = [p["resource"] for p in package.json()["parameter"] if "resource" in p][:1]
    (response,) = [
        e["resource"]
        for e in bundle["entry"]
        if e["resource"]["resourceType"] == "QuestionnaireResponse"
    ]
    return dict(answers_of(response["item"]))


def test_a_performer_outside_the_network_is_told_in_the_request(server: Server) -> None:
    told = begun(server, performed_by(OUTSIDE))
    assert told["performing-network"]["valueCoding"]["code"] == "out-of-network"
    assert told["performing-npi"]["valueString"] == OUTSIDE
    assert told["member-id"]["valueString"] == "TEST-MEMBER-0001"
    assert told["service-code"]["valueString"] == "76390"
    assert told["send-to"]["valueString"] == "fax +1-555-555-0101"


def test_of_a_performer_with_a_contract_the_request_says_nothing_of_the_network(
    server: Server,
) -> None:
    told = begun(server, performed_by(INSIDE))
    assert told["performing-npi"]["valueString"] == INSIDE
    assert "performing-network" not in told
