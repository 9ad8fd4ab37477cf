"""CRD 2.2.1: how a statement is written as coverage information, and where its codes live."""

from __future__ import annotations

from cards import fhir_json
from cards.coverage_information import CoverageInformation
from cards.fhir_json import CRD_TEMP, complex_part, concept, part
from cards.parts import billing_code_parts, closing_parts, reason_parts
from cards.vocabulary import Json

VERSION = "2.2"
TOPIC_SYSTEM = "http://terminology.hl7.org/CodeSystem/cdshooks-card-type"
DOC_PURPOSE_SYSTEM = "http://hl7.org/fhir/us/davinci-crd/CodeSystem/coverage-information-codes"
TASK_TELLS_AFTER_COMPLETION = False
"""The codes of that input are gone from CRD's code systems; doc-purpose tells it."""
EMPTY_SYSTEM_ACTIONS = False
"""The logical model of the answer has no empty lists (CRDHooksResponseBase)."""

_REASON_CODES = frozenset(
    {
        "gold-card",
        "no-member-found",
        "no-active-coverage",
        "coverage-not-found",
        "auth-out-network",
        "technical",
    }
)


def coverage_information(statement: CoverageInformation) -> Json:
    """The coverage-information extension of CRD 2.2.1."""
    parts = [
        part("coverage", "Reference", {"reference": statement.coverage}),
        part("covered", "Code", statement.covered),
    ]
    if statement.covered in ("conditional", "indeterminate"):
        parts.append(part("pa-needed", "Code", statement.covered))
    needed = dict.fromkeys(d.doc_needed for d in statement.documentation)
    parts.extend(part("doc-needed", "Code", n) for n in needed)
    purposes = dict.fromkeys(d.doc_purpose for d in statement.documentation)
    parts.extend(part("doc-purpose", "Code", p) for p in purposes)
    if statement.covered == "conditional":
        parts.append(part("info-needed", "Code", statement.missing or "OTH"))
    parts.extend(billing_code_parts(statement))
    parts.extend(reason_parts(statement, _REASON_CODES))
    if statement.policy_url:
        parts.append(_detail(concept(CRD_TEMP, "policy-link"), "Url", statement.policy_url))
    if statement.instructions:
        parts.append(_detail(concept(CRD_TEMP, "instructions"), "String", statement.instructions))
    for d in statement.details:
        parts.append(_detail(concept(text=d.name), "String", d.value, d.qualification))
    parts.extend(closing_parts(statement))
    if statement.contact:
        point = {"system": statement.contact.system, "value": statement.contact.value}
        contact = {"name": statement.contact.name, "telecom": [point]}
        parts.append(part("contact", "ContactDetail", contact))
    if statement.expires_on:
        parts.append(part("expiry-date", "Date", statement.expires_on.isoformat()))
    return complex_part(fhir_json.COVERAGE_INFORMATION, parts)


def _detail(code: Json, kind: str, value: str, qualification: str | None = None) -> Json:
    parts = [
        part("category", "Code", "cat-other"),
        part("code", "CodeableConcept", code),
        part("value", kind, value),
    ]
    if qualification:
        parts.append(part("qualification", "String", qualification))
    return complex_part("detail", parts)
