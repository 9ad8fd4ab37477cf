"""Short phrases for services and codes, for summaries that have 139 characters in all."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

SUMMARY_LIMIT = 139
MOST_CODES_NAMED = 5


class NamedService(NamedTuple):
    """A code with our own short name for it, and the name of the group it belongs to."""

    code: str
    name: str
    group: str


def services_phrase(services: Sequence[NamedService]) -> str:
    """The services in a few words: the group's name, or the groups' names joined."""
    groups = list(dict.fromkeys(s.group for s in services))
    if len(groups) <= 1:
        return "".join(groups)
    # "MR spectroscopy" and "MR spectroscopy for disc pain": the longer one adds nothing here.
    broad = [g for g in groups if not any(o != g and g.startswith(o) for o in groups)]
    return " and ".join(broad) if len(broad) <= 2 else f"{len(services)} services"


def codes_phrase(services: Sequence[NamedService]) -> str:
    """The codes, all of them up to five; beyond, the first four and how many more."""
    codes = list(dict.fromkeys(s.code for s in services))
    if len(codes) <= MOST_CODES_NAMED:
        return ", ".join(codes)
    named = codes[: MOST_CODES_NAMED - 1]
    return f"{', '.join(named)} and {len(codes) - len(named)} more"


def fill(template: str, services: Sequence[NamedService]) -> str:
    """A policy's or notice's sentence with {services} and {codes} filled in."""
    return _filled(template, tuple(services))


@functools.lru_cache(maxsize=4096)
def _filled(template: str, services: tuple[NamedService, ...]) -> str:
    # Remembered: neither a policy's words nor its services say anything of a patient.
    return template.replace("{services}", services_phrase(services)).replace(
        "{codes}", codes_phrase(services)
    )
