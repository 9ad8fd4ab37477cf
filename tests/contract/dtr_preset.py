"""The presets for Inferno's DTR payer server suites, made of fixtures and of the service's answers.

`python -m tests.contract.dtr_preset` writes them; a test holds the files against this. What is to
be replaced before a run: BASE_URL by the service's public URL, CONTEXT by a coverage-assertion-id
that the kit's client got for the order.
"""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient

from service.bootstrap.app import RECORDER, create_app
from tests.conftest import FIXTURES, ROOT, in_folder
from tests.contract.calls import Json
from tests.contract.inferno_preset import BASE_URL, request, textarea

FOLDER = FIXTURES / "inferno"
CONTEXT = "replaced-by-a-coverage-assertion-id"
NOW = datetime(2035, 6, 1, 9, tzinfo=UTC)
SUITES = {"2.0": "dtr_payer_server", "2.2": "dtr_payer_server_v220"}
CANONICAL = "https://covercard.example/fhir/Questionnaire/"
HCPCS = "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets"
ICD = "http://hl7.org/fhir/sid/icd-10-cm"
DTR = "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition/"

ORDERED = {"system": HCPCS, "code": "E1390"}
DIAGNOSIS = {"system": ICD, "code": "J44.9"}
FORMS = (
    "oxygen-need",
    "organization-determination-request",
    "hospital-bed-need",
    "oxygen-supplier",
)
"""Forms that are asked for by their canonical."""
ADAPTIVE = ("oxygen-need-adaptive", "conservative-care-adaptive")
ANSWERS: Mapping[str, Json] = {
    "saturation": {"valueDecimal": 86},
    "treatment-tried": {"valueBoolean": True},
    "weeks-of-care": {"valueInteger": 8},
}
"""Answers to the questions of the adaptive forms, by linkId."""


def hook_call(version: str) -> Json:
    """The order-sign call whose answer gives the context, without an EHR to ask."""
    call = request("order-sign/mrs-medicare-advantage", version)
    del call["fhirAuthorization"], call["fhirServer"]
    (entry,) = call["context"]["draftOrders"]["entry"]
    entry["resource"] = order(version)
    return call


def order(version: str) -> Json:
    """An order of home oxygen for chronic lung disease."""
    call = request("order-sign/mrs-medicare-advantage", version)
    made: Json = call["context"]["draftOrders"]["entry"][0]["resource"]
    made["id"] = "oxygen"
    made["code"] = {"coding": [ORDERED]}
    made["reasonCode"] = [{"coding": [DIAGNOSIS]}]
    return made


def coverage(version: str) -> Json:
    """The order's coverage, its payer told by its identifier."""
    call = request("order-sign/mrs-medicare-advantage", version)
    made: Json = call["prefetch"]["coverage"]["entry"][0]["resource"]
    for identifier in made.get("identifier", ()):
        identifier["system"] = "urn:oid:2.999.7.2"
    return made


def package_input(version: str, *given: tuple[str, Json]) -> Json:
    """The operation's input for the coverage and these parameters."""
    parameters = [{"name": "coverage", "resource": coverage(version)}]
    for name, value in given:
        parameters.append({"name": name, **value})
    return {"resourceType": "Parameters", "parameter": parameters}


def order_input(version: str) -> tuple[str, Json]:
    """The parameter of the order."""
    return "order", {"resource": order(version)}


def form_input(form: str) -> tuple[str, Json]:
    """The parameter of a form."""
    return "questionnaire", {"valueCanonical": CANONICAL + form}


def package_inputs(version: str) -> list[Json]:
    """Calls by order, by canonical and by context, each alone and together."""
    context = ("context", {"valueString": CONTEXT})
    return [
        package_input(version, order_input(version)),
        package_input(version, *map(form_input, FORMS)),
        package_input(version, context),
        *(package_input(version, order_input(version), form_input(form)) for form in ADAPTIVE),
        package_input(version, order_input(version), context, form_input(FORMS[0])),
    ]


def walked(client: FlaskClient, version: str, form: str) -> list[Json]:
    """The responses that a client sends to $next-question, from the package to the end."""
    base = f"/fhir/{version}/Questionnaire/"
    body = package_input(version, order_input(version), form_input(form))
    package = client.post(f"{base}$questionnaire-package", json=body).get_json()
    bundle = package if package["resourceType"] == "Bundle" else package["parameter"][0]["resource"]
    entries = [e["resource"] for e in bundle["entry"]]
    response = next(e for e in entries if e["resourceType"] == "QuestionnaireResponse")
    sent = []
    for _ in range(20):
        response = _answered(response)
        sent.append(copy.deepcopy(response))
        reply = client.post(f"{base}$next-question", json=response)
        response = reply.get_json()
        if response.get("status") != "in-progress":
            return [_settled(each) for each in sent]
    raise AssertionError(f"{form} does not end")


def _settled(response: Json) -> Json:
    """A response without what is another one each time."""
    made = {k: v for k, v in response.items() if k != "id"}
    return {**made, "authored": NOW.isoformat()}


def _answered(response: Json) -> Json:
    """The response with an answer to each question that it holds."""
    contained = response["contained"][0]
    items = list(_items(contained.get("item", ())))
    return {**response, "item": items} if items else response


def _items(asked: Any) -> Iterator[Json]:
    for item in asked:
        made = {"linkId": item["linkId"], "text": item["text"]}
        if item["type"] == "group":
            yield {**made, "item": list(_items(item["item"]))}
        else:
            yield {**made, "answer": [_answer(item["linkId"])]}


def _answer(link_id: str) -> Json:
    practitioner = {"reference": "Practitioner/quill"}
    author = {
        "url": "author",
        "extension": [{"url": "practitioner", "valueReference": practitioner}],
    }
    source = {"url": "source", "valueCode": "manual"}
    origin = {"url": DTR + "information-origin", "extension": [source, author]}
    return {"extension": [origin], **ANSWERS[link_id]}


def template(form: str, end: Json) -> Json:
    """The answers of an adaptive form, as the kit looks them up: by the contained form's URL."""
    contained = end["contained"][0]
    named = {name: contained[name] for name in ("resourceType", "id", "url", "version", "status")}
    return {
        "resourceType": "QuestionnaireResponse",
        "status": "in-progress",
        "contained": [named],
        "questionnaire": f"#{named['id']}",
        "item": end.get("item", []),
    }


def forged(sent: Json) -> Json:
    """A response whose contained form was changed."""
    changed = copy.deepcopy(sent)
    item = changed["contained"][0]["item"][0]
    while "item" in item:
        item = item["item"][0]
    item["text"] = "Another question?"
    return changed


def preset(version: str) -> Json:
    """The preset of one suite."""
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(
            in_folder(
                Path(folder),
                added_policies_dir=ROOT / "examples" / "policies",
                payers_file=ROOT / "examples" / "inferno" / "payers.yaml",
            ),
            clock=lambda: NOW,
        )
        try:
            client = app.test_client()
            paths = {form: walked(client, version, form) for form in ADAPTIVE}
        finally:
            app.extensions[RECORDER].stop()
    inputs = _of_2_0(paths) if version == "2.0" else _of_2_2(paths)
    return {
        "title": f"Covercard (DTR {version})",
        "id": f"covercard-dtr-{version.replace('.', '-')}",
        "test_suite_id": SUITES[version],
        "inputs": [
            {"name": "url", "type": "text", "value": f"{BASE_URL}/fhir/{version}"},
            *inputs,
        ],
    }


def _of_2_0(paths: Mapping[str, list[Json]]) -> list[Json]:
    form = ADAPTIVE[0]
    full, adaptive = form_input(FORMS[0]), form_input(form)
    return [
        {"name": "retrieval_method", "type": "radio", "value": "Both"},
        textarea(
            "initial_static_questionnaire_request", package_input("2.0", order_input("2.0"), full)
        ),
        textarea(
            "initial_adaptive_questionnaire_request",
            package_input("2.0", order_input("2.0"), adaptive),
        ),
        textarea("next_question_requests", paths[form]),
    ]


def _of_2_2(paths: Mapping[str, list[Json]]) -> list[Json]:
    unknown = package_input("2.2", ("context", {"valueString": "an-id-of-nobody"}))
    return [
        textarea("questionnaire_package_request_parameters", package_inputs("2.2")),
        textarea(
            "questionnaire_response_templates",
            [template(form, sent[-1]) for form, sent in paths.items()],
        ),
        {"name": "questionnaire_canonical", "type": "text", "value": CANONICAL + FORMS[0]},
        textarea("source_data_error_request", unknown),
        textarea("invalid_questionnaire_response", forged(paths[ADAPTIVE[0]][-1])),
    ]


def written(version: str) -> str:
    """The text of a preset's file."""
    text = json.dumps(preset(version), indent=2, ensure_ascii=False) + "\n"
    return text.replace("http://127.0.0.1:8642", BASE_URL)


def file_name(version: str) -> str:
    return f"covercard-dtr-{version}.json"


if __name__ == "__main__":
    for each in SUITES:
        (FOLDER / file_name(each)).write_text(written(each), "utf-8")
