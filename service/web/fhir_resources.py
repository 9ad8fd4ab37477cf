"""The resources below /fhir: CapabilityStatement, Questionnaires, Libraries and ValueSets.

They are open: they contain no patient data. The operations are for clients.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from urllib.parse import urlencode

from flask import Blueprint, Flask, Response, current_app, request
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import NotFound
from werkzeug.routing import BaseConverter, Map

from cards.questionnaires import Form, Forms
from cards.questionnaires.form_libraries import FormLibraries
from cards.vocabulary import Json
from service.dtr.adaptive_forms import AdaptiveForm
from service.dtr.dtr_version import VERSIONS, DtrVersion
from service.errors import MalformedRequest
from service.web.client_auth import open_to_all
from service.web.fhir_operations import MEDIA_TYPE, FhirOperations, add_operations
from service.web.json_body import encode

_AN_HOUR = 3600
_PREFIX = "/fhir"

FHIR_PREFIXES = (_PREFIX, *(f"{_PREFIX}/{v.name}" for v in VERSIONS))
"""Addresses of the FHIR endpoint: of both versions, and that of each."""

Statement = Callable[[str, Map], Mapping[str, object]]


class ResourceId(BaseConverter):
    """An id in an address; what begins with $ is an operation."""

    regex = "[^/$][^/]*"
    part_isolating = True


def fhir_blueprints(
    operations: FhirOperations, libraries: FormLibraries, statement: Statement
) -> list[Blueprint]:
    """The endpoints below /fhir, and those of each version of DTR below /fhir/<version>.

    `statement` makes the CapabilityStatement of a prefix from the application's routes.
    """
    bases = [(_PREFIX, None), *((f"{_PREFIX}/{v.name}", v) for v in VERSIONS)]
    return [_blueprint(operations, libraries, statement, *base) for base in bases]


def _blueprint(
    operations: FhirOperations,
    libraries: FormLibraries,
    statement: Statement,
    prefix: str,
    version: DtrVersion | None,
) -> Blueprint:
    name = "fhir" if version is None else f"fhir-{version.name.replace('.', '-')}"
    fhir = Blueprint(name, __name__, url_prefix=prefix)
    fhir.record_once(lambda state: state.app.url_map.converters.update(resource_id=ResourceId))
    forms, packages = operations.forms, operations.packages
    value_sets = operations.expansion.value_sets
    stated: list[bytes] = []

    def written(form: Form) -> Json:
        """The form in the shape of the address; at /fhir itself, as it stands on file."""
        adaptive = packages.adaptive_forms.get(form.id)
        if adaptive is not None:
            return first_form(adaptive)
        if version is None:
            return packages.packaged.on_file(form.resource)
        today = operations.expansion.now.date()
        return packages.packaged.shaped(form.resource, form, version, today)

    def first_form(adaptive: AdaptiveForm) -> Json:
        """The same of an adaptive form, as a search finds it: without items."""
        address = packages.packaged.address(version or packages.version)
        made = adaptive.first_form(address)
        if version is None:
            return packages.packaged.on_file(made)
        today = operations.expansion.now.date()
        return packages.packaged.shaped(made, adaptive.whole, version, today)

    @fhir.get("/metadata")
    @open_to_all
    def metadata() -> Response:
        if not stated:
            # When it is first asked for, all routes are there.
            stated.append(encode(statement(prefix, current_app.url_map)))
        return _cacheable(stated[0], [])

    @fhir.get("/Questionnaire", strict_slashes=False)
    @open_to_all
    def search() -> Response:
        asked = _understood(request.args, request.headers.get("Prefer", ""))
        every = (*forms, *(adaptive.form for adaptive in packages.adaptive_forms))
        found = [form for form in every if all(_fits(forms, form, *each) for each in asked)]
        base = f"{forms.served_at.removesuffix(_PREFIX + '/Questionnaire')}{prefix}/Questionnaire"
        return _cacheable(encode(_searchset(found, base, asked, written)), found)

    @fhir.get("/Questionnaire/<resource_id:form_id>", strict_slashes=False)
    @open_to_all
    def read(form_id: str) -> Response:
        adaptive = packages.adaptive_forms.get(form_id)
        form = adaptive.form if adaptive else forms.get(form_id)
        if form is None:
            raise NotFound
        return _cacheable(encode(written(form)), [form])

    @fhir.get("/Library/<resource_id:library_id>", strict_slashes=False)
    @open_to_all
    def library(library_id: str) -> Response:
        found = libraries.by_id(library_id)
        if found is None:
            raise NotFound
        return _cacheable(encode(found), [])

    @fhir.get("/ValueSet/<resource_id:set_id>", strict_slashes=False)
    @open_to_all
    def value_set(set_id: str) -> Response:
        if not value_sets.has(set_id):
            raise NotFound
        today = operations.expansion.now.date()
        return _cacheable(encode(value_sets.definition(set_id, today)), [])

    add_operations(fhir, operations, version)
    return fhir


def say_that_it_is_fhir(app: Flask) -> None:
    """Give what is answered below /fhir FHIR's media type, refusals and unknown paths included."""

    @app.after_request
    def say(response: Response) -> Response:
        path = request.path
        if path == _PREFIX or path.startswith(f"{_PREFIX}/"):
            is_smart = path.endswith("/.well-known/smart-configuration")
            if not is_smart and response.mimetype == "application/json":
                response.content_type = MEDIA_TYPE
        return response


SEARCHED: Mapping[str, Callable[[Form], Collection[str]]] = {
    "_id": lambda form: {form.id},
    "url": lambda form: {form.canonical},
    "version": lambda form: {form.version},
    "status": lambda form: {str(form.resource["status"])},
    "title": lambda form: {form.title},
}
"""Search parameters, each with a form's values for it."""
_OF_THE_RESULT = frozenset({"_format", "_pretty"})
"""Parameters on how the result is written: JSON, whatever they say."""

_MOST_ASKED = 100
"""Values of one search: each is compared with each form's."""

_Asked = Sequence[tuple[str, str]]


def _understood(args: MultiDict[str, str], prefer: str) -> _Asked:
    """The parameters that are searched by; others are ignored, or refused where the client prefers
    so (FHIR R4, search, handling of unknown parameters). A modifier is never ignored.
    """
    given = [(name, value) for name, value in args.items(multi=True) if value]
    for name, _ in given:
        parameter, colon, _ = name.partition(":")
        if colon and parameter in SEARCHED:
            raise MalformedRequest(f"expected {parameter} without a modifier")
    unknown = {name for name, _ in given} - SEARCHED.keys() - _OF_THE_RESULT
    if unknown and "handling=strict" in prefer.replace(" ", "").lower():
        raise MalformedRequest(f"expected no search parameters but {', '.join(SEARCHED)}")
    asked = [(name, value) for name, value in given if name in SEARCHED]
    if sum(1 + value.count(",") for _, value in asked) > _MOST_ASKED:
        raise MalformedRequest(f"expected at most {_MOST_ASKED} values to search by")
    return asked


def _fits(forms: Forms, form: Form, name: str, value: str) -> bool:
    """Whether a form has one of a parameter's values, which commas part; titles by their start."""
    own = forms.canonicals_of(form) if name == "url" else SEARCHED[name](form)
    if name == "title":
        return any(t.lower().startswith(value.lower()) for t in own)
    return any(wanted in own for wanted in value.split(","))


def _searchset(
    found: list[Form], base: str, asked: _Asked, written: Callable[[Form], Json]
) -> Mapping[str, object]:
    """The result at `base`; its `self` link tells which parameters were searched by."""
    searched = f"{base}?{urlencode(asked)}" if asked else base
    bundle: dict[str, object] = {
        "resourceType": "Bundle",
        "type": "searchset",
        "total": len(found),
        "link": [{"relation": "self", "url": searched}],
    }
    if found:
        bundle["entry"] = [
            {
                "fullUrl": f"{base}/{f.id}",
                "resource": written(f),
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
