"""Patient's name and birth date, for forms returned to the sending EHR."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from service.fhir.dates import day_range
from service.fhir.document import Resource

_PREFERRED = {"official": 0, "usual": 1, None: 2}
"""Name uses for a form, by preference; old, maiden and nickname are excluded."""


@dataclass(frozen=True, slots=True)
class Person:
    """A patient's name and birth date, untrusted; never logged."""

    name: str | None
    birth_date: date | None


def read_person(patient: Resource) -> Person:
    """The name and birth date of a Patient, None if absent."""
    names = patient.data.get("name")
    fitting = [n for n in (names if isinstance(names, list) else ()) if isinstance(n, Mapping)]
    # A use may be of any JSON type; only text can be looked up.
    fitting = [n for n in fitting if isinstance(n.get("use"), str | None)]
    fitting = [n for n in fitting if n.get("use") in _PREFERRED]
    fitting.sort(key=lambda n: _PREFERRED[n.get("use")])
    born = day_range(patient.data.get("birthDate"), None)
    return Person(
        name=next((text for n in fitting if (text := _written(n))), None),
        birth_date=born[0] if born and born[0] == born[1] else None,
    )


def _written(name: Mapping[str, Any]) -> str | None:
    text = name.get("text")
    if isinstance(text, str) and text.strip():
        return text.strip()
    return " ".join(_parts(name)) or None


def _parts(name: Mapping[str, Any]) -> Iterator[str]:
    given = name.get("given")
    for part in [*(given if isinstance(given, list) else ()), name.get("family")]:
        if isinstance(part, str) and part.strip():
            yield part.strip()
