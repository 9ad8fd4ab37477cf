"""Member identity: member numbers, birth date and name in Patient and Coverage."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
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
    told = [subscriber] if isinstance(subscriber, str) and subscriber.strip() else []
    told.extend(_member_numbers(coverage.data, systems))
    data: Mapping[str, Any] = patient.data if patient is not None else {}
    name = _name(data)
    born = day_range(data.get("birthDate"), None)
    given = name.get("given")
    parts = given if isinstance(given, list) else []
    return MemberIdentity(
        coverage_numbers=tuple(told),
        patient_numbers=tuple(_member_numbers(data, systems)),
        birth_date=born[0] if born and born[0] == born[1] else None,
        family=_text(name.get("family")),
        given=" ".join(filter(None, map(_text, parts))),
        text=_text(name.get("text")),
        plan=next(_plans(coverage.data), ""),
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
    names = [n for n in _mappings(patient.get("name")) if n.get("use") != "old"]
    official = [n for n in names if n.get("use") == "official"]
    return next(iter(official or names), {})


def _member_numbers(data: Mapping[str, Any], systems: frozenset[str]) -> Iterator[str]:
    for identifier in _mappings(data.get("identifier")):
        value, system = identifier.get("value"), identifier.get("system")
        if not isinstance(value, str) or identifier.get("use") in ("old", "temp"):
            continue
        payers_own = isinstance(system, str) and system in systems
        if value.strip() and (payers_own or _is_member_number(identifier.get("type"))):
            yield value


def _is_member_number(concept: object) -> bool:
    codings = concept.get("coding") if isinstance(concept, dict) else None
    return any(
        c.get("code") == _MEMBER_NUMBER and c.get("system") in (_IDENTIFIER_TYPES, None)
        for c in _mappings(codings)
    )


def _plans(coverage: Mapping[str, Any]) -> Iterator[str]:
    for each in _mappings(coverage.get("class")):
        kind = each.get("type")
        codings = kind.get("coding") if isinstance(kind, Mapping) else None
        value = each.get("value")
        if isinstance(value, str) and any(
            c.get("system") == _CLASSES and c.get("code") == "plan" for c in _mappings(codings)
        ):
            yield value.strip()


def _mappings(value: object) -> Iterator[Mapping[str, Any]]:
    for item in value if isinstance(value, list) else ():
        if isinstance(item, dict):
            yield item


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""
