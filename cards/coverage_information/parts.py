"""Parts of coverage information with the same encoding in every CRD version."""

from __future__ import annotations

from collections.abc import Set
from datetime import date

from cards.coverage_information import EXTENSION_URL, CoverageInformation, DetailValue
from cards.fhir_json import CRD_TEMP, complex_part, concept, part
from cards.texts.wording import ReasonLabels
from cards.vocabulary import Json


def billing_code_parts(info: CoverageInformation) -> list[Json]:
    return [part("billingCode", "Coding", {"system": s, "code": c}) for s, c in info.codes]


def reason_parts(
    info: CoverageInformation, known_codes: Set[str], labels: ReasonLabels
) -> list[Json]:
    """The reasons as texts; the first carries the reason code, where the version knows it.

    Likewise each coded reason. Several reasons are labeled by their aspect (CRD 2.2.1 covinfo-2).
    """
    said = [("coverage", text) for text in info.reasons]
    said += [("authorization", text) for _, text in info.coded_reasons]
    said += [("form", d.reason) for d in info.documentation]
    said += [("assumption", text) for text in info.assumptions]
    said = list(dict.fromkeys(said))
    codes = {("authorization", text): code for code, text in info.coded_reasons}
    if said and info.reason_code:
        codes[said[0]] = info.reason_code
    coded = [code if (code := codes.get(each)) in known_codes else None for each in said]
    if len(said) > 1:
        said = [(aspect, getattr(labels, aspect).format(reason=text)) for aspect, text in said]
    reasons = [
        concept(CRD_TEMP, code, text) if code else concept(text=text)
        for code, (_, text) in zip(coded, said, strict=True)
    ]
    return [part("reason", "CodeableConcept", r) for r in reasons]


def detail_value(value: DetailValue) -> Json:
    """A detail's value in its FHIR type: string, boolean, Quantity or Period."""
    if isinstance(value, str):
        return part("value", "String", value)
    if isinstance(value, bool):
        return part("value", "Boolean", value)
    first, second = value
    if isinstance(first, date) and isinstance(second, date):
        period = {"start": first.isoformat(), "end": second.isoformat()}
        return part("value", "Period", period)
    written = str(first)
    number = float(written) if "." in written else int(written)
    return part("value", "Quantity", {"value": number, "system": UCUM, "code": str(second)})


UCUM = "http://unitsofmeasure.org"


def closing_parts(info: CoverageInformation) -> list[Json]:
    """Dependencies, questionnaires, date and assertion id, in the extension's sequence."""
    return [
        *(part("dependency", "Reference", {"reference": r}) for r in info.dependencies),
        *(part("questionnaire", "Canonical", d.questionnaire) for d in info.documentation),
        part("date", "Date", info.stated_on.isoformat()),
        part("coverage-assertion-id", "String", info.assertion_id),
        *([part("satisfied-pa-id", "String", info.satisfied_by)] if info.satisfied_by else ()),
    ]


def extension(parts: list[Json]) -> Json:
    """The coverage-information extension of these parts."""
    return complex_part(EXTENSION_URL, parts)
