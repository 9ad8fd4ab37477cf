"""Patient check of fetched resources: another patient's data are not used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from service.ehr.allowlist import Base, parse_base
from service.fhir.references import parse_literal

_SUBJECTS = ("subject", "patient", "beneficiary")


def is_of_another(data: Mapping[str, Any], patient: str, server: Base) -> bool:
    """Whether a resource from `server` names patients other than `patient` ("Patient/id").

    The same id on another server is another patient. False for a resource without a patient (an
    Organization, a Medication).
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
    """Whether a literal reference's base is `server`; relative references are."""
    if base is None:
        return True
    try:
        return parse_base(base) == server
    except ValueError:
        return False
