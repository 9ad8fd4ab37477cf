"""CRD 2.0.1: rules, code systems and encoding of coverage information."""

from __future__ import annotations

from cards.coverage_information import (
    NO_DETAIL_CODE,
    CoverageInformation,
    DetailValue,
    DocNeeded,
)
from cards.coverage_information.parts import (
    billing_code_parts,
    closing_parts,
    detail_value,
    extension,
    reason_parts,
)
from cards.fhir_json import CRD_TEMP, complex_part, concept, part
from cards.questionnaires.response_draft import DtrShape
from cards.texts.wording import ReasonLabels
from cards.vocabulary import Json
from service.crd.crd_version import CrdVersion
from service.errors import UnprocessableRequest

_COVERED = {"indeterminate": "conditional"}
_REASON_CODES = frozenset({"gold-card", NO_DETAIL_CODE})
_INFO_NEEDED = frozenset({"performer", "location", "timeframe", "contract-window", "OTH"})


def _write(info: CoverageInformation, labels: ReasonLabels) -> Json:
    """The coverage-information extension of CRD 2.0.1, with its invariants crd-ci-q1 to q5."""
    covered = _COVERED.get(info.covered, info.covered)
    pa_needed = info.pa_needed or "conditional"
    if covered == "not-covered":
        # It should be absent, but crd-ci-q2 then fails in practice. Of its codes the least untrue:
        # where a plan decides on request, "no-auth" would say that there is no need to ask.
        pa_needed = "no-auth" if info.reason_code else "conditional"
    parts = [
        part("coverage", "Reference", {"reference": info.coverage}),
        part("covered", "Code", covered),
        part("pa-needed", "Code", pa_needed),
    ]
    if info.documentation:
        needed = {d.doc_needed for d in info.documentation}
        doc_needed = needed.pop() if len(needed) == 1 else "both"
        parts.append(part("doc-needed", "Code", doc_needed))
        purposes = dict.fromkeys(d.doc_purpose for d in info.documentation)
        parts.extend(part("doc-purpose", "Code", p) for p in purposes)
    if "conditional" in (covered, pa_needed):  # crd-ci-q3
        needed_info = (i if i in _INFO_NEEDED else "OTH" for i in info.info_needed)
        parts.extend(part("info-needed", "Code", i) for i in dict.fromkeys(needed_info))
    parts.extend(billing_code_parts(info))
    parts.extend(reason_parts(info, _REASON_CODES, labels))
    if info.instructions:
        parts.append(_detail("instructions", info.instructions))
    parts.extend(_detail(d.name, d.value, d.qualification) for d in info.details)
    parts.extend(closing_parts(info))
    if info.contact:
        contact = {"system": info.contact.system, "value": info.contact.value}
        parts.append(part("contact", "ContactPoint", contact))
    return extension(parts)


def _detail(code: str, value: DetailValue, qualification: str | None = None) -> Json:
    """A detail with its code as text: 2.0's extensible code system has none for it."""
    parts = [part("code", "CodeableConcept", concept(text=code)), detail_value(value)]
    if qualification:
        parts.append(part("qualification", "String", qualification))
    return complex_part("detail", parts)


V2_0 = CrdVersion(
    name="2.0",
    refusal=UnprocessableRequest,  # CRD 2.0.1 statement 163
    needs_one_coverage=False,  # what can be said is answered (CRD 2.2.1 found-34)
    topic_system=CRD_TEMP,
    dtr=DtrShape(CRD_TEMP, filled_in="auto", coverage_is_context=True),  # DTR 2.0.1
    doc_needed={
        DocNeeded.CLINICAL: "clinical",
        DocNeeded.ADMIN: "admin",
        DocNeeded.PATIENT: "admin",  # 2.0 has no code for the patient's own
        DocNeeded.CONDITIONAL: "conditional",
    },
    coverage_information=_write,
    task_tells_after_completion=True,  # profile-taskquestionnaire's input
    empty_system_actions=True,
    launch_has_suggestion=True,
)
