"""CRD 2.2.1: rules, code systems and encoding of coverage information."""

from __future__ import annotations

from cards.coverage_information import CoverageInformation, DocNeeded
from cards.coverage_information.parts import (
    billing_code_parts,
    closing_parts,
    extension,
    reason_parts,
)
from cards.fhir_json import CRD_TEMP, complex_part, concept, part
from cards.questionnaires.response_draft import DtrShape
from cards.texts.wording import ReasonLabels
from cards.vocabulary import Json
from service.crd.crd_version import CrdVersion
from service.errors import MalformedRequest

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
    if info.covered != "not-covered" and info.pa_needed:
        parts.append(part("pa-needed", "Code", info.pa_needed))
    elif info.covered in ("conditional", "indeterminate"):
        parts.append(part("pa-needed", "Code", info.covered))
    needed = dict.fromkeys(d.doc_needed for d in info.documentation)
    parts.extend(part("doc-needed", "Code", n) for n in needed)
    purposes = dict.fromkeys(d.doc_purpose for d in info.documentation)
    parts.extend(part("doc-purpose", "Code", p) for p in purposes)
    if info.covered == "conditional":
        parts.append(part("info-needed", "Code", info.missing or "OTH"))
    parts.extend(billing_code_parts(info))
    parts.extend(reason_parts(info, _REASON_CODES, labels))
    if info.policy_url:
        parts.append(_detail(concept(CRD_TEMP, "policy-link"), "Url", info.policy_url))
    if info.instructions:
        parts.append(_detail(concept(CRD_TEMP, "instructions"), "String", info.instructions))
    for d in info.details:
        parts.append(_detail(concept(text=d.name), "String", d.value, d.qualification))
    parts.extend(closing_parts(info))
    if info.contact:
        point = {"system": info.contact.system, "value": info.contact.value}
        contact = {"name": info.contact.name, "telecom": [point]}
        parts.append(part("contact", "ContactDetail", contact))
    if info.expires_on:
        parts.append(part("expiry-date", "Date", info.expires_on.isoformat()))
    return extension(parts)


def _detail(code: Json, kind: str, value: str, qualification: str | None = None) -> Json:
    parts = [
        part("category", "Code", "cat-other"),
        part("code", "CodeableConcept", code),
        part("value", kind, value),
    ]
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
