"""Member matching: a patient's member record and coverage, by pure rules.

A member number with the birth date identifies, the name verifies; a name alone identifies nobody.
All but a single match are NO_MEMBER, so that an answer does not disclose whether a number exists.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

from service.payer_data.numbers import in_one_script, name_words
from service.payer_data.records import Member

MOST_NUMBERS = 10
"""More member numbers than anyone has: one call must not try out many."""


@dataclass(frozen=True, slots=True)
class Told:
    """The call's data on the patient and one coverage; never logged.

    Numbers are in `numbers.plain_number`'s form. `coverage_numbers` are those of the Coverage
    (subscriberId, member-number identifiers), `patient_numbers` the member numbers of the Patient.
    `family` and `given` are as written; `name` is a name that is not taken apart.
    """

    coverage_numbers: frozenset[str] = field(default=frozenset(), repr=False)
    patient_numbers: frozenset[str] = field(default=frozenset(), repr=False)
    birth_date: date | None = field(default=None, repr=False)
    family: str = field(default="", repr=False)
    given: str = field(default="", repr=False)
    name: str = field(default="", repr=False)
    plan: str = field(default="", repr=False)

    @property
    def can_be_matched(self) -> bool:
        """Whether there is anything to search for, and to verify it by."""
        return self.birth_date is not None and 0 < len(self.numbers) <= MOST_NUMBERS

    @property
    def numbers(self) -> frozenset[str]:
        return self.coverage_numbers | self.patient_numbers


class MatchOutcome(StrEnum):
    """Outcome of the matching of member and coverage."""

    MATCHED = "matched"
    NO_NUMBER = "no_number"
    """The call has no member number to search for."""
    NOT_CHECKED = "not_checked"
    """The call has no full birth date, and a number alone identifies nobody; or it has too many
    numbers to be one person's."""
    NO_MEMBER = "no_member"
    """No single member fits the call's data, for any reason."""
    COVERAGE_NOT_FOUND = "coverage_not_found"
    """The member is known; its coverage is unknown or ambiguous."""
    NO_ACTIVE_COVERAGE = "no_active_coverage"
    """Member and coverage are known; the coverage is not in force that day."""


@dataclass(frozen=True, slots=True)
class Match:
    """Result of the matching.

    `member` is the record that counts: the one in force for MATCHED, the newest one for
    NO_ACTIVE_COVERAGE, None for all others. `person` are all records of the same person that came.
    """

    outcome: MatchOutcome
    member: Member | None = None
    person: tuple[Member, ...] = ()


def match(told: Told, members: Iterable[Member], day: date) -> Match:
    """The member of a call, and the coverage in force on `day`.

    `members` are the records with one of the call's numbers. NO_MEMBER for several persons, for an
    unknown number beside a known one, and for a contradicting birth date or name.
    """
    if not told.numbers:
        return Match(MatchOutcome.NO_NUMBER)
    if told.birth_date is None or len(told.numbers) > MOST_NUMBERS:
        return Match(MatchOutcome.NOT_CHECKED)
    fitting = [m for m in members if m.birth_date == told.birth_date and _same_name(told, m)]
    by_patient = _carrying(fitting, told.patient_numbers)
    by_coverage = _carrying(fitting, told.coverage_numbers)
    persons = {m.person for m in by_patient or by_coverage}
    if told.patient_numbers:
        # An unknown member number in the Patient contradicts the Coverage.
        persons = {m.person for m in by_patient}
        if by_coverage:
            persons &= {m.person for m in by_coverage}
    if len(persons) != 1:
        return Match(MatchOutcome.NO_MEMBER)
    (person,) = persons
    own = tuple(m for m in fitting if m.person == person)
    of_coverage = [m for m in by_coverage if m.person == person]
    if told.coverage_numbers and not of_coverage:
        return Match(MatchOutcome.COVERAGE_NOT_FOUND, person=own)
    return _coverage(of_coverage or list(own), own, told, day)


def _coverage(
    candidates: Sequence[Member], own: tuple[Member, ...], told: Told, day: date
) -> Match:
    active = [m for m in candidates if m.in_force_on(day)]
    if len(active) == 1:
        return Match(MatchOutcome.MATCHED, active[0], own)
    if not active:
        newest = max(candidates, key=lambda m: m.ends or date.max)
        return Match(MatchOutcome.NO_ACTIVE_COVERAGE, newest, own)
    for narrowed in (
        [m for m in active if told.plan and m.plan == told.plan],
        [m for m in active if m.pays == "primary"],
    ):
        if len(narrowed) == 1:
            return Match(MatchOutcome.MATCHED, narrowed[0], own)
    return Match(MatchOutcome.COVERAGE_NOT_FOUND, person=own)


def _carrying(members: Iterable[Member], numbers: frozenset[str]) -> list[Member]:
    if not numbers:
        return []
    return [m for m in members if m.number in numbers or not numbers.isdisjoint(m.alternates)]


def _same_name(told: Told, member: Member) -> bool:
    """Whether the names can be one person's, as far as both sides have one.

    All words of the shorter name in the longer one, in any order; or a given name in common, for
    family names change. Twins share family name and birth date, and are told apart by the given.
    """
    ours = name_words(f"{member.given} {member.family}")
    theirs = name_words(f"{told.given} {told.family}") or name_words(told.name)
    if ours == theirs:
        return True
    ours, theirs = in_one_script(ours, theirs)
    if not ours or not theirs or ours <= theirs or theirs <= ours:
        return True
    given = in_one_script(name_words(told.given), name_words(member.given))
    return not given[0].isdisjoint(given[1])
