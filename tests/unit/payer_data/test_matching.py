"""Who is whom: numbers find, birth date and name check, and a doubt is never an answer."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.payer_data.matching import MatchOutcome, match
from service.payer_data.numbers import name_words, plain_number
from tests.unit.payer_data.people import BORN, DAY, member, told

NO_MEMBER = MatchOutcome.NO_MEMBER


def test_a_number_with_its_birth_date_and_name_is_the_member() -> None:
    ann = member("M1")
    assert match(told("M1"), [ann], DAY).member is ann


def test_a_number_that_is_nobodys_is_no_member() -> None:
    assert match(told("M9"), [], DAY).outcome is NO_MEMBER


@pytest.mark.parametrize(
    "other",
    [{"birth_date": date(1951, 4, 13)}, {"family": "Sampleson", "given": "Bo"}, {"given": "Amy"}],
    ids=["birth date", "name", "twin"],
)
def test_a_number_of_somebody_else_is_the_same_as_one_of_nobody(other: dict[str, object]) -> None:
    found = match(told("M1"), [member("M1", **other)], DAY)
    assert found == match(told("M1"), [], DAY)


@pytest.mark.parametrize(
    ("family", "given"),
    [
        ("TESTCASE", "ANN"),
        ("Testcase", "Ann Marie"),
        ("Ann", "Testcase"),
        ("Téstcase", "Ànn"),
        ("Testcase Jr.", "Ann"),
        ("Married", "Ann"),
        ("", ""),
    ],
)
def test_names_are_compared_without_case_accents_order_titles(family: str, given: str) -> None:
    assert match(told("M1", family=family, given=given), [member("M1")], DAY).member is not None


def test_a_name_that_is_not_taken_apart_is_compared_by_its_words() -> None:
    ask = told("M1", family="", given="", name="Testcase, Ann")
    assert match(ask, [member("M1")], DAY).member is not None


def test_a_number_without_a_birth_date_finds_nobody_and_denies_nobody() -> None:
    for ask in (told("M1", birth_date=None), told("M1", birth_date=None, family="", given="")):
        for members in ([member("M1")], []):
            assert match(ask, members, DAY).outcome is MatchOutcome.NOT_CHECKED


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (("Łukasik", "Żaneta"), ("Lukasik", "Zaneta")),
        (("Müller", "Jörg"), ("Mueller", "Joerg")),
        (("Müller", "Jörg"), ("MULLER", "JORG")),
        (("O'Brien", "Ann"), ("OBrien", "Anne Ann")),
        (("Straße", "Søren"), ("Strasse", "Soren")),
        (("Иванова", "Анна"), ("Ivanova", "Anna")),
    ],
)
def test_letters_that_are_written_in_several_ways_are_the_same(
    ours: tuple[str, str], theirs: tuple[str, str]
) -> None:
    ann = member("M1", family=ours[0], given=ours[1])
    assert match(told("M1", family=theirs[0], given=theirs[1]), [ann], DAY).member is ann


def test_other_scripts_are_compared_as_well() -> None:
    ann = member("M1", family="Иванова", given="Анна")
    ask = told("M1", family="Петрова", given="Мария")
    assert match(ask, [ann], DAY).outcome is NO_MEMBER


def test_many_numbers_at_once_are_not_tried_out() -> None:
    most = told("M1", *(f"GUESS{n}" for n in range(9)))
    assert match(most, [member("M1")], DAY).outcome is MatchOutcome.MATCHED
    more = told("M1", *(f"GUESS{n}" for n in range(10)))
    assert match(more, [member("M1")], DAY).outcome is MatchOutcome.NOT_CHECKED
    assert (most.can_be_matched, more.can_be_matched) == (True, False)


def test_a_name_and_a_birth_date_find_nobody_without_a_number() -> None:
    assert match(told(), [member("M1")], DAY).outcome is MatchOutcome.NO_NUMBER


def test_a_member_number_of_the_patient_that_is_nobodys_contradicts_the_coverages() -> None:
    ask = told("M1", patient_numbers=frozenset({"UNKNOWNMEMBER"}))
    assert match(ask, [member("M1")], DAY).outcome is NO_MEMBER


def test_a_patient_with_two_member_numbers_is_known_by_the_one_that_is_ours() -> None:
    ask = told("M1", patient_numbers=frozenset({"M1", "OTHERINSURER"}))
    assert match(ask, [member("M1")], DAY).member is not None


def test_numbers_of_two_persons_are_no_member() -> None:
    ask = told("M1", patient_numbers=frozenset({"M2"}))
    assert match(ask, [member("M1"), member("M2")], DAY).outcome is NO_MEMBER


def test_two_persons_behind_one_number_are_told_apart_by_their_birth_dates() -> None:
    child = member("M1", person="M1-02", birth_date=date(2015, 2, 23), given="Al")
    ann = member("M1", person="M1-01")
    assert match(told("M1"), [child, ann], DAY).member is ann


def test_two_persons_who_both_fit_are_no_member() -> None:
    both = [member("M1", person="a"), member("M1", person="b")]
    assert match(told("M1"), both, DAY).outcome is NO_MEMBER


def test_a_known_member_with_an_unknown_coverage_has_no_coverage_found() -> None:
    ann = member("M1", alternates=("MEDICARE1",))
    ask = told("UNKNOWNCOVERAGE", patient_numbers=frozenset({"MEDICARE1"}))
    assert match(ask, [ann], DAY).outcome is MatchOutcome.COVERAGE_NOT_FOUND


def test_a_coverage_of_somebody_else_is_the_same_as_an_unknown_one() -> None:
    ann = member("M1", alternates=("MEDICARE1",))
    bo = member("M2", family="Sampleson", given="Bo", birth_date=date(1948, 9, 30))
    ask = told("M2", patient_numbers=frozenset({"MEDICARE1"}))
    assert match(ask, [ann, bo], DAY) == match(ask, [ann], DAY)


@pytest.mark.parametrize(
    ("starts", "ends", "in_force"),
    [
        (None, None, True),
        (DAY, DAY, True),
        (None, date(2026, 11, 30), False),
        (date(2026, 12, 2), None, False),
    ],
)
def test_a_coverage_counts_on_its_first_and_last_day_and_between(
    starts: date | None, ends: date | None, in_force: bool
) -> None:
    found = match(told("M1"), [member("M1", starts=starts, ends=ends)], DAY)
    wanted = MatchOutcome.MATCHED if in_force else MatchOutcome.NO_ACTIVE_COVERAGE
    assert (found.outcome, found.member is not None) == (wanted, True)


def test_another_number_of_the_member_in_force_does_not_revive_the_ended_coverage() -> None:
    old = member("M1", ends=date(2026, 6, 30), alternates=("MEDICARE1",))
    new = member("M2", person="M1", starts=date(2026, 7, 1), alternates=("MEDICARE1",))
    ask = told("M1", patient_numbers=frozenset({"MEDICARE1"}))
    found = match(ask, [old, new], DAY)
    assert found.outcome is MatchOutcome.NO_ACTIVE_COVERAGE
    assert new in found.person


def test_of_stretches_under_one_number_the_one_in_force_counts() -> None:
    old = member("M1", ends=date(2025, 12, 31), program="original_medicare")
    new = member("M1", starts=date(2026, 1, 1))
    assert match(told("M1"), [old, new], DAY).member is new


def test_of_two_in_force_the_told_plan_counts_then_the_one_that_pays_first() -> None:
    first = member("M1", plan="a", pays="primary")
    second = member("M1", plan="b", pays="secondary")
    assert match(told("M1", plan="b"), [first, second], DAY).member is second
    assert match(told("M1"), [first, second], DAY).member is first


def test_two_in_force_that_nothing_tells_apart_are_not_one_coverage() -> None:
    both = [member("M1", plan="a"), member("M1", plan="b")]
    assert match(told("M1"), both, DAY).outcome is MatchOutcome.COVERAGE_NOT_FOUND


@given(st.text(max_size=30))
def test_a_number_is_the_same_with_and_without_its_separators(written: str) -> None:
    plain = plain_number(written)
    assert plain_number(f" {plain[:3]}-{plain[3:].lower()} ") == plain


@given(st.text(max_size=30))
def test_a_name_is_the_same_in_any_order_of_its_words(written: str) -> None:
    words = written.split()
    assert name_words(" ".join(reversed(words))) == name_words(" ".join(words))


def test_what_a_call_tells_shows_in_no_representation() -> None:
    shown = repr(told("M1", patient_numbers=frozenset({"MEDICARE1"})))
    assert not any(secret in shown for secret in ("M1", "MEDICARE1", "Testcase", str(BORN.year)))
