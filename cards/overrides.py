"""Why a clinician may go on all the same: the override reasons offered on a card."""

from __future__ import annotations

from cards import texts
from cards.vocabulary import Coding

SYSTEM = "https://covercard.example/fhir/CodeSystem/override-reason"
"""Our own code system; the name is reserved for examples and resolves nowhere."""


def override_reasons() -> list[Coding]:
    """Every reason with code, system and display (CDS Hooks 2.0, Override Reason)."""
    return [
        Coding(code=r["code"], system=SYSTEM, display=r["display"])
        for r in texts.table("phrases")["override_reasons"]
    ]
