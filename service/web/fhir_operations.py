"""The FHIR operations below /fhir, one set of routes for each address; for clients.

$questionnaire-package, $next-question and $log-questionnaire-errors of Questionnaire, $expand of
ValueSet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response, request
from werkzeug.exceptions import NotFound

from cards.questionnaires import Forms
from service.dtr.dtr_version import DtrVersion
from service.dtr.form_errors import FormError, FormErrorReader
from service.dtr.next_questions import NextQuestions
from service.dtr.package import QuestionnairePackages
from service.dtr.value_set_requests import ValueSetExpansion
from service.web.client_auth import turn_to_compute
from service.web.json_body import json_response, read_json_body

MEDIA_TYPE = "application/fhir+json"


@dataclass(frozen=True, slots=True)
class FhirOperations:
    """The use cases behind the operations.

    `keep_errors` keeps the errors with forms of the client of a name, durable on return, and
    `keep_package` the package that it gets; `client_of_call` gives the current client's name.
    """

    forms: Forms
    packages: QuestionnairePackages
    questions: NextQuestions
    expansion: ValueSetExpansion
    error_reader: FormErrorReader
    keep_errors: Callable[[str, Sequence[FormError]], None]
    client_of_call: Callable[[], str]
    keep_package: Callable[[str, Mapping[str, Any]], None]


def add_operations(fhir: Blueprint, operations: FhirOperations, version: DtrVersion | None) -> None:
    """Add the operations to a blueprint; `version` is that of its address, None at /fhir itself."""
    packages = operations.packages

    def given(client: str, package: Mapping[str, Any]) -> Response:
        operations.keep_package(client, package)
        return json_response(package)

    @fhir.post("/Questionnaire/$questionnaire-package")
    def questionnaire_package() -> Response:
        body = read_json_body()
        client = operations.client_of_call()
        with turn_to_compute(len(body)):
            return given(client, packages.package(body, client, version=version))

    @fhir.post("/Questionnaire/<resource_id:form_id>/$questionnaire-package")
    def package_of_one(form_id: str) -> Response:
        # Clients put the operation behind the canonical that they have, a version included.
        id, _, form_version = form_id.partition("|")
        adaptive = packages.adaptive_forms.get(id)
        form = adaptive.form if adaptive else operations.forms.get(id)
        if form is None:
            raise NotFound
        canonical = f"{form.url}|{form_version}" if form_version else form.url
        body = read_json_body()
        client = operations.client_of_call()
        with turn_to_compute(len(body)):
            return given(client, packages.package(body, client, canonical, version))

    @fhir.post("/Questionnaire/$next-question")
    def next_question() -> Response:
        body = read_json_body()
        with turn_to_compute(len(body)):
            return json_response(operations.questions.answer(body, version))

    @fhir.post("/Questionnaire/$log-questionnaire-errors")
    def log_questionnaire_errors() -> Response:
        body = read_json_body()
        with turn_to_compute(len(body)):
            errors = operations.error_reader.read(body)
            operations.keep_errors(operations.client_of_call(), errors)
        said = {"severity": "information", "code": "informational", "diagnostics": "received"}
        return json_response({"resourceType": "OperationOutcome", "issue": [said]})

    @fhir.route("/ValueSet/$expand", methods=["GET", "POST"])
    def expand() -> Response:
        return _expanded(None)

    @fhir.route("/ValueSet/<resource_id:set_id>/$expand", methods=["GET", "POST"])
    def expand_of_one(set_id: str) -> Response:
        return _expanded(set_id)

    def _expanded(set_id: str | None) -> Response:
        if request.method == "GET":
            with turn_to_compute():
                return json_response(
                    operations.expansion.expand(request.args.items(multi=True), set_id)
                )
        body = read_json_body()
        with turn_to_compute(len(body)):
            return json_response(operations.expansion.expand_body(body, set_id))
