"""Member identity: member numbers, birth date and name in Patient and Coverage."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from service.fhir.dates import day_range
from service.fhir.document import Resource

_IDENTIFIER_TYPES = "http://terminology.hl7.org/CodeSystem/v2-0203"
_MEMBER_NUMBER = "MB"
_CLASSES = "http://terminology.hl7.org/CodeSystem/coverage-class"


@dataclass(frozen=True, slots=True)
class MemberIdentity:
    """Identifying data of a member, untrusted; never logged.

    `coverage_numbers` are the Coverage's subscriberId and member numbers, `patient_numbers` the
    Patient's member numbers. `family`, `given` and `text` are those of the name in use.
    """

    coverage_numbers: tuple[str, ...] = field(default=(), repr=False)
    patient_numbers: tuple[str, ...] = field(default=(), repr=False)
    birth_date: date | None = field(default=None, repr=False)
    family: str = field(default="", repr=False)
    given: str = field(default="", repr=False)
    text: str = field(default="", repr=False)
    plan: str = field(default="", repr=False)


def read_member_identity(
    patient: Resource | None, coverage: Resource, systems: frozenset[str]
) -> MemberIdentity:
    """The member identity of a Coverage; `systems` are the payer's identifier systems.

    An identifier is a member number by its type (MB) or its system. The Patient's name is the one
    in use.
    """
    subscriber = coverage.data.get("subscriberId")
    numbers = _member_numbers(coverage.data, systems)
    if isinstance(subscriber, str) and subscriber.strip():
        numbers.insert(0, subscriber)
    data: Mapping[str, Any] = patient.data if patient is not None else {}
    name = _name(data)
    born = day_range(data.get("birthDate"), None)
    return MemberIdentity(
        coverage_numbers=tuple(numbers),
        patient_numbers=tuple(_member_numbers(data, systems)),
        birth_date=born[0] if born and born[0] == born[1] else None,
        family=_text(name.get("family")),
        given=" ".join(filter(None, map(_text, _items(name.get("given"))))),
        text=_text(name.get("text")),
        plan=_plan(coverage.data),
    )


def card_number(coverage: Resource, systems: frozenset[str]) -> str | None:
    """The member number for a form: the only one of the Coverage, None where there are several.

    A number in the format of a Medicare or Social Security number is left out: forms ask for none.
    """
    told = read_member_identity(None, coverage, systems).coverage_numbers
    numbers = {n.strip() for n in told if not _OF_MEDICARE.fullmatch(re.sub(r"[\s-]", "", n))}
    return numbers.pop() if len(numbers) == 1 else None


_OF_MEDICARE = re.compile(
    r"[1-9][A-Z][0-9A-Z][0-9][A-Z][0-9A-Z][0-9][A-Z]{2}[0-9]{2}"  # since 2018 (CMS)
    r"|[A-Z]{0,3}[0-9]{9}[A-Z]?[0-9A-Z]?",  # a Social Security number, as it was before
    re.IGNORECASE,
)


def _name(patient: Mapping[str, Any]) -> Mapping[str, Any]:
    first: Mapping[str, Any] | None = None
    for name in _items(patient.get("name")):
        if isinstance(name, dict) and (use := name.get("use")) != "old":
            if use == "official":
                return name
            first = name if first is None else first
    return first or {}


def _member_numbers(data: Mapping[str, Any], systems: frozenset[str]) -> list[str]:
    found = []
    for identifier in _items(data.get("identifier")):
        value = identifier.get("value") if isinstance(identifier, dict) else None
        if not isinstance(value, str) or identifier.get("use") in ("old", "temp"):
            continue
        system = identifier.get("system")
        payers_own = isinstance(system, str) and system in systems
        if value.strip() and (payers_own or _is_member_number(identifier.get("type"))):
            found.append(value)
    return found


def _is_member_number(concept: object) -> bool:
    return _has_coding(concept, _MEMBER_NUMBER, (_IDENTIFIER_TYPES, None))


def _plan(coverage: Mapping[str, Any]) -> str:
    for each in _items(coverage.get("class")):
        value = each.get("value") if isinstance(each, dict) else None
        if isinstance(value, str) and _has_coding(each.get("type"), "plan", (_CLASSES,)):
            return value.strip()
    return ""


def _has_coding(concept: object, code: str, systems: tuple[str | None, ...]) -> bool:
    for coding in _items(concept.get("coding")) if isinstance(concept, dict) else ():
        if not isinstance(coding, dict):
            continue
        if coding.get("code") == code and coding.get("system") in systems:
            return True
    return False


def _items(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""
