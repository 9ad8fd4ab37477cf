"""Shared builders of FHIR JSON."""

from __future__ import annotations

from cards.vocabulary import Json

CRD_TEMP = "http://hl7.org/fhir/us/davinci-crd/CodeSystem/temp"
SDC_TEMP = "http://hl7.org/fhir/uv/sdc/CodeSystem/temp"


def part(url: str, kind: str, value: object) -> Json:
    """A nested extension: part("covered", "Code", "not-covered")."""
    return {"url": url, f"value{kind}": value}


def complex_part(url: str, parts: list[Json]) -> Json:
    return {"url": url, "extension": parts}


def concept(system: str | None = None, code: str | None = None, text: str | None = None) -> Json:
    """A CodeableConcept of the given parts."""
    made: Json = {}
    if system and code:
        made["coding"] = [{"system": system, "code": code}]
    if text:
        made["text"] = text
    return made
