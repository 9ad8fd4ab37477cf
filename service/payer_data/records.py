"""Records of a payer, each with its period.

All values are frozen structs, which msgspec reads and writes fast: a call reads some, an import
writes millions. Days are `datetime.date`, both ends inclusive, None for an open side. `payer`
is the identifier in the payers file, "system|value". Codes are "system|value" with the canonical
system. `version` identifies the state of a record: the decision log has it in place of a copy, so
that a decision stays readable after the record is deleted.
"""

from __future__ import annotations

from datetime import date
from typing import Literal

import msgspec

Pays = Literal["", "primary", "secondary"]
Dual = Literal["", "none", "partial", "full", "qmb"]
Standing = Literal["approved", "pending", "denied", "cancelled"]
Question = Literal["prior-authorization", "organization-determination"]


def holds_on(starts: date | None, ends: date | None, day: date) -> bool:
    """Whether `day` is in the period, both ends inclusive."""
    return (starts is None or starts <= day) and (ends is None or day <= ends)


class Member(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One period of membership under one number.

    `number` is the member ID, `person` what all numbers and stretches of one person share (the
    number where a payer has nothing better). `alternates` are further numbers that the person is
    known by, such as a Medicare number or the card's former number. `program` is an id of the
    programs' file; `pays` says where this coverage stands where the person has other coverage;
    `hospice_starts` and `hospice_ends` bound a hospice election.
    """

    payer: str
    number: str
    person: str
    program: str
    birth_date: date
    family: str = ""
    given: str = ""
    alternates: tuple[str, ...] = ()
    plan: str = ""
    group: str = ""
    starts: date | None = None
    ends: date | None = None
    pays: Pays = ""
    dual: Dual = ""
    hospice_starts: date | None = None
    hospice_ends: date | None = None
    deceased: date | None = None
    version: str = ""

    def in_force_on(self, day: date) -> bool:
        return holds_on(self.starts, self.ends, day)

    def in_hospice_on(self, day: date) -> bool:
        elected = self.hospice_starts is not None or self.hospice_ends is not None
        return elected and holds_on(self.hospice_starts, self.hospice_ends, day)


class Authorization(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """An advance decision: a prior authorization, or an organization determination.

    `number` is what the payer calls it (CRD's satisfied-pa-id). `units` is the number of times that
    the service may be given, None where it is not limited.
    """

    payer: str
    number: str
    member: str
    codes: tuple[str, ...]
    status: Standing
    kind: Question = "prior-authorization"
    starts: date | None = None
    ends: date | None = None
    units: int | None = None
    decided: date | None = None
    version: str = ""

    def speaks_of(self, code: str, day: date) -> bool:
        return code in self.codes and holds_on(self.starts, self.ends, day)


class NetworkContract(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A provider, by NPI, in the network of a plan; of every plan if `plan` is empty."""

    payer: str
    npi: str
    plan: str = ""
    starts: date | None = None
    ends: date | None = None
    version: str = ""


class ServiceRendered(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A service rendered to a member on a day, for limits such as once in twelve months."""

    payer: str
    member: str
    code: str
    day: date
    version: str = ""


class Exemption(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A gold card: a provider or group, by NPI, exempt from prior authorization for codes."""

    payer: str
    npi: str
    codes: tuple[str, ...]
    starts: date | None = None
    ends: date | None = None
    version: str = ""


Record = Member | Authorization | NetworkContract | ServiceRendered | Exemption
