"""Short phrases for services and codes, for summaries of at most 139 characters."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

SUMMARY_LIMIT = 139
MOST_CODES_NAMED = 5


class NamedService(NamedTuple):
    """A code with its own short name, and its group's name."""

    code: str
    name: str
    group: str


def services_phrase(services: Sequence[NamedService]) -> str:
    """The services in short: the group's name, or the joined names of groups."""
    groups = list(dict.fromkeys(s.group for s in services))
    if len(groups) <= 1:
        return "".join(groups)
    # "MR spectroscopy" and "MR spectroscopy for disc pain": the longer name is redundant.
    broad = [g for g in groups if not any(o != g and g.startswith(o) for o in groups)]
    return " and ".join(broad) if len(broad) <= 2 else f"{len(services)} services"


def codes_phrase(services: Sequence[NamedService]) -> str:
    """The codes, up to five; beyond, the first four and the number of the others."""
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
    # Cached: a policy's text and services contain no patient data.
    return fill_in(template, services_phrase(services), codes_phrase(services))


def fill_in(template: str, services: str, codes: str) -> str:
    """The same with the two phrases at hand."""
    return template.replace("{services}", services).replace("{codes}", codes)
