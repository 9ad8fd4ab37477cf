"""Codes as the files write them: "icd10|M54.5", "icd10|M54*", "icd10|C00-C97"."""

from __future__ import annotations

from collections.abc import Mapping

from service.decision.order import Code
from service.decision.value_sets import CodeSpan
from service.fhir.systems import (
    CPT,
    HCPCS,
    ICD_10_CM,
    LOINC,
    PLACE_OF_SERVICE,
    PROVIDER_TAXONOMY,
    SNOMED_CT,
    SOURCE_OF_PAYMENT,
    US_NPI,
    canonical_code,
)

CODE_SYSTEMS: Mapping[str, str] = {
    "cpt": CPT,
    "hcpcs": HCPCS,
    "icd10": ICD_10_CM,
    "snomed": SNOMED_CT,
    "loinc": LOINC,
    "pos": PLACE_OF_SERVICE,
    "taxonomy": PROVIDER_TAXONOMY,
    "npi": US_NPI,
    "sopt": SOURCE_OF_PAYMENT,
}
"""The names by which the files call the systems of codes."""

WITH_RANGES = frozenset({ICD_10_CM, CPT, HCPCS})
"""Systems whose codes have an order, so that a hyphen stands between two of them."""

_BILLED = (2, 5)
"""Characters of a modifier, and of a code of CPT or HCPCS."""

HOW_TO_WRITE = 'write "icd10|M54.5", "icd10|M54*" or "icd10|C00-C97"'


def code_system(written: str) -> str | None:
    """The URI of a system by its short name or as itself; None if it is neither."""
    known = CODE_SYSTEMS.get(written)
    if known is not None:
        return known
    return written if ":" in written else None


def read_token(written: str) -> Code | CodeSpan:
    """A code, a prefix or a range. Raises ValueError that says what is wrong with it."""
    name, _, value = written.partition("|")
    return read_code(name, value)


def read_code(name: str, value: str) -> Code | CodeSpan:
    """The same of a system and a code, prefix or range that stand apart."""
    name, value = name.strip(), value.strip()
    if not value:
        raise ValueError(f"{name!r} is no system and code")
    if not value.isprintable():
        raise ValueError("the code has a character that cannot be seen")
    system = code_system(name)
    if system is None:
        known = ", ".join(CODE_SYSTEMS)
        raise ValueError(f"the code system {name!r} is not known here: {known}, or its address")
    if "*" in value[:-1] or (value[-1] == "*" and "-" in value and system in WITH_RANGES):
        raise ValueError(
            f"{value} is neither a prefix nor a range: a range has all codes that begin like its"
            " ends, without *"
        )
    if value[-1] == "*":
        first = _canonical(system, value[:-1])
        return CodeSpan(first.system, first.value, first.value)
    if "-" in value and system in WITH_RANGES:
        start, _, end = value.partition("-")
        low, high = _canonical(system, start), _canonical(system, end)
        if high.system != low.system or high < low:
            raise ValueError(f"the range {value} ends before it begins")
        return CodeSpan(low.system, low.value, high.value)
    code = _canonical(system, value)
    if code.system in (CPT, HCPCS) and len(code.value) not in _BILLED:
        said = "a spreadsheet takes zeros in front away"
        raise ValueError(f"{value} has not the five characters of such a code: {said}")
    return code


def _canonical(system: str, value: str) -> Code:
    code = canonical_code(system, value)
    if code is None:
        raise ValueError(f"a code of {system} is missing")
    return code
