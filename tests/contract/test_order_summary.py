"""A form's summary of its orders: a contained Binary, safe XHTML, that an answer refers to."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from fhir.resources.R4B.questionnaireresponse import QuestionnaireResponse
from flask.testing import FlaskClient

from service.bootstrap.app import RECORDER, create_app
from tests.conftest import NOW, in_folder
from tests.contract.test_example_policies import EXAMPLES, HCPCS, order_of
from tests.contract.test_package_contents import bare_form, resources
from tests.contract.test_questionnaire_package import DTR, asked

Json = dict[str, Any]
ITEM = {"linkId": "order-summary", "text": "The order", "type": "reference"}
XHTML = "{http://www.w3.org/1999/xhtml}"


@pytest.fixture
def client(tmp_path: Path) -> Iterator[FlaskClient]:
    """The service with a form that asks for the summary, in a group behind a question."""
    policies = shutil.copytree(EXAMPLES, tmp_path / "policies")
    file = policies / "home-oxygen" / "questionnaires" / "oxygen-need.json"
    form = bare_form(file)
    question = {"linkId": "seen", "text": "Seen?", "type": "boolean"}
    last = {"linkId": "remark", "text": "Remark", "type": "string"}
    group = {"linkId": "about", "text": "About", "type": "group", "item": [question, ITEM, last]}
    form["item"].insert(0, group)
    file.write_text(json.dumps(form), "utf-8")
    app = create_app(in_folder(tmp_path, policies_dir=policies), clock=lambda: NOW)
    yield app.test_client()
    app.extensions[RECORDER].stop()


def response_of(client: FlaskClient, version: str) -> Json:
    request = order_of(HCPCS, "E1390", "J44.9")
    payer = request["prefetch"]["coverage"]["entry"][1]["resource"]
    body = asked(request, ("referenced", payer))
    url = f"/fhir/{version}/Questionnaire/$questionnaire-package"
    reply = client.post(url, json=body)
    assert reply.status_code == 200, reply.get_data(as_text=True)
    response: Json = resources(reply.get_json())[1]
    QuestionnaireResponse.model_validate(response)
    return response


@pytest.mark.form_rule("dtr-order-summary")
def test_the_summary_is_safe_xhtml_that_the_answer_refers_to(client: FlaskClient) -> None:
    response = response_of(client, "2.2")
    (binary,) = response["contained"]
    assert binary["contentType"] == "application/xhtml+xml"
    root = ElementTree.fromstring(base64.b64decode(binary["data"]))
    assert root.tag == f"{XHTML}div"
    assert {element.tag for element in root.iter()} == {f"{XHTML}{t}" for t in ("div", "ul", "li")}
    assert "home oxygen (E1390)" in "".join(root.itertext())
    group = next(i for i in response["item"] if i["linkId"] == "about")
    (item,) = group["item"]
    (answer,) = item["answer"]
    assert answer["valueReference"] == {"reference": f"#{binary['id']}"}
    assert {e["url"] for e in answer["extension"]} == {
        *(DTR + "information-origin", DTR + "containedReference")
    }


def test_2_0_1_has_no_contained_summary(client: FlaskClient) -> None:
    assert "contained" not in response_of(client, "2.0")
