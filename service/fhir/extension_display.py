"""Display of extension parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.fhir.elements import mappings


def value_in_words(part: Mapping[str, Any]) -> str:
    """An extension part's value on one line, nested parts in sequence.

    A part of whatever author has words: what is no FHIR is left out.
    """
    if "extension" in part:
        inner = {str(p.get("url")): value_in_words(p) for p in mappings(part["extension"])}
        if {"code", "value"} <= inner.keys():  # CRD's detail: a named value, of some category
            return f"{inner['code']}: {inner['value']}"
        return " · ".join(f"{name}: {value}" for name, value in inner.items())
    value = next((v for k, v in part.items() if k.startswith("value")), "")
    if isinstance(value, Mapping):
        words = [value.get("text"), value.get("reference"), value.get("name"), value.get("value")]
        codings = mappings(value["coding"]) if "coding" in value else [value]
        words.extend(c.get("code") for c in codings)
        words.extend(t.get("value") for t in mappings(value.get("telecom")))
        return " · ".join(str(w) for w in words if w)
    return str(value)
