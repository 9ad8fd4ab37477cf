"""A version of a policy: which services it speaks of, when, and what it says of them.

Every value here is frozen: it travels one way through a call and is never changed on the way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Protocol

from service.decision.order import Code


class Program(StrEnum):
    """Which Medicare program pays, as far as the request or the payer's configuration told."""

    MEDICARE_ADVANTAGE = "medicare_advantage"
    ORIGINAL_MEDICARE = "original_medicare"
    UNKNOWN = "not_told"


class Covered(StrEnum):
    """The answer to "is it covered", in the codes of CRD's coverageInfo value set."""

    NOT_COVERED = "not-covered"
    COVERED = "covered"
    CONDITIONAL = "conditional"
    INDETERMINATE = "indeterminate"


@dataclass(frozen=True, slots=True)
class Citation:
    """A source that a policy rests on; `url` only where one is really known."""

    id: str
    title: str
    section: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Authority:
    """One level of authority that was searched, in the policy's order.

    `level` is "ncd", "lcd", "other_lcd" or "plan_policy". Exactly one of `citation` (found) and
    `searched_where`/`searched_when` (none found) is set; `searched_when` is "YYYY-MM" or a day.
    """

    level: str
    name: str
    citation: Citation | None = None
    searched_where: str | None = None
    searched_when: str | None = None

    @property
    def found(self) -> bool:
        return self.citation is not None


@dataclass(frozen=True, slots=True)
class PolicyService:
    """One code that a policy speaks of, with our own short name for it and its group's."""

    code: Code
    name: str
    group: str
    group_name: str


@dataclass(frozen=True, slots=True)
class PolicyDetermination:
    """What the policy determines for one program: the answer, and the reason with its sources.

    `for_patient` is the reason in words that a patient reads on a notice; a template as `Wording`.
    """

    covered: Covered
    reason_id: str
    reason: str
    citations: tuple[Citation, ...]
    for_patient: str | None = None


@dataclass(frozen=True, slots=True)
class Wording:
    """What a card says for one program; templates of `cards`, with {services} and {codes}.

    `summary` is a card's summary, under 140 characters once filled; `statement` is the first
    paragraph of its detail.
    """

    summary: str
    statement: str


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """One published version of a policy: in force from `starts` to `ends`, both inclusive.

    `review_last` and `review_next` are "YYYY-MM" or a day, as published. `notices` names, by
    program, the advance notices to suggest, as ids of the notice library.
    """

    id: str
    title: str
    manual: str
    published: date
    starts: date
    ends: date | None
    review_last: str
    review_next: str
    summary: str
    services: tuple[PolicyService, ...]
    authorities: tuple[Authority, ...]
    determinations: Mapping[Program, PolicyDetermination]
    notices: Mapping[Program, tuple[str, ...]]
    wording: Mapping[Program, Wording]
    reservations: tuple[str, ...]
    related: tuple[Citation, ...]
    citations: tuple[Citation, ...]
    ama_notice: str | None = None

    @property
    def version(self) -> str:
        """The version's name: its first effective day, ISO."""
        return self.starts.isoformat()

    def reason_for_patient(self, program: Program) -> str:
        """Why it may not be paid, in plain words; the card's statement where none are written."""
        return self.determinations[program].for_patient or self.wording[program].statement

    @property
    def governing_authority(self) -> Authority:
        """The first authority found, in the order searched."""
        return next(a for a in self.authorities if a.found)

    def in_force_on(self, day: date) -> bool:
        return self.starts <= day and (self.ends is None or day <= self.ends)

    def review_overdue_on(self, day: date) -> bool:
        """True once the month (or day) of the next review lies before `day`."""
        return self.review_next < day.isoformat()[: len(self.review_next)]


class Policies(Protocol):
    """What the decision needs of a policy store."""

    def versions_for(self, code: Code) -> Sequence[PolicyVersion]:
        """Every version of every policy that lists the code, oldest first; empty if none."""
        ...
