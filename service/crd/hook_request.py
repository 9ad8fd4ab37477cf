"""Hook request, read from its bytes: lenient on differences between clients, strict on ambiguity.

Unknown elements are ignored (CRD 2.2.1 found-33, hook-23). NaN, duplicate keys and lone surrogates
are refused: two parsers would read different values; so is NUL, which one database would keep.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import Any

import jiter

from service.crd.call_limits import CallLimits
from service.crd.cds_service import CdsService
from service.crd.configuration_options import Options, read_options
from service.crd.crd_version import CrdVersion
from service.crd.validation import RequestValidator, check_depth
from service.crd.versions import CrdVersions
from service.errors import MalformedRequest
from service.fhir.document import Document, without_nulls
from service.fhir.json_pieces import JsonFault, in_pieces
from service.fhir.nul import places_of_nul
from service.fhir.resources import Resources


@dataclass(frozen=True, slots=True, eq=False)
class HookRequest:
    """One call of a CDS service. `access_token` is for `fhir_server` only.

    `patient` is the context's patient as "Patient/id".
    """

    service: CdsService
    document: Document
    hook_instance: str
    version: CrdVersion
    options: Options
    context: Mapping[str, Any]
    patient_id: str
    encounter_id: str | None
    prefetch: Mapping[str, Any]
    fhir_server: str | None
    access_token: str | None = field(repr=False)
    patient: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "patient", f"Patient/{self.patient_id.removeprefix('Patient/')}")

    def resources(self, other_hosts: Collection[str] = (), zone: tzinfo = UTC) -> Resources:
        """Everything that came with the call: the context's resources, then the prefetched ones.

        Of the context only the elements that the hook has: others are ignored (CRD 2.2.1 hook-23).
        `other_hosts` are further ones of the call's EHR; `zone` is the service's time zone.
        """
        sent = Resources(self.fhir_server, other_hosts, zone)
        known = self.service.context_schema["properties"]
        for key, value in self.context.items():
            if key in known and not isinstance(value, str):
                sent.add_from(self.document, value, ("context", key))
        for key, value in self.prefetch.items():
            sent.add_from(self.document, value, ("prefetch", key))
        return sent


def parse_json(body: bytes) -> Any:
    """Plain data from JSON bytes.

    Raises MalformedRequest with line and column, or with the places of NUL characters, which FHIR
    has not and PostgreSQL refuses: an answer must not differ with the database.
    """
    try:
        data = in_pieces(body, _parse)
    except JsonFault as fault:
        raise MalformedRequest(_where(fault.place_in(body))) from None
    if places := places_of_nul(data, body):
        (place, expected), *more = places
        raise MalformedRequest(expected, place, *more)
    return data


def _parse(text: bytes) -> Any:
    return jiter.from_json(text, allow_inf_nan=False, catch_duplicate_keys=True, cache_mode="keys")


def _where(message: str) -> str:
    """The parser's message without the quoted key, which is the caller's."""
    if message.startswith("Detected duplicate key"):
        return "not JSON that has one meaning: duplicate key" + message[message.rfind(" at ") :]
    return f"not JSON: {message}"


def _requested_version(data: object) -> object:
    """The requested version, read before validation."""
    extension = data.get("extension") if isinstance(data, dict) else None
    return extension.get("davinci-crd.requestedVersion") if isinstance(extension, dict) else None


class RequestReader:
    """Reader of one service's calls, for the CRD `versions`, within `limits`."""

    def __init__(self, service: CdsService, versions: CrdVersions, limits: CallLimits) -> None:
        self.service = service
        self._versions = versions
        self._limits = limits
        self._validator = RequestValidator(service.hook, service.context_schema, service.prefetch)

    def read(self, body: bytes) -> HookRequest:
        """The call in `body`. Raises a RequestError with each place and expectation.

        MalformedRequest (400) or, by the requested version, UnprocessableRequest (422);
        BodyTooLarge (413) before decoding.
        """
        self._limits.check_values(body)
        data = parse_json(body)
        version = self._versions.negotiate(_requested_version(data))
        if not isinstance(data, dict):
            raise version.refusal("expected a JSON object with hook, hookInstance and context")
        check_depth(data)
        data = without_nulls(data, body)
        self._validator.check(data, version.refusal)
        context = data["context"]
        extension = data.get("extension") or {}
        authorization = data.get("fhirAuthorization") or {}
        return HookRequest(
            service=self.service,
            document=Document(body, data),
            hook_instance=data["hookInstance"],
            version=version,
            options=read_options(extension.get("davinci-crd.configuration")),
            context=context,
            patient_id=context["patientId"],
            encounter_id=context.get("encounterId"),
            prefetch=data.get("prefetch") or {},
            fhir_server=data.get("fhirServer"),
            access_token=authorization.get("access_token"),
        )
