"""GET /fhir/Questionnaire and /fhir/Questionnaire/<id>, and DTR's $questionnaire-package.

The forms are open: they contain no patient data. The package is for clients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flask import Blueprint, Response, request
from werkzeug.exceptions import NotFound

from cards.questionnaires import Form, Forms
from service.dtr.package import QuestionnairePackages
from service.web.client_auth import open_to_all
from service.web.json_body import encode, json_response, read_json_body

MEDIA_TYPE = "application/fhir+json"
_AN_HOUR = 3600


def fhir_blueprint(
    forms: Forms, packages: QuestionnairePackages, client_of_call: Callable[[], str]
) -> Blueprint:
    """The endpoints below /fhir; `client_of_call` gives the name of the current client."""
    fhir = Blueprint("fhir", __name__, url_prefix="/fhir")
    written = {form.id: encode(form.resource) for form in forms}

    @fhir.get("/Questionnaire")
    @open_to_all
    def search() -> Response:
        found = [form for form in forms if _fits(form, request.args)]
        return _cacheable(encode(_searchset(found, forms)), found)

    @fhir.get("/Questionnaire/<form_id>")
    @open_to_all
    def read(form_id: str) -> Response:
        form = forms.get(form_id)
        if form is None:
            raise NotFound
        return _cacheable(written[form.id], [form])

    @fhir.post("/Questionnaire/$questionnaire-package")
    def questionnaire_package() -> Response:
        return json_response(packages.package(read_json_body(), client_of_call()))

    @fhir.post("/Questionnaire/<form_id>/$questionnaire-package")
    def package_of_one(form_id: str) -> Response:
        # Clients put the operation behind the canonical that they have, a version included.
        id, _, version = form_id.partition("|")
        form = forms.get(id)
        if form is None:
            raise NotFound
        canonical = f"{form.url}|{version}" if version else form.url
        return json_response(packages.package(read_json_body(), client_of_call(), canonical))

    @fhir.after_request
    def say_that_it_is_fhir(response: Response) -> Response:
        if response.mimetype == "application/json":
            response.content_type = MEDIA_TYPE
        return response

    return fhir


def _fits(form: Form, asked: Mapping[str, str]) -> bool:
    """Search by `url` (with or without |version) and `version`; other parameters are ignored."""
    url, _, version = asked.get("url", "").partition("|")
    return all(
        (
            url in ("", form.url),
            version in ("", form.version),
            asked.get("version", "") in ("", form.version),
        )
    )


def _searchset(found: list[Form], forms: Forms) -> Mapping[str, object]:
    base = next(iter(forms)).url.rpartition("/")[0]
    bundle: dict[str, object] = {
        "resourceType": "Bundle",
        "type": "searchset",
        "total": len(found),
        "link": [{"relation": "self", "url": base}],
    }
    if found:
        bundle["entry"] = [
            {"fullUrl": f.url, "resource": f.resource, "search": {"mode": "match"}} for f in found
        ]
    return bundle


def _cacheable(body: bytes, found: list[Form]) -> Response:
    response = Response(body, content_type=MEDIA_TYPE)
    response.cache_control.public = True
    response.cache_control.max_age = _AN_HOUR
    if found:
        response.last_modified = max(form.changed for form in found)
    response.add_etag()
    response.make_conditional(request)
    return response
