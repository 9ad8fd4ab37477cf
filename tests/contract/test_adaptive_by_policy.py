"""A policy says that its form is adaptive: the answer names it, and the package brings it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.bootstrap.app import RECORDER, create_app
from service.errors import LibraryError
from service.policies.library import load_policies
from tests.conftest import NOW, in_folder
from tests.contract.answer_rules import parts
from tests.contract.test_example_policies import CPT, EXAMPLES, order_of, said
from tests.contract.test_package_contents import resources
from tests.contract.test_questionnaire_package import asked

Json = dict[str, Any]
FORM = "https://covercard.example/fhir/Questionnaire/conservative-care"
VERSIONS = ("2.0", "2.2")


def changed(folder: Path, policy: str, old: str, new: str) -> Path:
    """The example policies with a change in one of them."""
    policies = shutil.copytree(EXAMPLES, folder / "policies")
    file = policies / policy / "2026-01-01.yaml"
    text = file.read_text("utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), "utf-8")
    return policies


@pytest.fixture
def client(tmp_path: Path) -> Iterator[FlaskClient]:
    policies = changed(
        tmp_path, "lumbar-mri", "    purpose: withpa\n", "    purpose: withpa\n    adaptive: true\n"
    )
    app = create_app(in_folder(tmp_path, policies_dir=policies), clock=lambda: NOW)
    yield app.test_client()
    app.extensions[RECORDER].stop()


@pytest.mark.form_rule("dtr-adaptive-by-policy")
@pytest.mark.parametrize("version", VERSIONS)
def test_the_order_names_the_adaptive_form_and_gets_it(client: FlaskClient, version: str) -> None:
    request = order_of(CPT, "72148", "M54.50")
    (canonical,) = parts(said(client, request, version), "questionnaire")
    assert canonical == f"{FORM}-adaptive|1.0.0"
    payer = request["prefetch"]["coverage"]["entry"][1]["resource"]
    for more in ((), (("questionnaire", {"valueCanonical": canonical}),)):
        body = asked(request, ("referenced", payer), *more)
        url = f"/fhir/{version}/Questionnaire/$questionnaire-package"
        first, response = resources(client.post(url, json=body).get_json())
        assert first["url"] == f"{FORM}-adaptive"
        assert response["questionnaire"] == "#questionnaire"


@pytest.mark.parametrize("version", VERSIONS)
def test_the_full_form_still_comes_by_its_canonical(client: FlaskClient, version: str) -> None:
    request = order_of(CPT, "72148", "M54.50")
    payer = request["prefetch"]["coverage"]["entry"][1]["resource"]
    named = ("questionnaire", {"valueCanonical": FORM})
    url = f"/fhir/{version}/Questionnaire/$questionnaire-package"
    reply = client.post(url, json=asked(request, ("referenced", payer), named))
    first, response = resources(reply.get_json())
    assert first["url"] == FORM
    assert response["questionnaire"] == f"{FORM}|1.0.0"


def test_a_form_that_decides_nothing_is_not_adaptive(tmp_path: Path) -> None:
    needed = "    needed: clinical\n"
    policies = changed(tmp_path, "hospital-bed", needed, f"{needed}    adaptive: true\n")
    with pytest.raises(LibraryError, match="no fact is an answer of hospital-bed-need"):
        load_policies(policies)
