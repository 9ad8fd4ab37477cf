"""Code system URIs of FHIR, CRD and Medicare coding, with alternate spellings in use."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from service.decision.order import Code
from service.fhir.elements import text

CPT = "http://www.ama-assn.org/go/cpt"
HCPCS = "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets"
SOURCE_OF_PAYMENT = "https://nahdo.org/sopt"
ICD_10_CM = "http://hl7.org/fhir/sid/icd-10-cm"
SNOMED_CT = "http://snomed.info/sct"
LOINC = "http://loinc.org"
PLACE_OF_SERVICE = (
    "https://www.cms.gov/Medicare/Coding/place-of-service-codes/Place_of_Service_Code_Set"
)
PROVIDER_TAXONOMY = "http://nucc.org/provider-taxonomy"
US_NPI = "http://hl7.org/fhir/sid/us-npi"

BILLING_OPTIONS = "http://hl7.org/fhir/us/davinci-crd/StructureDefinition/ext-billing-options"
PAYLOAD_CODES = frozenset(
    f"http://hl7.org/fhir/5.0/StructureDefinition/extension-CommunicationRequest.payload.{element}"
    for element in ("content", "content[x]")
)
"""Extension with the requested content of CRD's CommunicationRequest: the cross-version URL of the
profile, and that of older tools."""
ALTERNATE_REFERENCE = "http://hl7.org/fhir/StructureDefinition/alternate-reference"

_BILLING_CODE = re.compile(
    r"(?P<code>[0-9]{4}[0-9A-Z]|[A-Z][0-9]{4})"
    r"(?P<modifiers>(?:[\s:,-]+[0-9A-Z]{2}|[A-Z][0-9A-Z])*)"
)
_MODIFIER = re.compile(r"[0-9A-Z]{2}")

# Keys: lower-case, without scheme and trailing slash; an OID as it is.
_CANONICAL = {
    "www.ama-assn.org/go/cpt": CPT,
    "ama-assn.org/go/cpt": CPT,
    "urn:oid:2.16.840.1.113883.6.12": CPT,
    "2.16.840.1.113883.6.12": CPT,
    "www.cms.gov/medicare/coding/hcpcsreleasecodesets": HCPCS,
    "www.cms.gov/medicare/coding/medhcpcsgeninfo": HCPCS,
    "bluebutton.cms.gov/resources/codesystem/hcpcs": HCPCS,
    "urn:oid:2.16.840.1.113883.6.285": HCPCS,
    "2.16.840.1.113883.6.285": HCPCS,
    "nahdo.org/sopt": SOURCE_OF_PAYMENT,
    "www.nahdo.org/sopt": SOURCE_OF_PAYMENT,
    "urn:oid:2.16.840.1.113883.3.221.5": SOURCE_OF_PAYMENT,
    "hl7.org/fhir/sid/icd-10-cm": ICD_10_CM,
    "urn:oid:2.16.840.1.113883.6.90": ICD_10_CM,
    "2.16.840.1.113883.6.90": ICD_10_CM,
    "snomed.info/sct": SNOMED_CT,
    "urn:oid:2.16.840.1.113883.6.96": SNOMED_CT,
    "loinc.org": LOINC,
    "urn:oid:2.16.840.1.113883.6.1": LOINC,
    "www.cms.gov/medicare/coding/place-of-service-codes/place_of_service_code_set": (
        PLACE_OF_SERVICE
    ),
}

_AS_WRITTEN = frozenset(_CANONICAL.values())

_CATEGORY = 3
"""How many characters an ICD-10-CM code has before its dot."""


def canonical_system(written: str) -> str:
    """The canonical URI of a code system in any known spelling.

    An unknown system is returned without padding.
    """
    if written in _AS_WRITTEN:
        return written
    trimmed = written.strip()
    key = trimmed.lower().removeprefix("http://").removeprefix("https://").rstrip("/")
    return _CANONICAL.get(key, trimmed)


def canonical_code(system: str | None, code: str | None) -> Code | None:
    """A coding's canonical form: canonical system, upper-case code; None if either is absent.

    An ICD-10-CM code gets its dot.
    A code of CPT's shape under HCPCS is HCPCS level I, which is CPT. Modifiers are left out.
    """
    return split_code(system, code)[0]


def code_of(coding: Mapping[str, Any]) -> Code | None:
    """The canonical form of a Coding; None without system or code."""
    return split_code(text(coding.get("system")), text(coding.get("code")))[0]


def split_code(system: str | None, code: str | None) -> tuple[Code | None, tuple[str, ...]]:
    """A coding's canonical form, and the modifiers of a CPT or HCPCS code.

    CPT's expressions with modifiers are "76390:26,59" (terminology.hl7.org, CPT); claims write
    "76390-26", "76390 26" or "76390TC". A modifier without a separator begins with a letter: digits
    after digits are ambiguous.
    """
    if system is None or code is None:
        return None, ()
    value = code.strip().upper()
    uri = system if system in _AS_WRITTEN else canonical_system(system)
    if not value or not uri:
        return None, ()
    if uri == ICD_10_CM and len(value) > _CATEGORY and "." not in value:
        value = f"{value[:_CATEGORY]}.{value[_CATEGORY:]}"
    if uri not in (CPT, HCPCS):
        return Code(uri, value), ()
    match = _BILLING_CODE.fullmatch(value)
    if match is None:
        return Code(uri, value), ()
    number, modifiers = match.groups()
    if uri == HCPCS and number[0].isdigit():
        uri = CPT
    return Code(uri, number), tuple(_MODIFIER.findall(modifiers)) if modifiers else ()
