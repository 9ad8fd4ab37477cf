"""Places of calls in one worker: at work, and waiting for an EHR; and turns to compute.

A call that waits for its client's EHR gives its place at work to others. A client whose EHR is
silent fills its own share of the places for waiting, and is refused alone.

One call of a client computes at a time: its others wait in line. The interpreter computes one call
at a time anyway, and so a client with costly calls slows itself, and the others hardly. Beside
others a client keeps a pace (`pace`), and its costly calls give way to quick ones.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

from service.auth.clients import Client
from service.auth.pace import NO_PACE, Pace, PaceLimits
from service.auth.places import Places
from service.interpreter_lock import A_MOMENT, CostlyCalls, TimeToGive

LARGE_BODY = 65_536
"""Bytes of a call that may be costly."""
LONG_SECONDS = 0.005
"""Processor time: a shorter call leaves the interpreter to others before it would have to."""


@dataclass(frozen=True, slots=True)
class PlaceLimits:
    """Numbers of calls at a time: at work and waiting, of all clients and of each."""

    at_work: int
    at_work_of_one: int
    waiting: int
    waiting_of_one: int


class CallPlaces:
    """The places of one worker. `shown` is told how many calls are at work, and how many wait.

    `pace` are the limits that a client's pace goes by; `costly` is told when a call computes
    that has a large body, or whose client's calls compute for long; `monotonic` is a clock in
    seconds.
    """

    def __init__(
        self,
        limits: PlaceLimits,
        shown: Callable[[int, int], None] = lambda _work, _wait: None,
        pace: PaceLimits = NO_PACE,
        costly: CostlyCalls | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._at_work = Places("calls", limits.at_work, limits.at_work_of_one)
        self._waiting = Places("calls waiting for the EHR", limits.waiting, limits.waiting_of_one)
        self._shown = shown
        self._pace = pace
        self.costly = costly or CostlyCalls()
        self._monotonic = monotonic
        self._turns: dict[str, Turn] = {}
        self._visitors = Turn(
            Pace(NO_PACE, monotonic), lambda: True, monotonic=monotonic, rests_alone=True
        )
        self._newest = self._before = ("", float("-inf"))
        """The client that called last and the last other one, each with the time of its call."""

    @property
    def at_work(self) -> int:
        return self._at_work.in_all

    @property
    def waiting(self) -> int:
        return self._waiting.in_all

    def enter(self, client: Client) -> CallPlace:
        """A place at work for a call that begins.

        Raises TooManyCalls (429) if the client has its share, Unavailable (503) if all are taken.
        """
        self._at_work.take(client.issuer)
        self.costly.begin_quick()
        self._show()
        # Open callers are not told apart: they would wait for one another.
        if not client.issuer:
            return CallPlace(self, client, None)
        self._note(client.issuer)
        turn = self._turns.get(client.issuer)
        if turn is None:
            turn = self._turns.setdefault(client.issuer, self._new_turn(client.issuer))
        return CallPlace(self, client, turn)

    def _new_turn(self, issuer: str) -> Turn:
        return Turn(
            Pace(self._pace, self._monotonic),
            lambda: self._others_call(issuer),
            waiting=self.costly.not_quick,
            monotonic=self._monotonic,
        )

    def _note(self, issuer: str) -> None:
        if issuer != self._newest[0]:
            self._before = self._newest
        self._newest = (issuer, self._monotonic())

    def _others_call(self, issuer: str) -> bool:
        """Whether another client has called just now."""
        _, at = self._before if self._newest[0] == issuer else self._newest
        return self._monotonic() - at < _JUST_NOW

    @contextmanager
    def visitor_computes(self) -> Iterator[None]:
        """A block in which a page computes that anybody may ask for with as much as they like.

        One at a time, with threads that take turns as beside a costly call; after costly ones it
        rests, also with nobody in line.
        """
        with self._visitors.held(), self.costly.computing():
            yield

    def leave(self, client: Client) -> None:
        """End the call of an entered client."""
        self._at_work.give_back(client.issuer)
        self.costly.end_quick()
        self._show()

    @contextmanager
    def wait(self, client: Client) -> Iterator[None]:
        """A block in which an entered call waits for its EHR.

        Raises as `enter`. After the block the call is at work again, whoever has come meanwhile: it
        has been admitted already, and those who come next are refused until there is room.
        """
        self._waiting.take(client.issuer)
        self._at_work.give_back(client.issuer)
        self._show()
        try:
            yield
        finally:
            self._at_work.take_again(client.issuer)
            self._waiting.give_back(client.issuer)
            self._show()

    def _show(self) -> None:
        self._shown(self._at_work.in_all, self._waiting.in_all)


class Turn:
    """The turn to compute of one client's calls, with those in line for it.

    Where others of the client are in line and other clients call too, the turn rests after a call
    as long as the client's `pace` says; with `rests_alone` also where nobody is in line.
    `others_call` tells whether others call; `waiting` makes the block in which a call is in line or
    rests; `spent`, the processor seconds of a thread; `monotonic` is a clock in seconds.
    """

    def __init__(
        self,
        pace: Pace,
        others_call: Callable[[], bool],
        sleep: Callable[[float], None] = time.sleep,
        spent: Callable[[], float] = time.thread_time,
        monotonic: Callable[[], float] = time.monotonic,
        waiting: Callable[[], AbstractContextManager[None]] = nullcontext,
        *,
        rests_alone: bool = False,
    ) -> None:
        self._lock = threading.Lock()
        self._rests_alone = rests_alone
        self._monotonic = monotonic
        self._waiting = waiting
        self._was_long = float("-inf")
        self._counting = threading.Lock()
        self.pace = pace
        self._others_call = others_call
        self._sleep = sleep
        self._spent = spent
        self.in_line = 0

    def take(self) -> None:
        if self._lock.acquire(blocking=False):
            return
        with self._counting:
            self.in_line += 1
        with self._waiting():
            self._lock.acquire()
        with self._counting:
            self.in_line -= 1

    def give(self) -> None:
        self._lock.release()

    @contextmanager
    def given_away(self) -> Iterator[None]:
        """A block without the turn, which is taken again at its end."""
        self.give()
        try:
            yield
        finally:
            self.take()

    @property
    def taken(self) -> bool:
        return self._lock.locked()

    @property
    def is_long(self) -> bool:
        """Whether one of the client's calls has computed for long just now: the next may, too."""
        return self._monotonic() - self._was_long < _JUST_NOW

    @contextmanager
    def held(self) -> Iterator[None]:
        """A block with the turn."""
        self.take()
        began = self._spent()
        try:
            yield
        finally:
            computed = self._spent() - began
            self.pace.computed(computed)
            if computed >= LONG_SECONDS:
                self._was_long = self._monotonic()
            in_line = self.in_line or self._rests_alone
            if in_line and (rest := self.pace.rest()) and self._others_call():
                with self._waiting():
                    self._sleep(rest)
            self.give()


_NO_TURN = nullcontext()
_JUST_NOW = 1.0
"""Seconds."""


class CallPlace:
    """The place of one call, and its turn."""

    __slots__ = ("_client", "_costly", "_in_turn", "_places", "_turn")

    def __init__(self, places: CallPlaces, client: Client, turn: Turn | None) -> None:
        self._places = places
        self._client = client
        self._turn = turn
        self._in_turn = False
        self._costly: CostlyCalls | None = None

    def leave(self) -> None:
        self._places.leave(self._client)

    def turn(self, size: int = 0) -> AbstractContextManager[None]:
        """A block in which the call computes, alone among those of its client; `size` is the number
        of bytes of its body.
        """
        turn = self._turn
        if size > LARGE_BODY or (turn is not None and turn.is_long):
            return self._computing_at_length(turn, size)
        return _NO_TURN if turn is None else self._computing(turn)

    def called(self, size: int) -> None:
        """The call has its answer; `size` is the number of bytes of both."""
        if self._turn is not None:
            self._turn.pace.called(size)

    def aside(self) -> AbstractContextManager[None]:
        """A block within the turn in which the call waits, and another one may compute."""
        turn = self._turn if self._in_turn else None
        if self._costly is not None:
            return self._aside_at_length(turn, self._costly)
        return self._aside(turn)

    @contextmanager
    def _aside(self, turn: Turn | None) -> Iterator[None]:
        not_quick = self._places.costly.not_quick()
        with _NO_TURN if turn is None else turn.given_away(), not_quick:
            yield

    @contextmanager
    def _aside_at_length(self, turn: Turn | None, costly: CostlyCalls) -> Iterator[None]:
        costly.end()
        costly.begin_quick()
        try:
            with self._aside(turn):
                yield
        finally:
            costly.end_quick()
            costly.begin()

    @contextmanager
    def _computing(self, turn: Turn) -> Iterator[None]:
        with turn.held():
            self._in_turn = True
            try:
                yield
            finally:
                self._in_turn = False

    @contextmanager
    def _computing_at_length(self, turn: Turn | None, size: int) -> Iterator[None]:
        costly = self._places.costly
        to_give = None if size > LARGE_BODY else TimeToGive(A_MOMENT)
        computing = _NO_TURN if turn is None else self._computing(turn)
        with computing, costly.not_quick(), costly.computing(to_give):
            self._costly = costly
            try:
                yield
            finally:
                self._costly = None

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """A block in which the call waits for its EHR; raises as `CallPlaces.wait`."""
        with self._places.wait(self._client), self.aside():
            yield
