"""SMART scopes of backend services: system/<type>.<permissions>, in the words of SMART 1 and 2."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

TYPES = ("Library", "Questionnaire", "QuestionnaireResponse", "ValueSet")
"""Types of resource that the FHIR endpoint has."""
SUPPORTED = ("system/*.rs", *(f"system/{kind}.rs" for kind in TYPES))
"""Scopes for discovery."""

_SCOPE = re.compile(r"system/([A-Za-z]+|\*)\.(\*|read|write|[cruds]+)(\?.*)?")


class Scope(NamedTuple):
    """A scope as written, with its type ("*" is every type) and whether it allows to read."""

    written: str
    type: str
    reads: bool


def understood(written: str) -> tuple[Scope, ...]:
    """The scopes of a space-separated list that this service can grant; others are left out."""
    found = (_SCOPE.fullmatch(each) for each in dict.fromkeys(written.split()))
    scopes = (Scope(m[0], m[1], m[2] in ("*", "read") or "r" in m[2]) for m in found if m)
    return tuple(s for s in scopes if s.reads and s.type in ("*", *TYPES))


def allows(scopes: Iterable[Scope], kind: str) -> bool:
    """Whether one of the scopes allows the operations of a type of resource."""
    return any(scope.reads and scope.type in ("*", kind) for scope in scopes)
