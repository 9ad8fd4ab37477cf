"""Patient check of fetched resources: another patient's data are not used."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from service.ehr.allowlist import FhirBase, read_base
from service.fhir.references import parse_literal

_SUBJECTS = ("subject", "patient", "beneficiary")


def is_of_another(data: Mapping[str, Any], patient: str, bases: Collection[FhirBase]) -> bool:
    """Whether a resource from an EHR names patients other than `patient` ("Patient/id").

    `bases` are the EHR's base URLs.

    The same id on another server is another patient. False for a resource without a patient (an
    Organization, a Medication).
    """
    named = set(_patients(data, bases))
    return bool(named) and patient not in named


def _patients(data: Mapping[str, Any], bases: Collection[FhirBase]) -> Iterator[str]:
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
            yield literal.local if is_of_server(literal.base, bases) else str(written)


def is_of_server(base: str | None, bases: Collection[FhirBase]) -> bool:
    """Whether a literal reference's base is among a server's base URLs; relative references are."""
    if base is None:
        return True
    try:
        return read_base(base) in bases
    except ValueError:
        return False
