"""The parts of coverage information that every version of CRD writes alike."""

from __future__ import annotations

from collections.abc import Set

from cards import texts
from cards.coverage_information import EXTENSION_URL, CoverageInformation
from cards.fhir_json import CRD_TEMP, complex_part, concept, part
from cards.vocabulary import Json


def billing_code_parts(info: CoverageInformation) -> list[Json]:
    return [part("billingCode", "Coding", {"system": s, "code": c}) for s, c in info.codes]


def reason_parts(info: CoverageInformation, known_codes: Set[str]) -> list[Json]:
    """The reasons as texts; the first carries the reason code, where the version knows it.

    Several ones each say what they are a reason for (CRD 2.2.1 covinfo-2).
    """
    said = [("coverage", text) for text in info.reasons]
    said += [("form", d.reason) for d in info.documentation]
    said += [("assumption", text) for text in info.assumptions]
    said = list(dict.fromkeys(said))
    if len(said) > 1:
        labels = texts.table("phrases")["reasons"]
        said = [(aspect, labels[aspect].format(reason=text)) for aspect, text in said]
    reasons = [concept(text=text) for _, text in said]
    if info.reason_code in known_codes and reasons:
        reasons[0] = concept(CRD_TEMP, info.reason_code, said[0][1])
    return [part("reason", "CodeableConcept", r) for r in reasons]


def closing_parts(info: CoverageInformation) -> list[Json]:
    """Dependencies, questionnaires, date and assertion id, in the extension's own order."""
    return [
        *(part("dependency", "Reference", {"reference": r}) for r in info.dependencies),
        *(part("questionnaire", "Canonical", d.questionnaire) for d in info.documentation),
        part("date", "Date", info.stated_on.isoformat()),
        part("coverage-assertion-id", "String", info.assertion_id),
    ]


def extension(parts: list[Json]) -> Json:
    """The coverage-information extension of these parts."""
    return complex_part(EXTENSION_URL, parts)
