"""Places of calls: one that waits for its EHR leaves its place at work to others."""

from __future__ import annotations

import threading

import pytest

from service.auth.call_places import CallPlaces, PlaceLimits, Turn
from service.auth.clients import ANYONE, Client
from service.errors import TooManyCalls, Unavailable

HOSPITAL = Client("https://ehr.hospital.example.org", "hospital")
CLINIC = Client("https://ehr.clinic.example.org", "clinic")
OFFICE = Client("https://ehr.office.example.org", "office")


def places(at_work: int, of_one: int, waiting: int, wait_of_one: int) -> CallPlaces:
    return CallPlaces(PlaceLimits(at_work, of_one, waiting, wait_of_one))


@pytest.mark.threat("silent-ehr")
def test_a_call_that_waits_for_its_ehr_holds_no_place_at_work() -> None:
    room = places(1, 1, 2, 2)
    first = room.enter(HOSPITAL)
    with first.waiting():
        assert (room.at_work, room.waiting) == (0, 1)
        second = room.enter(CLINIC)
        second.leave()
    assert (room.at_work, room.waiting) == (1, 0)
    first.leave()
    assert (room.at_work, room.waiting) == (0, 0)


@pytest.mark.threat("silent-ehr")
def test_a_client_whose_ehr_is_silent_is_refused_alone() -> None:
    room = places(10, 10, 4, 2)
    hung = [room.enter(HOSPITAL).waiting() for _ in range(3)]
    for wait in hung[:2]:
        wait.__enter__()
    with pytest.raises(
        TooManyCalls, match="at most 2 calls waiting for the EHR at a time"
    ) as refused:
        hung[2].__enter__()
    assert refused.value.retry_after == 1
    with room.enter(CLINIC).waiting():
        assert room.waiting == 3


def test_a_call_that_may_not_wait_stays_at_work_and_can_leave() -> None:
    room = places(10, 10, 1, 1)
    with room.enter(HOSPITAL).waiting():
        refused = room.enter(HOSPITAL)
        with pytest.raises(TooManyCalls), refused.waiting():
            raise AssertionError("not reached")
        assert (room.at_work, room.waiting) == (1, 1)
        refused.leave()
        assert room.at_work == 0


def test_only_where_the_places_of_all_are_taken_everyone_is_refused() -> None:
    room = places(2, 1, 2, 1)
    room.enter(HOSPITAL)
    room.enter(CLINIC)
    with pytest.raises(TooManyCalls):
        room.enter(HOSPITAL)
    with pytest.raises(Unavailable, match="too many calls at a time") as refused:
        room.enter(OFFICE)
    assert refused.value.limit == "calls at a time, all"


def test_a_call_is_at_work_again_though_its_place_is_taken_meanwhile() -> None:
    """It was admitted before: those who come next are refused until there is room."""
    room = places(1, 1, 1, 1)
    waited = room.enter(HOSPITAL)
    with waited.waiting():
        other = room.enter(CLINIC)
    assert room.at_work == 2
    with pytest.raises(Unavailable):
        room.enter(OFFICE)
    waited.leave()
    with pytest.raises(Unavailable):
        room.enter(OFFICE)
    other.leave()
    room.enter(OFFICE).leave()


def test_a_wait_that_fails_ends_like_any_other() -> None:
    room = places(1, 1, 1, 1)
    call = room.enter(HOSPITAL)
    with pytest.raises(ValueError), call.waiting():
        raise ValueError
    assert (room.at_work, room.waiting) == (1, 0)


def test_each_change_is_shown() -> None:
    shown: list[tuple[int, int]] = []
    room = CallPlaces(PlaceLimits(1, 1, 1, 1), lambda *now: shown.append(now))
    call = room.enter(HOSPITAL)
    with call.waiting():
        pass
    call.leave()
    assert shown == [(1, 0), (0, 1), (1, 0), (0, 0)]


@pytest.mark.threat("client-share")
def test_one_call_of_a_client_computes_at_a_time_and_the_others_wait_in_line() -> None:
    room = places(10, 10, 10, 10)
    first, second, other = (room.enter(c) for c in (HOSPITAL, HOSPITAL, CLINIC))
    computed = threading.Event()

    def compute() -> None:
        with second.turn():
            computed.set()

    in_line = threading.Thread(target=compute)
    with first.turn():
        in_line.start()
        with other.turn():
            assert not computed.wait(0.05)
    in_line.join(10)
    assert computed.is_set()


@pytest.mark.threat("silent-ehr")
@pytest.mark.parametrize("wait", ["waiting", "aside"])
def test_a_call_that_waits_gives_its_turn_away(wait: str) -> None:
    room = places(10, 10, 10, 10)
    first, second = room.enter(HOSPITAL), room.enter(HOSPITAL)
    with first.turn():
        with getattr(first, wait)(), second.turn():
            pass
        assert room._turns[HOSPITAL.issuer].taken
    assert not room._turns[HOSPITAL.issuer].taken


def test_open_callers_do_not_wait_for_one_another() -> None:
    room = places(10, 10, 10, 10)
    with room.enter(ANYONE).turn(), room.enter(ANYONE).turn(), room.enter(ANYONE).waiting():
        assert room.at_work == 2


def test_a_turn_that_fails_ends_like_any_other() -> None:
    room = places(10, 10, 10, 10)
    call = room.enter(HOSPITAL)
    with pytest.raises(ValueError), call.turn():
        raise ValueError
    assert not room._turns[HOSPITAL.issuer].taken


@pytest.mark.threat("client-share")
@pytest.mark.parametrize(
    ("cost", "in_line", "rests"), [(0.2, 1, [0.6000]), (2.0, 1, [1.0]), (0.2, 0, []), (0.01, 1, [])]
)
def test_after_a_costly_call_a_client_with_others_in_line_rests(
    cost: float, in_line: int, rests: list[float]
) -> None:
    rested: list[float] = []
    spent = iter([1.0, 1.0 + cost])
    turn = Turn(rested.append, lambda: next(spent))
    with turn.held():
        turn.in_line = in_line
    assert rested == pytest.approx(rests)
    assert not turn.taken
