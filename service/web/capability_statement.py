"""GET /fhir/metadata: the CapabilityStatement of the FHIR endpoint, made from its routes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version

from cards.vocabulary import Json

_DTR = "http://hl7.org/fhir/us/davinci-dtr/OperationDefinition/"
_DEFINITIONS = {
    "questionnaire-package": _DTR + "questionnaire-package",
    "log-questionnaire-errors": _DTR + "log-questionnaire-errors",
    "next-question": "http://hl7.org/fhir/uv/sdc/OperationDefinition/Questionnaire-next-question",
    "expand": "http://hl7.org/fhir/OperationDefinition/ValueSet-expand",
}
_PROFILES = "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition/"
_SUPPORTED: Mapping[str, list[str]] = {
    "Questionnaire": [
        _PROFILES + "dtr-std-questionnaire",
        _PROFILES + "dtr-questionnaire-adapt-search",
        _PROFILES + "dtr-questionnaire-adapt",
    ],
}
_SEARCH_TYPES = {"_id": "token", "status": "token", "title": "string", "url": "uri"}
_SECURITY_SERVICES = "http://terminology.hl7.org/CodeSystem/restful-security-service"


def capability_statement(
    base: str,
    operator: str,
    now: datetime,
    paths: Iterable[str],
    searched: Iterable[str] = (),
    token_url: str | None = None,
) -> Json:
    """CapabilityStatement of `base`, the public URL of the endpoint, in the name of `operator`.

    `now` is when the statement was made; `paths` are the endpoint's routes without its prefix
    ("/Questionnaire/<form_id>"), `searched` the search parameters of Questionnaire; `token_url` is
    the token endpoint, None where no token is asked for. Raises KeyError for an operation without a
    definition.
    """
    resources = _resources(paths)
    if "search-type" in (found := resources.get("Questionnaire", _Found())).interactions:
        found.parameters = sorted(searched)
    rest: Json = {
        "mode": "server",
        "documentation": (
            "Forms, libraries and value sets are open to everybody. Operations are for clients: "
            "with the token of the hooks, or with one of SMART Backend Services."
        ),
        "resource": [found.as_json(name) for name, found in sorted(resources.items())],
    }
    if token_url is not None:
        rest["security"] = {
            "service": [{"coding": [{"system": _SECURITY_SERVICES, "code": "SMART-on-FHIR"}]}],
            "description": f"SMART Backend Services; the token endpoint is {token_url}",
        }
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": now.astimezone(UTC).isoformat(timespec="seconds"),
        "publisher": operator,
        "kind": "instance",
        "instantiates": [
            "http://hl7.org/fhir/us/davinci-dtr/CapabilityStatement/dtr-payer-service"
        ],
        "software": {"name": "Covercard", "version": version("covercard")},
        "implementation": {
            "description": f"Forms and documentation packages of {operator}",
            "url": base,
        },
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "rest": [rest],
    }


class _Found:
    """Offer of the routes of a type of resource."""

    def __init__(self) -> None:
        self.interactions: list[str] = []
        self.operations: list[str] = []
        self.parameters: list[str] = []

    def as_json(self, name: str) -> Json:
        made: Json = {
            "type": name,
            "profile": f"http://hl7.org/fhir/StructureDefinition/{name}",
        }
        if name in _SUPPORTED:
            made["supportedProfile"] = _SUPPORTED[name]
        if self.interactions:
            made["interaction"] = [{"code": code} for code in sorted(set(self.interactions))]
        if self.parameters:
            made["searchParam"] = [
                {"name": p, "type": _SEARCH_TYPES.get(p, "token")} for p in self.parameters
            ]
        if self.operations:
            made["operation"] = [
                {"name": op, "definition": _DEFINITIONS[op]} for op in sorted(set(self.operations))
            ]
        return made


def _resources(paths: Iterable[str]) -> Mapping[str, _Found]:
    found: dict[str, _Found] = {}
    for path in paths:
        kind, *rest = path.strip("/").split("/")
        if not kind[:1].isupper():
            continue
        own = found.setdefault(kind, _Found())
        if rest and rest[-1].startswith("$"):
            own.operations.append(rest[-1][1:])
        else:
            own.interactions.append("read" if rest else "search-type")
    return found
