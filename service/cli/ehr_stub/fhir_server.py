"""HTTP interface of the stub: FHIR R4 read, search, create and update, a bearer token, CORS."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from service import __version__
from service.cli.ehr_stub.resource_store import (
    DATES,
    INCLUDES,
    REFERENCES,
    TOKENS,
    NotStorable,
    Resource,
    ResourceStore,
    UnknownParameter,
)
from service.errors import operation_outcome

DEMO_TOKEN = "not-a-real-token-for-fixtures-only"  # noqa: S105
"""The token in the fixtures. Public on purpose: it protects nothing but fixtures."""

PREFIX = "/fhir"
_MEDIA_TYPE = "application/fhir+json"
_ABOUT = "A tool for testers with made-up data, not an EHR. Never put real data behind it."
_LARGEST = 1_048_576
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, PUT, OPTIONS",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Accept, Prefer, If-None-Exist",
    "Access-Control-Expose-Headers": "Location, ETag",
    "Access-Control-Allow-Private-Network": "true",
    "Access-Control-Max-Age": "600",
}


def create_stub(store: ResourceStore, base_url: str, token: str | None = DEMO_TOKEN) -> Flask:
    """The stub as a WSGI application; FHIR lies below `base_url`, which ends in /fhir.

    `token` is the only accepted one; None accepts every request, for browser clients that cannot
    send a token.
    """
    app = Flask("ehr_stub", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = _LARGEST

    @app.before_request
    def authorize() -> Response | None:
        told_to_all = request.method == "OPTIONS" or request.path == f"{PREFIX}/metadata"
        if token is None or told_to_all:
            return None
        if request.headers.get("Authorization") == f"Bearer {token}":
            return None
        response = _problem(401, "login", "expected the demo token as Authorization: Bearer")
        response.headers["WWW-Authenticate"] = 'Bearer realm="covercard ehr"'
        return response

    @app.after_request
    def allow_browsers(response: Response) -> Response:
        response.headers.update(_CORS)
        return response

    @app.get(f"{PREFIX}/metadata")
    def metadata() -> Response:
        return _fhir(_capabilities(store, base_url, token is not None))

    @app.get(f"{PREFIX}/<kind>/<id>")
    def read(kind: str, id: str) -> Response:
        resource = store.read(kind, id)
        if resource is None:
            return _problem(404, "not-found", "no such resource among the fixtures")
        return _fhir(resource)

    @app.post(f"{PREFIX}/<kind>")
    def create(kind: str) -> Response:
        condition = request.headers.get("If-None-Exist")
        if condition is not None:
            matches, _ = store.search(kind, parse_qsl(condition.partition("?")[2] or condition))
            if matches:  # FHIR R4, conditional create
                one = len(matches) == 1
                return _stored(matches[0], 200) if one else _problem(412, "duplicate", "several")
        return _stored(store.create(kind, _body()), 201)

    @app.put(f"{PREFIX}/<kind>/<id>")
    def update(kind: str, id: str) -> Response:
        resource, is_new = store.update(kind, id, _body())
        return _stored(resource, 201 if is_new else 200)

    def _stored(resource: Resource, status: int) -> Response:
        response = _fhir(resource, status)
        response.headers["Location"] = f"{base_url}/{resource['resourceType']}/{resource['id']}"
        response.headers["ETag"] = f'W/"{resource.get("meta", {}).get("versionId", "1")}"'
        return response

    @app.errorhandler(NotStorable)
    def not_storable(error: NotStorable) -> Response:
        return _problem(400, "invalid", str(error))

    @app.errorhandler(UnknownParameter)
    def unknown_parameter(error: UnknownParameter) -> Response:
        return _problem(400, "not-supported", f"search parameter not known: {error}")

    @app.get(f"{PREFIX}/<kind>")
    @app.get(f"{PREFIX}/<kind>/_search")
    def search(kind: str) -> Response:
        return answer(kind, [*request.args.items(multi=True)])

    @app.post(f"{PREFIX}/<kind>/_search")
    def search_by_form(kind: str) -> Response:
        return answer(kind, [*request.args.items(multi=True), *request.form.items(multi=True)])

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        return _problem(error.code or 500, "processing", error.name.lower())

    def answer(kind: str, parameters: Sequence[tuple[str, str]]) -> Response:
        if kind not in store.types:
            return _problem(404, "not-supported", "the stub has no resources of this type")
        matches, included = store.search(kind, parameters)
        return _fhir(_searchset(matches, included, base_url))

    return app


def _searchset(
    matches: Sequence[Resource], included: Sequence[Resource], base_url: str
) -> Mapping[str, Any]:
    modes = [(r, "match") for r in matches] + [(r, "include") for r in included]
    entries = [
        {
            "fullUrl": f"{base_url}/{r['resourceType']}/{r['id']}",
            "resource": r,
            "search": {"mode": mode},
        }
        for r, mode in modes
    ]
    bundle: dict[str, Any] = {
        "resourceType": "Bundle",
        "type": "searchset",
        "total": len(matches),
        "link": [{"relation": "self", "url": base_url}],
    }
    return {**bundle, "entry": entries} if entries else bundle


def _capabilities(store: ResourceStore, base_url: str, secured: bool) -> Mapping[str, Any]:
    parameters = [
        *({"name": n, "type": "token"} for n in TOKENS),
        *({"name": n, "type": "reference"} for n in REFERENCES),
        *({"name": n, "type": "date"} for n in DATES),
        {"name": "name", "type": "string"},
    ]
    resources = []
    for kind in store.types:
        includes = [i for i in INCLUDES if i.startswith(f"{kind}:")]
        entry: dict[str, Any] = {
            "type": kind,
            "interaction": [{"code": c} for c in ("read", "search-type", "create", "update")],
            "updateCreate": True,
            "conditionalCreate": True,
            "searchParam": parameters,
        }
        resources.append({**entry, "searchInclude": includes} if includes else entry)
    how = "Bearer token: the demo token." if secured else "No token is asked for."
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "experimental": True,
        "date": "2026-11-22",
        "kind": "instance",
        "software": {"name": "covercard ehr", "version": __version__},
        "implementation": {"description": _ABOUT, "url": base_url},
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "rest": [
            {
                "mode": "server",
                "documentation": _ABOUT,
                "security": {"cors": True, "description": how},
                "resource": resources,
            }
        ],
    }


def _body() -> object:
    try:
        return json.loads(request.get_data())
    except ValueError:
        raise NotStorable("expected a FHIR resource as JSON") from None


def _fhir(resource: Mapping[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(resource, ensure_ascii=False), status, content_type=_MEDIA_TYPE)


def _problem(status: int, code: str, text: str) -> Response:
    return _fhir(operation_outcome(code, [("", text)]), status)
