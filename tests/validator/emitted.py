"""Everything that the fixtures make the service emit, with the profile that each has to fit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from flask.testing import FlaskClient

from service.dtr.dtr_version import VERSIONS
from tests.contract.calls import FIXTURE_NAMES, call_of, post, received, resources_in
from tests.contract.card_kinds import kinds
from tests.contract.dtr_preset import (
    ADAPTIVE,
    form_input,
    order_input,
    package_input,
    walked,
)

Json = dict[str, Any]

_FHIR = "http://hl7.org/fhir/StructureDefinition/"
_CRD = "http://hl7.org/fhir/us/davinci-crd/StructureDefinition/"
_MODELS = {
    "external reference": "externalReference",
    "instructions": "instructions",
    "SMART launch": "launchSMART",
    "form completion": "formCompletion",
    "additional orders": "additionalOrders",
    "alternate request": "alternateRequest",
    "coverage update": "adjustCoverage",
}
_PROFILES = {
    "Appointment": {"2.0": "appointment", "2.2": "appointment"},
    "CommunicationRequest": {"2.0": "communicationrequest", "2.2": "communicationrequest"},
    "Coverage": {"2.0": "coverage", "2.2": "coverage"},
    "DeviceRequest": {"2.0": "devicerequest", "2.2": "devicerequest"},
    "Encounter": {"2.0": "encounter", "2.2": "encounter"},
    "MedicationRequest": {"2.0": "medicationrequest", "2.2": "medicationrequest"},
    "NutritionOrder": {"2.0": "nutritionorder", "2.2": "nutritionorder"},
    "ServiceRequest": {"2.0": "servicerequest", "2.2": "servicerequest"},
    "Task": {"2.0": "taskquestionnaire", "2.2": "taskquestionnaire"},
    "VisionPrescription": {"2.0": "visionprescription", "2.2": "visionprescription"},
}


@dataclass(frozen=True)
class Emitted:
    """One thing to be validated.

    `before` is the resource as it came with the request, where it was changed: what is wrong with
    that is the EHR's. `where` names the fixture and the place. `of_dtr` is what the guide on
    documentation has the profile of.
    """

    where: str
    version: str
    profile: str
    what: Json
    before: Json | None = None
    of_dtr: bool = False


def everything(client: FlaskClient, version: str) -> Iterator[Emitted]:
    """What comes out of every fixture's call in this version, and of /fhir, each once."""
    for name in FIXTURE_NAMES:
        request = call_of(name, version)
        reply = post(client, request)
        body = reply.get_json()
        if reply.status_code != 200:
            yield Emitted(f"{name}: refusal", version, f"{_FHIR}OperationOutcome", body)
            continue
        if version == "2.2":
            yield Emitted(name, version, f"{_CRD}CRDHooksResponseBase", body)
        for i, card in enumerate(body["cards"]):
            if version == "2.2":
                yield from _card(f"{name}: card {i}", card)
            for suggestion in card.get("suggestions", ()):
                for action in suggestion.get("actions", ()):
                    yield from _action(f"{name}: card {i}", version, action, request)
        for i, action in enumerate(body.get("systemActions", ())):
            if version == "2.2":
                model = f"{_CRD}CRDHooksResponse-coverageInformation"
                alone = {"cards": [], "systemActions": [action]}
                yield Emitted(f"{name}: systemAction {i}", version, model, alone)
            yield from _action(f"{name}: systemAction {i}", version, action, request)
    metadata = client.get("/fhir/metadata").get_json()
    yield Emitted("/fhir/metadata", version, f"{_FHIR}CapabilityStatement", metadata)


def _card(where: str, card: Json) -> Iterator[Emitted]:
    for kind in kinds(card):
        model = f"{_CRD}CRDHooksResponse-{_MODELS[kind]}"
        yield Emitted(f"{where} ({kind})", "2.2", model, {"cards": [card]})


def _action(where: str, version: str, action: Json, request: Json) -> Iterator[Emitted]:
    resource = _of(action)
    if resource is None:
        return
    kind = resource["resourceType"]
    profile = f"{_FHIR}{kind}"
    if kind in _PROFILES:
        name = _PROFILES[kind][version]
        if kind == "Appointment" and version == "2.2":
            # Two profiles, told apart by what the appointment is based on.
            name += "-with-order" if "basedOn" in resource else "-no-order"
        profile = f"{_CRD}profile-{name}"
    before = None
    if action["type"] == "update":
        before = json.loads(json.dumps(received(request, resource)))
    yield Emitted(f"{where}: {kind}", version, profile, resource, before)


def _of(action: Json) -> Json | None:
    found: Json | None = action.get("resource")
    return found


_DTR = "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition/"
_WITH_FORMS = ("mrs-medicare-advantage", "mrs-original-medicare", "hospital-bed")


def documents(client: FlaskClient, version: str) -> Iterator[Emitted]:
    """Forms, responses begun with a suggestion, packages, adaptive forms and expansions.

    `client` is a service whose buttons bring form and response along.
    """
    for entry in client.get(f"/fhir/{version}/Questionnaire").get_json()["entry"]:
        form = entry["resource"]
        profile = f"{_FHIR}Questionnaire"
        yield Emitted(f"form {form['id']}", version, profile, form, of_dtr=True)
    for name in _WITH_FORMS:
        request = call_of(f"order-sign/{name}", version)
        for card in post(client, request).get_json()["cards"]:
            for suggestion in card.get("suggestions", ()):
                for action in suggestion.get("actions", ()):
                    made = action.get("resource", {})
                    if made.get("resourceType") == "QuestionnaireResponse":
                        profile = f"{_DTR}dtr-questionnaireresponse"
                        yield Emitted(f"{name}: response", version, profile, made, of_dtr=True)
        yield _package(client, version, f"{name}: package", _package_request(request))
    for form in ADAPTIVE:
        yield from _adaptive(client, version, form)
    for value_set in ("non-covered-codes", "red-flags"):
        reply = client.get(f"/fhir/{version}/ValueSet/{value_set}/$expand")
        if reply.status_code == 200:
            expanded = reply.get_json()
            profile = f"{_FHIR}ValueSet"
            yield Emitted(f"{value_set}: $expand", version, profile, expanded, of_dtr=True)
    statement = client.get(f"/fhir/{version}/metadata").get_json()
    profile = f"{_FHIR}CapabilityStatement"
    yield Emitted(f"/fhir/{version}/metadata", version, profile, statement, of_dtr=True)


def _package(client: FlaskClient, version: str, where: str, body: Json) -> Emitted:
    """A package: in 2.0.1 a single one, or an outcome alone, comes without Parameters."""
    output = client.post(f"/fhir/{version}/Questionnaire/$questionnaire-package", json=body)
    made: Json = output.get_json()
    profile = {
        "Bundle": f"{_DTR}DTR-QPackageBundle",
        "OperationOutcome": f"{_FHIR}OperationOutcome",
        "Parameters": f"{_DTR}dtr-qpackage-output-parameters",
    }[made["resourceType"]]
    return Emitted(where, version, profile, made, of_dtr=True)


def _adaptive(client: FlaskClient, version: str, form: str) -> Iterator[Emitted]:
    """An adaptive form: its package, and each response on its way to the end."""
    body = package_input(version, order_input(version), form_input(form))
    yield _package(client, version, f"{form}: package", body)
    profile = _RESPONSES[version]
    for n, sent in enumerate(walked(client, version, form)):
        reply = client.post(f"/fhir/{version}/Questionnaire/$next-question", json=sent)
        yield Emitted(f"{form}: step {n}", version, profile, reply.get_json(), of_dtr=True)


_RESPONSES = {version.name: version.form.adaptive_response for version in VERSIONS}


def _package_request(request: Json) -> Json:
    given = [
        *resources_in(request["prefetch"]),
        *resources_in(request["context"]["draftOrders"]),
    ]
    names = {"Coverage": "coverage", "Patient": "referenced", "Organization": "referenced"}
    parameters = [
        {"name": names.get(r["resourceType"], "order"), "resource": r}
        for r in given
        if r["resourceType"] in {*names, "DeviceRequest", "ServiceRequest"}
    ]
    return {"resourceType": "Parameters", "parameter": parameters}
