"""CRD 2.0.1: how a statement is written as coverage information, and where its codes live."""

from __future__ import annotations

from cards import fhir_json
from cards.coverage_information import NO_DETAIL_CODE, CoverageInformation
from cards.fhir_json import CRD_TEMP, complex_part, concept, part
from cards.parts import billing_code_parts, closing_parts, reason_parts
from cards.vocabulary import Json

VERSION = "2.0"
TOPIC_SYSTEM = CRD_TEMP
DOC_PURPOSE_SYSTEM = CRD_TEMP
TASK_TELLS_AFTER_COMPLETION = True
"""profile-taskquestionnaire has an input for what becomes of the completed form."""
EMPTY_SYSTEM_ACTIONS = True
"""An empty list says that the service gives systemActions and has none to give."""

_COVERED = {"indeterminate": "conditional"}
_REASON_CODES = frozenset({"gold-card", NO_DETAIL_CODE})
_INFO_NEEDED = frozenset({"performer", "location", "timeframe", "contract-window", "OTH"})


def coverage_information(statement: CoverageInformation) -> Json:
    """The coverage-information extension of CRD 2.0.1, with its invariants crd-ci-q1 to q5."""
    covered = _COVERED.get(statement.covered, statement.covered)
    # crd-ci-q2 fails in practice where pa-needed is absent, whatever `covered` says.
    pa_needed = "no-auth" if covered == "not-covered" else "conditional"
    parts = [
        part("coverage", "Reference", {"reference": statement.coverage}),
        part("covered", "Code", covered),
        part("pa-needed", "Code", pa_needed),
    ]
    if statement.documentation:
        needed = {d.doc_needed for d in statement.documentation}
        doc_needed = needed.pop() if len(needed) == 1 else "both"
        parts.append(part("doc-needed", "Code", doc_needed))
        purposes = dict.fromkeys(d.doc_purpose for d in statement.documentation)
        parts.extend(part("doc-purpose", "Code", p) for p in purposes)
    if statement.missing and covered == "conditional":
        missing = statement.missing if statement.missing in _INFO_NEEDED else "OTH"
        parts.append(part("info-needed", "Code", missing))
    parts.extend(billing_code_parts(statement))
    parts.extend(reason_parts(statement, _REASON_CODES))
    if statement.instructions:
        parts.append(_detail("instructions", statement.instructions))
    parts.extend(_detail(d.name, d.value, d.qualification) for d in statement.details)
    parts.extend(closing_parts(statement))
    if statement.contact:
        contact = {"system": statement.contact.system, "value": statement.contact.value}
        parts.append(part("contact", "ContactPoint", contact))
    return complex_part(fhir_json.COVERAGE_INFORMATION, parts)


def _detail(code: str, text: str, qualification: str | None = None) -> Json:
    """2.0's detail codes have none for any of ours: the binding is extensible, text says it."""
    parts = [part("code", "CodeableConcept", concept(text=code)), part("value", "String", text)]
    if qualification:
        parts.append(part("qualification", "String", qualification))
    return complex_part("detail", parts)
