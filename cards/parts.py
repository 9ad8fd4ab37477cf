"""The parts of coverage information that every version of CRD writes alike."""

from __future__ import annotations

from collections.abc import Set

from cards.fhir_json import CRD_TEMP, concept, part
from cards.statement import Statement
from cards.vocabulary import Json


def billing_code_parts(statement: Statement) -> list[Json]:
    return [part("billingCode", "Coding", {"system": s, "code": c}) for s, c in statement.codes]


def reason_parts(statement: Statement, known_codes: Set[str]) -> list[Json]:
    """The reasons as texts; the first carries the reason code, where the version knows it."""
    texts = [*statement.reasons, *(d.reason for d in statement.documentation)]
    reasons = [concept(text=t) for t in dict.fromkeys(texts)]
    if statement.reason_code in known_codes and reasons:
        reasons[0] = concept(CRD_TEMP, statement.reason_code, statement.reasons[0])
    return [part("reason", "CodeableConcept", r) for r in reasons]


def closing_parts(statement: Statement) -> list[Json]:
    """Dependencies, questionnaires, date and assertion id, in the extension's own order."""
    return [
        *(part("dependency", "Reference", {"reference": r}) for r in statement.dependencies),
        *(part("questionnaire", "Canonical", d.questionnaire) for d in statement.documentation),
        part("date", "Date", statement.stated_on.isoformat()),
        part("coverage-assertion-id", "String", statement.assertion_id),
    ]
