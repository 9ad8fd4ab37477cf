"""Offers of an answer beside the determination: other orders, apps, forms, readings, instructions.

A policy's outcome names them as data. Texts are templates as `policy.Wording`; `hooks` are the CDS
Hooks that an offer is made in. Every value here is frozen and can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from service.decision.order import Code


class OfferedService(NamedTuple):
    """A code that an order is offered for, with our own short name; `resource` is its FHIR type."""

    code: Code
    name: str
    resource: str


@dataclass(frozen=True, slots=True)
class Instructions:
    """Instructions without link or button (CRD: instructions)."""

    summary: str
    detail: str
    hooks: frozenset[str]


@dataclass(frozen=True, slots=True)
class Reading:
    """Pages to read: the policy's, then (label, URL) of others (CRD: external reference)."""

    summary: str
    detail: str
    links: tuple[tuple[str, str], ...]
    hooks: frozenset[str]


@dataclass(frozen=True, slots=True)
class Alternatives:
    """Services in place of the one ordered (CRD: propose alternate request).

    `tried_first` says that the policy wants them tried before. `replaces` makes the button delete
    the order and create another, where so much changes that what was said of it no longer fits
    (CRD 2.2.1 resp-54); else the order gets another code.
    """

    summary: str
    detail: str
    services: tuple[OfferedService, ...]
    tried_first: bool
    replaces: bool
    hooks: frozenset[str]


@dataclass(frozen=True, slots=True)
class Companions:
    """Orders that belong beside the one that was made (CRD: additional orders)."""

    summary: str
    detail: str
    services: tuple[OfferedService, ...]
    hooks: frozenset[str]


@dataclass(frozen=True, slots=True)
class App:
    """A SMART app to be launched (CRD: launch SMART application).

    `name` is the one by which a client's entry gives the launch URL that it has for the app;
    `launch` is the URL of the payer's own, for all other clients, None where the payer has none.
    """

    summary: str
    detail: str
    label: str
    name: str
    launch: str | None
    hooks: frozenset[str]


@dataclass(frozen=True, slots=True)
class OfferedForm:
    """A form to be filled in (CRD: request form completion); `form` is the id of one on file."""

    summary: str
    detail: str
    form: str
    label: str
    description: str
    reason: str
    after_completion: str
    hooks: frozenset[str]


@dataclass(frozen=True, slots=True)
class Offers:
    """All that one outcome offers, in the order in which the cards are shown."""

    alternatives: tuple[Alternatives, ...] = ()
    companions: tuple[Companions, ...] = ()
    forms: tuple[OfferedForm, ...] = ()
    apps: tuple[App, ...] = ()
    readings: tuple[Reading, ...] = ()
    instructions: tuple[Instructions, ...] = ()


NOTHING_OFFERED = Offers()
