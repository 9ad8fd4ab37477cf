"""GET /fhir/metadata, /fhir/Questionnaire and /fhir/Questionnaire/<id>; $questionnaire-package.

The forms are open: they contain no patient data. The package is for clients.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from urllib.parse import urlencode

from flask import Blueprint, Response, request
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import NotFound

from cards.questionnaires import Form, Forms
from service.dtr.package import QuestionnairePackages
from service.errors import MalformedRequest
from service.web.client_auth import open_to_all
from service.web.json_body import encode, json_response, read_json_body

MEDIA_TYPE = "application/fhir+json"
_AN_HOUR = 3600
_PREFIX = "/fhir"


def fhir_blueprint(
    forms: Forms,
    packages: QuestionnairePackages,
    client_of_call: Callable[[], str],
    statement: Mapping[str, object],
) -> Blueprint:
    """The endpoints below /fhir; `client_of_call` gives the name of the current client.

    `statement` is the CapabilityStatement.
    """
    fhir = Blueprint("fhir", __name__, url_prefix=_PREFIX)
    stated = encode(statement)
    written = {form.id: encode(form.resource) for form in forms}

    @fhir.get("/metadata")
    @open_to_all
    def metadata() -> Response:
        return _cacheable(stated, [])

    @fhir.get("/Questionnaire", strict_slashes=False)
    @open_to_all
    def search() -> Response:
        asked = _understood(request.args, request.headers.get("Prefer", ""))
        found = [form for form in forms if all(_fits(forms, form, *each) for each in asked)]
        return _cacheable(encode(_searchset(found, forms, asked)), found)

    @fhir.get("/Questionnaire/<form_id>", strict_slashes=False)
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

    # Of the application, not of the blueprint alone: a refused token and an unknown path below
    # /fhir are answered by others.
    @fhir.after_app_request
    def say_that_it_is_fhir(response: Response) -> Response:
        below = request.path == _PREFIX or request.path.startswith(f"{_PREFIX}/")
        if below and response.mimetype == "application/json":
            response.content_type = MEDIA_TYPE
        return response

    return fhir


_SEARCHED: Mapping[str, Callable[[Form], Collection[str]]] = {
    "_id": lambda form: {form.id},
    "url": lambda form: {form.canonical},
    "version": lambda form: {form.version},
    "status": lambda form: {str(form.resource["status"])},
    "title": lambda form: {form.title},
}
"""Search parameters, each with a form's values for it."""
_OF_THE_RESULT = frozenset({"_format", "_pretty"})
"""Parameters on how the result is written: JSON, whatever they say."""

_Asked = Sequence[tuple[str, str]]


def _understood(args: MultiDict[str, str], prefer: str) -> _Asked:
    """The parameters that are searched by; others are ignored, or refused where the client prefers
    so (FHIR R4, search, handling of unknown parameters).
    """
    given = [(name, value) for name, value in args.items(multi=True) if value]
    unknown = {name for name, _ in given} - _SEARCHED.keys() - _OF_THE_RESULT
    if unknown and "handling=strict" in prefer.replace(" ", "").lower():
        raise MalformedRequest(f"expected no search parameters but {', '.join(_SEARCHED)}")
    return [(name, value) for name, value in given if name in _SEARCHED]


def _fits(forms: Forms, form: Form, name: str, value: str) -> bool:
    """Whether a form has one of a parameter's values, which commas part; titles by their start."""
    own = forms.canonicals_of(form) if name == "url" else _SEARCHED[name](form)
    if name == "title":
        return any(t.lower().startswith(value.lower()) for t in own)
    return any(wanted in own for wanted in value.split(","))


def _searchset(found: list[Form], forms: Forms, asked: _Asked) -> Mapping[str, object]:
    """The result; its `self` link tells which parameters were searched by."""
    base = forms.served_at
    if asked:
        base = f"{base}?{urlencode(asked)}"
    bundle: dict[str, object] = {
        "resourceType": "Bundle",
        "type": "searchset",
        "total": len(found),
        "link": [{"relation": "self", "url": base}],
    }
    if found:
        bundle["entry"] = [
            {
                "fullUrl": f"{forms.served_at}/{f.id}",
                "resource": f.resource,
                "search": {"mode": "match"},
            }
            for f in found
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
