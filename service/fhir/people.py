"""Patient's name and birth date, for forms returned to the sending EHR."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from service.fhir.dates import day_range
from service.fhir.document import Resource
from service.fhir.elements import mappings, text

_PREFERRED = {"official": 0, "usual": 1, None: 2}
"""Name uses for a form, by preference; old, maiden and nickname are excluded."""


@dataclass(frozen=True, slots=True)
class Person:
    """A patient's name and birth date, untrusted; never logged."""

    name: str | None
    birth_date: date | None


def read_person(patient: Resource) -> Person:
    """The name and birth date of a Patient, None if absent."""
    # A use may be of any JSON type; only text can be looked up.
    fitting = [
        n for n in mappings(patient.data.get("name")) if isinstance(n.get("use"), str | None)
    ]
    fitting = [n for n in fitting if n.get("use") in _PREFERRED]
    fitting.sort(key=lambda n: _PREFERRED[n.get("use")])
    born = day_range(patient.data.get("birthDate"), None)
    return Person(
        name=next((written for n in fitting if (written := _written(n))), None),
        birth_date=born[0] if born and born[0] == born[1] else None,
    )


def _written(name: Mapping[str, Any]) -> str | None:
    given = name.get("given")
    parts = [*(given if isinstance(given, list) else ()), name.get("family")]
    return text(name.get("text")) or " ".join(filter(None, map(text, parts))) or None
