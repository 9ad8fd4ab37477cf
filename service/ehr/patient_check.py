"""Whose a resource is: what came from an EHR is used only if it is not another patient's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from service.ehr.allowlist import Base, parse_base
from service.fhir.references import parse_literal

_SUBJECTS = ("subject", "patient", "beneficiary")


def is_of_another(data: Mapping[str, Any], patient: str, server: Base) -> bool:
    """Whether a resource read from `server` names patients, and not `patient` ("Patient/id").

    The same id on another server is another patient. A resource that names nobody (an Organization,
    a Medication) is nobody else's.
    """
    named = set(_patients(data, server))
    return bool(named) and patient not in named


def _patients(data: Mapping[str, Any], server: Base) -> Iterator[str]:
    if data.get("resourceType") == "Patient":
        yield f"Patient/{data.get('id')}"
    references = [data.get(name) for name in _SUBJECTS]
    participants = data.get("participant")
    for participant in participants if isinstance(participants, list) else ():
        if isinstance(participant, Mapping):
            references.append(participant.get("actor"))
    for reference in references:
        written = reference.get("reference") if isinstance(reference, Mapping) else None
        literal = parse_literal(written) if isinstance(written, str) else None
        if literal is not None and literal.type == "Patient":
            yield literal.local if is_of_server(literal.base, server) else str(written)


def is_of_server(base: str | None, server: Base) -> bool:
    """Whether the base of a literal reference is `server`; a relative one is of its own server."""
    if base is None:
        return True
    try:
        return parse_base(base) == server
    except ValueError:
        return False
