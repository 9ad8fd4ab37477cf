"""CRD 2.2.1: rules, code systems and encoding of coverage information."""

from __future__ import annotations

from cards.coverage_information import CoverageInformation, DocNeeded
from cards.coverage_information.parts import (
    billing_code_parts,
    closing_parts,
    detail_value,
    extension,
    reason_parts,
)
from cards.fhir_json import complex_part, concept, part
from cards.questionnaires.response_draft import DtrShape
from cards.texts.wording import ReasonLabels
from cards.vocabulary import Json
from service.crd.crd_version import CrdVersion
from service.errors import MalformedRequest

_DETAILS = "http://terminology.hl7.org/CodeSystem/crd-coverage-detail"
"""Codes of details, which live outside the guide (ValueSet coverageDetailNew)."""
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


def _write(info: CoverageInformation, labels: ReasonLabels) -> Json:
    """The coverage-information extension of CRD 2.2.1."""
    parts = [
        part("coverage", "Reference", {"reference": info.coverage}),
        part("covered", "Code", info.covered),
    ]
    undecided = info.covered if info.covered in ("conditional", "indeterminate") else None
    pa_needed = None if info.covered == "not-covered" else info.pa_needed or undecided
    if pa_needed:
        parts.append(part("pa-needed", "Code", pa_needed))
    needed = dict.fromkeys(d.doc_needed for d in info.documentation)
    parts.extend(part("doc-needed", "Code", n) for n in needed)
    purposes = dict.fromkeys(d.doc_purpose for d in info.documentation)
    parts.extend(part("doc-purpose", "Code", p) for p in purposes)
    if "conditional" in (info.covered, pa_needed):
        parts.extend(part("info-needed", "Code", i) for i in info.info_needed or ("OTH",))
    parts.extend(billing_code_parts(info))
    parts.extend(reason_parts(info, _REASON_CODES, labels))
    if info.policy_url:
        url = part("value", "Url", info.policy_url)
        parts.append(_detail(concept(_DETAILS, "policy-link"), url))
    if info.instructions:
        text = detail_value(info.instructions)
        parts.append(_detail(concept(_DETAILS, "instructions"), text))
    for d in info.details:
        value = detail_value(d.value)
        parts.append(_detail(concept(text=d.name), value, d.qualification, d.category))
    parts.extend(closing_parts(info))
    if info.contact:
        point = {"system": info.contact.system, "value": info.contact.value}
        contact = {"name": info.contact.name, "telecom": [point]}
        parts.append(part("contact", "ContactDetail", contact))
    if info.expires_on:
        parts.append(part("expiry-date", "Date", info.expires_on.isoformat()))
    return extension(parts)


def _detail(
    code: Json, value: Json, qualification: str | None = None, category: str = "cat-other"
) -> Json:
    parts = [part("category", "Code", category), part("code", "CodeableConcept", code), value]
    if qualification:
        parts.append(part("qualification", "String", qualification))
    return complex_part("detail", parts)


V2_2 = CrdVersion(
    name="2.2",
    refusal=MalformedRequest,  # CRD 2.2.1 hook-13
    needs_one_coverage=True,  # CRD 2.2.1 hook-13
    topic_system="http://terminology.hl7.org/CodeSystem/cdshooks-card-type",
    dtr=DtrShape(  # DTR 2.2
        "http://hl7.org/fhir/us/davinci-crd/CodeSystem/coverage-information-codes",
        filled_in="auto-server",
        coverage_is_context=False,
    ),
    doc_needed={needed: needed.value for needed in DocNeeded},
    coverage_information=_write,
    task_tells_after_completion=False,  # its codes are gone from CRD's code systems
    empty_system_actions=False,  # CRDHooksResponseBase has no empty lists
    launch_has_suggestion=False,
)
