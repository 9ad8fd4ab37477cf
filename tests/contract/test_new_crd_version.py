"""A version of CRD is one object: what is registered is declared, asked for and answered in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from cards.coverage_information import CoverageInformation, DocNeeded
from cards.coverage_information.parts import closing_parts, extension
from cards.coverage_information.reader import (
    WrittenCoverageInformation,
    read_coverage_information,
)
from cards.fhir_json import part
from cards.questionnaires.response_draft import DtrShape
from cards.texts.wording import ReasonLabels
from service.bootstrap.app import RECORDER, create_app
from service.crd.crd_version import CrdVersion
from service.crd.versions import VERSIONS
from service.errors import ConfigurationError, MalformedRequest
from tests.conftest import NOW, in_folder
from tests.contract.calls import Json, answer, call_of, post

TOPICS = "http://example.org/CodeSystem/topics"
NOTICE_IN_IT = "order-sign/mrs-original-medicare"


def written(info: CoverageInformation, labels: ReasonLabels) -> Json:
    parts = [
        part("coverage", "Reference", {"reference": info.coverage}),
        part("covered", "Code", info.covered),
        *(part("doc-needed", "Code", d.doc_needed) for d in info.documentation),
        *closing_parts(info),
    ]
    return extension(parts)


MADE_UP = CrdVersion(
    name="9.3",
    refusal=MalformedRequest,
    needs_one_coverage=False,
    topic_system=TOPICS,
    dtr=DtrShape("http://example.org/CodeSystem/purposes", "auto", coverage_is_context=True),
    doc_needed={needed: f"{needed}-made-up" for needed in DocNeeded},
    coverage_information=written,
    task_tells_after_completion=True,
    empty_system_actions=True,
    launch_has_suggestion=False,
)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    """The service, which speaks one version more."""
    settings = in_folder(tmp_path_factory.mktemp("records"), workbench="on")
    versions = (*VERSIONS, MADE_UP)
    app = create_app(settings, clock=lambda: NOW, crd_versions=versions)
    yield app.test_client()
    app.extensions[RECORDER].stop()


def information(answered: Json) -> list[WrittenCoverageInformation]:
    return [
        info
        for action in answered["systemActions"]
        for info in read_coverage_information(action["resource"])
    ]


@pytest.mark.requirement("crd-2.2.1:dev-1")
def test_it_is_declared_by_every_service(client: FlaskClient) -> None:
    declared = [
        s["extension"]["davinci-crd.version"] for s in client.get("/cds-services").json["services"]
    ]
    assert declared
    assert all(versions == ["2.0", "2.2", "9.3"] for versions in declared)


def test_an_order_sign_with_a_notice_is_answered_in_it(client: FlaskClient) -> None:
    answered = answer(client, call_of(NOTICE_IN_IT, "9.3.1"))
    (info,) = information(answered)
    assert info.covered == "conditional"
    assert [p.value for p in info.parts if p.url == "doc-needed"] == ["patient-made-up"]
    assert {c["source"]["topic"]["system"] for c in answered["cards"]} == {TOPICS}
    assert [c["source"]["topic"]["code"] for c in answered["cards"]] == ["guideline", "claim"]


@pytest.mark.parametrize("version", [v.name for v in VERSIONS])
def test_the_other_versions_are_answered_as_before(client: FlaskClient, version: str) -> None:
    (info,) = information(answer(client, call_of(NOTICE_IN_IT, version)))
    assert info.covered == "conditional"


def test_its_refusal_is_the_one_that_it_names(client: FlaskClient) -> None:
    request = call_of(NOTICE_IN_IT, "9.3")
    del request["context"]["patientId"]
    assert post(client, request).status_code == MADE_UP.refusal.status


def test_the_workbench_offers_it(client: FlaskClient) -> None:
    page = client.get("/").get_data(as_text=True)
    assert '<option value="9.3">9.3</option>' in page
    assert '<option value="2.0 2.2 9.3">2.0 and 2.2 and 9.3, side by side</option>' in page


def test_one_that_lacks_a_code_stops_the_start(tmp_path: Path) -> None:
    lacking = replace(MADE_UP, doc_needed={DocNeeded.ADMIN: "admin"})
    with pytest.raises(ConfigurationError, match=r"CRD version '9\.3': doc_needed has no code"):
        create_app(in_folder(tmp_path), crd_versions=(*VERSIONS, lacking))
