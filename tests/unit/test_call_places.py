"""Places of calls: one that waits for its EHR leaves its place at work to others."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext, suppress

import pytest

from service import interpreter_lock
from service.auth.call_places import CallPlace, CallPlaces, PlaceLimits, Turn
from service.auth.clients import ANYONE, Client
from service.auth.pace import NO_PACE, Pace, PaceLimits
from service.errors import TooManyCalls, Unavailable
from service.interpreter_lock import CostlyCalls, computes_at_length, giving_way

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
    in_line.join(60)
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


class Time:
    """A clock that a test sets; those who sleep let it go on."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 3))
        self.now += seconds


@pytest.fixture
def clock() -> Time:
    return Time()


def turn_of(
    clock: Time,
    costs: list[float],
    *,
    others: bool = True,
    limits: PaceLimits = PaceLimits(calls=600, bytes=60_000_000),  # noqa: B008  frozen
    rests_alone: bool = False,
) -> Turn:
    """A turn whose calls compute for so many seconds each, with one in line."""
    marks = iter([mark for cost in costs for mark in (1.0, 1.0 + cost)])
    pace = Pace(limits, clock.monotonic)
    turn = Turn(
        pace,
        lambda: others,
        clock.sleep,
        lambda: next(marks),
        clock.monotonic,
        rests_alone=rests_alone,
    )
    turn.in_line = 1
    return turn


@pytest.mark.threat("client-share")
def test_costly_calls_in_a_row_leave_most_of_the_time_to_other_clients(clock: Time) -> None:
    turn = turn_of(clock, [0.06] * 4)
    for _ in range(4):
        with turn.held():
            clock.now += 0.06
    # The first is free; from then on a call in 0.72 seconds.
    assert clock.slept == [0.38, 0.66, 0.66]
    assert not turn.taken


@pytest.mark.threat("client-share")
def test_a_single_call_never_rests_for_longer_than_two_seconds(clock: Time) -> None:
    turn = turn_of(clock, [5.0, 5.0])
    for _ in range(2):
        with turn.held():
            clock.now += 5.0
    assert clock.slept == [2.0, 2.0]


@pytest.mark.parametrize(
    ("cost", "in_line", "others"), [(0.2, 0, True), (0.2, 1, False), (0.019, 1, True)]
)
def test_a_client_rests_only_with_calls_in_line_beside_others_and_after_some_costly_ones(
    clock: Time, cost: float, in_line: int, others: bool
) -> None:
    turn = turn_of(clock, [cost] * 3, others=others)
    turn.in_line = in_line
    for _ in range(3):
        with turn.held():
            pass
    assert clock.slept == []


@pytest.mark.threat("client-share")
@pytest.mark.parametrize("cost", [0.005, 0.01, 0.019, 0.02, 0.2])
def test_whatever_its_calls_cost_a_client_computes_less_than_half_of_the_time(
    clock: Time, cost: float
) -> None:
    turn = turn_of(clock, [cost] * 1_000, limits=PaceLimits())
    began = clock.now
    for _ in range(1_000):
        with turn.held():
            clock.now += cost
    assert 1_000 * cost < (clock.now - began) / 2


@pytest.mark.threat("call-flood", "client-share")
@pytest.mark.parametrize(
    ("limits", "size", "a_second"),
    [
        (PaceLimits(calls=600, bytes=60_000_000), 1_000, 20),
        (PaceLimits(calls=600, bytes=60_000_000), 1_000_000, 2),
        (PaceLimits(), 1_000_000, 4),
    ],
)
def test_beside_others_a_client_calls_at_twice_its_average_or_at_four_megabytes_a_second(
    clock: Time, limits: PaceLimits, size: int, a_second: int
) -> None:
    """600 calls and 60 MB a minute are 10 calls and 1 MB a second."""
    turn = turn_of(clock, [0.001] * 10 * a_second, limits=limits)
    began = clock.now
    for _ in range(10 * a_second):
        with turn.held():
            clock.now += 0.001
        turn.pace.called(size)
    # What it may owe of the first second, and the last call's share, is not waited for.
    assert clock.now - began == pytest.approx(9, abs=0.6)


def test_a_burst_of_two_seconds_average_is_not_slowed(clock: Time) -> None:
    turn = turn_of(clock, [0.001] * 20)
    for _ in range(20):
        with turn.held():
            pass
        turn.pace.called(1_000)
    assert clock.slept == []


def test_time_that_passes_pays_what_a_client_owes(clock: Time) -> None:
    pace = Pace(PaceLimits(calls=60), clock.monotonic)
    for _ in range(100):
        pace.called(0)
    assert pace.rest() == 2.0
    clock.now += 1.5
    assert pace.rest() == 0.5
    clock.now += 60
    assert pace.rest() == 0.0


def test_without_a_limit_of_calls_their_number_sets_no_pace(clock: Time) -> None:
    pace = Pace(PaceLimits(calls=0, bytes=60_000_000), clock.monotonic)
    for _ in range(1_000):
        pace.called(0)
    assert pace.rest() == 0.0


@pytest.mark.parametrize(
    ("callers", "others"),
    [
        ([HOSPITAL], False),
        ([CLINIC, HOSPITAL], True),
        ([CLINIC, HOSPITAL, HOSPITAL, HOSPITAL], True),
        ([CLINIC, OFFICE, HOSPITAL, CLINIC], True),
    ],
)
def test_other_clients_are_those_that_have_called_in_the_last_second(
    clock: Time, callers: list[Client], others: bool
) -> None:
    room = CallPlaces(PlaceLimits(10, 10, 10, 10), monotonic=clock.monotonic)
    for caller in callers:
        room.enter(caller)
    assert room._others_call(HOSPITAL.issuer) is others
    clock.now += 1.1
    room.enter(HOSPITAL)
    assert room._others_call(HOSPITAL.issuer) is False


class Interpreter:
    """What costly calls change of it."""

    def __init__(self) -> None:
        self.seconds = 0.005
        self.collects = True
        self.collections = 0

    def get(self) -> float:
        return self.seconds

    def change(self, seconds: float) -> None:
        self.seconds = seconds

    def enable(self) -> None:
        self.collects = True

    def disable(self) -> None:
        self.collects = False

    def collect(self) -> int:
        self.collections += 1
        return 0

    @property
    def is_as_before(self) -> bool:
        return (self.seconds, self.collects) == (0.005, True)

    @property
    def is_beside_costly(self) -> bool:
        return (self.seconds, self.collects) == (0.0001, False)


@pytest.fixture
def interpreter() -> Interpreter:
    return Interpreter()


@pytest.fixture
def costly(interpreter: Interpreter, clock: Time) -> CostlyCalls:
    return CostlyCalls(interpreter.get, interpreter.change, interpreter, clock.monotonic)


@pytest.mark.threat("costly-call")
@pytest.mark.parametrize("client", [HOSPITAL, ANYONE])
def test_beside_a_large_call_threads_take_turns_more_often_and_no_garbage_is_collected(
    client: Client, costly: CostlyCalls, interpreter: Interpreter
) -> None:
    room = CallPlaces(PlaceLimits(10, 10, 10, 10), costly=costly)
    call, other = room.enter(client), room.enter(CLINIC)
    with call.turn(65_536):
        assert interpreter.is_as_before
    with call.turn(65_537):
        with other.turn(1_000_000):
            assert interpreter.is_beside_costly
        assert interpreter.is_beside_costly
    assert interpreter.is_as_before


@pytest.mark.threat("costly-call")
def test_a_client_whose_calls_compute_for_long_is_one_with_costly_calls_for_a_second(
    clock: Time, costly: CostlyCalls, interpreter: Interpreter
) -> None:
    room = CallPlaces(PlaceLimits(10, 10, 10, 10), costly=costly)
    turn = turn_of(clock, [0.004, 0.006, 0.001, 0.001])
    call = CallPlace(room, HOSPITAL, turn)
    seen = []
    for _ in range(4):
        with call.turn(1_000):
            seen.append(interpreter.is_beside_costly)
        clock.now += 0.6
    assert seen == [False, False, True, False]
    assert interpreter.is_as_before


@pytest.mark.threat("costly-call", "silent-ehr")
@pytest.mark.parametrize("wait", ["waiting", "aside"])
@pytest.mark.parametrize("client", [HOSPITAL, ANYONE])
def test_while_a_large_call_waits_nothing_is_different(
    client: Client, wait: str, costly: CostlyCalls, interpreter: Interpreter
) -> None:
    room = CallPlaces(PlaceLimits(10, 10, 10, 10), costly=costly)
    call = room.enter(client)
    with call.turn(1_000_000):
        with getattr(call, wait)():
            assert interpreter.is_as_before
        assert interpreter.is_beside_costly
    assert interpreter.is_as_before


class Value:
    """A value of a call."""


@pytest.mark.threat("costly-call")
def test_nothing_of_a_refused_call_is_left_when_garbage_is_collected_again(
    costly: CostlyCalls, interpreter: Interpreter, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[bool] = []
    values: list[weakref.ref[Value]] = []
    monkeypatch.setattr(interpreter, "enable", lambda: left.append(values[0]() is not None))

    def read() -> None:
        value = Value()
        values.append(weakref.ref(value))
        try:
            raise KeyError
        except KeyError:
            raise ValueError from None

    call = CallPlaces(PlaceLimits(10, 10, 10, 10), costly=costly).enter(HOSPITAL)
    with pytest.raises(ValueError), call.turn(1_000_000):
        read()
    assert left == [False]


@pytest.mark.threat("visitor-flood")
def test_what_visitors_ask_for_is_computed_one_at_a_time_beside_quick_calls_and_rests(
    costly: CostlyCalls, interpreter: Interpreter, clock: Time
) -> None:
    room = CallPlaces(PlaceLimits(10, 10, 10, 10), costly=costly, monotonic=clock.monotonic)
    room._visitors = turn_of(clock, [0.2] * 4, limits=NO_PACE, rests_alone=True)
    room._visitors.in_line = 0
    for _ in range(4):
        with room.visitor_computes():
            assert room._visitors.taken
            assert interpreter.is_beside_costly
            clock.now += 0.2
    assert interpreter.is_as_before
    assert sum(clock.slept) > 2.0


def test_a_large_call_that_fails_ends_like_any_other(
    costly: CostlyCalls, interpreter: Interpreter
) -> None:
    call = CallPlaces(PlaceLimits(10, 10, 10, 10), costly=costly).enter(HOSPITAL)
    with pytest.raises(ValueError), call.turn(1_000_000), call.waiting():
        raise ValueError
    assert interpreter.is_as_before


def test_where_large_calls_follow_one_another_without_a_pause_garbage_is_collected_now_and_then(
    costly: CostlyCalls, interpreter: Interpreter, clock: Time
) -> None:
    costly.begin()
    for _ in range(10):
        clock.now += 1
        costly.begin()
        costly.end()
    assert interpreter.collections == 3
    costly.end()
    assert interpreter.is_as_before


@pytest.fixture
def giving() -> CostlyCalls:
    """Costly calls that give way for as long as it really takes."""
    of = Interpreter()
    return CostlyCalls(of.get, of.change, of)


@pytest.fixture
def room(giving: CostlyCalls) -> CallPlaces:
    return CallPlaces(PlaceLimits(100, 100, 2, 2), costly=giving)


def seconds_given(call: CallPlace, size: int) -> float:
    """The seconds for which a costly call of a thousand steps gives way."""
    with call.turn(size):
        to_give = interpreter_lock._thread.to_give
        before = to_give.seconds
        assert list(giving_way(iter(range(1_000)))) == [*range(1_000)]
        return before - to_give.seconds


@pytest.mark.threat("costly-call")
def test_between_two_steps_a_costly_call_waits_until_the_quick_ones_have_ended(
    room: CallPlaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interpreter_lock, "_LONGEST_AT_ONCE", 60.0)
    monkeypatch.setattr(interpreter_lock, "_LONGEST_IN_ALL", 60.0)
    call = room.enter(HOSPITAL)
    begun, done = threading.Event(), threading.Event()

    def compute() -> None:
        with call.turn(1_000_000):
            begun.set()
            for _ in giving_way((1, 2)):
                done.set()

    one, another = room.enter(CLINIC), room.enter(ANYONE)
    costly = threading.Thread(target=compute, daemon=True)
    costly.start()
    assert begun.wait(60)
    one.leave()
    assert not done.wait(0.1)
    another.leave()
    costly.join(30)
    assert done.is_set()


@pytest.mark.threat("costly-call")
def test_a_costly_call_that_is_alone_loses_no_time(room: CallPlaces) -> None:
    assert seconds_given(room.enter(HOSPITAL), 1_000_000) == 0


@pytest.mark.threat("costly-call")
def test_where_quick_calls_never_end_a_costly_one_goes_on_after_a_quarter_of_a_second(
    room: CallPlaces,
) -> None:
    room.enter(CLINIC)
    assert 0.25 <= seconds_given(room.enter(HOSPITAL), 1_000_000) < 30


@pytest.mark.threat("costly-call")
def test_a_small_call_that_may_be_costly_goes_on_after_a_moment(room: CallPlaces) -> None:
    """It is one for what its client's calls before have cost."""
    room.enter(CLINIC)
    call = room.enter(HOSPITAL)
    room._turns[HOSPITAL.issuer]._was_long = time.monotonic()
    with call.turn(1_000):
        assert interpreter_lock._thread.to_give.seconds == interpreter_lock.A_MOMENT
    room._turns[HOSPITAL.issuer]._was_long = time.monotonic()
    assert interpreter_lock.A_MOMENT <= seconds_given(call, 1_000) < 30


@pytest.mark.threat("costly-call")
@pytest.mark.parametrize("wait", ["waiting", "aside"])
def test_that_a_costly_call_waits_now_and_then_gives_it_no_more_time_to_lose(
    wait: str, room: CallPlaces
) -> None:
    room.enter(CLINIC)
    call = room.enter(HOSPITAL)
    began = time.monotonic()
    with call.turn(1_000_000):
        for _ in range(100):
            with getattr(call, wait)():
                pass
            for _ in giving_way(range(3)):
                pass
    assert 0.2 < time.monotonic() - began < 30


@pytest.mark.threat("costly-call", "hostile-ehr")
def test_all_large_answers_to_one_call_give_way_for_a_moment_together(
    giving: CostlyCalls, room: CallPlaces
) -> None:
    """Eight that took a quarter of a second each would be the whole time for fetching."""
    room.enter(CLINIC)
    reading = giving.reading_answers()
    began = time.monotonic()
    for _ in range(100):
        with reading():
            assert [*giving_way((1, 2))] == [1, 2]
    assert 0.04 < time.monotonic() - began < 30
    began = time.monotonic()
    with giving.reading_answers()():
        assert [*giving_way((1, 2))] == [1, 2]
    assert time.monotonic() - began > 0.04


@pytest.mark.threat("costly-call")
def test_a_thread_gives_way_only_as_long_as_it_computes_a_costly_call(room: CallPlaces) -> None:
    call = room.enter(HOSPITAL)
    assert not computes_at_length()
    with call.turn(1_000):
        assert not computes_at_length()
    for _ in range(2):
        with pytest.raises(ValueError), call.turn(1_000_000):
            assert computes_at_length()
            with call.waiting():
                assert not computes_at_length()
            with call.aside():
                assert not computes_at_length()
            with room.visitor_computes():
                assert computes_at_length()
            raise ValueError
        assert not computes_at_length()


def quick(room: CallPlaces) -> int:
    """The number of calls for which a costly one would wait."""
    return room.costly._quick


@pytest.mark.threat("costly-call")
@pytest.mark.parametrize("client", [HOSPITAL, ANYONE])
@pytest.mark.parametrize("size", [1_000, 1_000_000])
@pytest.mark.parametrize("wait", ["waiting", "aside"])
def test_no_call_waits_for_one_that_waits_itself(
    client: Client, size: int, wait: str, room: CallPlaces
) -> None:
    call = room.enter(client)
    assert quick(room) == 1
    with call.turn(size):
        assert quick(room) == (size == 1_000)
        with getattr(call, wait)():
            assert quick(room) == 0
        assert quick(room) == (size == 1_000)
    assert quick(room) == 1
    call.leave()
    assert quick(room) == 0


@pytest.mark.threat("costly-call", "client-share")
def test_no_call_waits_for_one_in_line(room: CallPlaces) -> None:
    """Else a costly call would wait for those of its own client, which wait for it."""
    first, second = room.enter(HOSPITAL), room.enter(HOSPITAL)

    def compute() -> None:
        with second.turn(1_000):
            pass
        second.leave()

    in_line = threading.Thread(target=compute)
    with first.turn(1_000_000):
        in_line.start()
        within = time.monotonic() + 60
        while quick(room) and time.monotonic() < within:
            time.sleep(0.001)
        assert (quick(room), room._turns[HOSPITAL.issuer].in_line) == (0, 1)
    in_line.join(60)
    first.leave()
    assert quick(room) == 0


def test_no_call_waits_for_one_that_rests(clock: Time, room: CallPlaces) -> None:
    resting: list[int] = []
    turn = turn_of(clock, [0.2, 0.2])
    turn._waiting = room.costly.not_quick
    turn._sleep = lambda _: resting.append(quick(room))
    room.enter(HOSPITAL)
    for _ in range(2):
        with turn.held():
            assert quick(room) == 1
    assert (set(resting), quick(room)) == ({0}, 1)


def refused_to_wait(call: CallPlace, room: CallPlaces) -> None:
    with room.enter(CLINIC).waiting(), room.enter(CLINIC).waiting(), call.waiting():
        raise AssertionError("not reached")


def refused_to_enter(_: CallPlace, room: CallPlaces) -> None:
    for _n in range(200):
        room.enter(OFFICE)


def fails_in(*blocks: str) -> Callable[[CallPlace, CallPlaces], None]:
    def fail(call: CallPlace, _: CallPlaces) -> None:
        with ExitStack() as entered:
            for block in blocks:
                entered.enter_context(getattr(call, block)())
            raise ValueError

    return fail


def is_never_begun(call: CallPlace, _: CallPlaces) -> None:
    """A block that is made, and not entered."""
    for size in (1_000, 1_000_000):
        call.turn(size)
        call.aside()
        call.waiting()


def is_a_visitors(_: CallPlace, room: CallPlaces) -> None:
    with room.visitor_computes():
        raise ValueError


@pytest.mark.threat("costly-call")
@pytest.mark.parametrize("client", [HOSPITAL, ANYONE])
@pytest.mark.parametrize("size", [None, 1_000, 1_000_000])
@pytest.mark.parametrize(
    "work",
    [
        refused_to_wait,
        refused_to_enter,
        fails_in(),
        fails_in("waiting"),
        fails_in("aside"),
        is_never_begun,
        is_a_visitors,
    ],
)
def test_however_a_call_ends_no_costly_one_waits_for_it_afterwards(
    client: Client,
    size: int | None,
    work: Callable[[CallPlace, CallPlaces], None],
    room: CallPlaces,
) -> None:
    call = room.enter(client)
    turn = nullcontext() if size is None else call.turn(size)
    with suppress(ValueError, TooManyCalls, Unavailable), turn:
        work(call, room)
    call.leave()
    # Some of the work has entered others.
    assert quick(room) == room.at_work
    assert not computes_at_length()


@pytest.mark.threat("costly-call")
def test_the_number_of_quick_calls_is_right_after_any_number_at_once(room: CallPlaces) -> None:
    def compute(n: int) -> None:
        call = room.enter((HOSPITAL, CLINIC, ANYONE)[n % 3])
        try:
            with suppress(TooManyCalls, Unavailable), call.turn(1_000_000 if n % 2 else 1_000):
                for _ in giving_way(range(3)):
                    with call.waiting() if n % 5 else call.aside():
                        pass
        finally:
            call.leave()

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(compute, range(400)))
    assert (quick(room), room.at_work, room.waiting) == (0, 0, 0)
