"""Places of calls in one worker: at work, and waiting for an EHR; and turns to compute.

A call that waits for its client's EHR gives its place at work to others. A client whose EHR is
silent fills its own share of the places for waiting, and is refused alone.

One call of a client computes at a time: its others wait in line. The interpreter computes one call
at a time anyway, and so a client with costly calls slows itself, and the others hardly.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

from service.auth.clients import Client
from service.auth.places import Places


@dataclass(frozen=True, slots=True)
class PlaceLimits:
    """Numbers of calls at a time: at work and waiting, of all clients and of each."""

    at_work: int
    at_work_of_one: int
    waiting: int
    waiting_of_one: int


class CallPlaces:
    """The places of one worker. `shown` is told how many calls are at work, and how many wait."""

    def __init__(
        self, limits: PlaceLimits, shown: Callable[[int, int], None] = lambda _work, _wait: None
    ) -> None:
        self._at_work = Places("calls", limits.at_work, limits.at_work_of_one)
        self._waiting = Places("calls waiting for the EHR", limits.waiting, limits.waiting_of_one)
        self._shown = shown
        self._turns: dict[str, Turn] = {}

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
        self._show()
        # Open callers are not told apart: they would wait for one another.
        turn = self._turns.setdefault(client.issuer, Turn()) if client.issuer else None
        return CallPlace(self, client, turn)

    def leave(self, client: Client) -> None:
        """End the call of an entered client."""
        self._at_work.give_back(client.issuer)
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

    After a costly call, and with others of the client in line, the turn rests three times as long
    as the call has computed: its calls in a row leave most of the time to other clients. `spent`
    tells the processor seconds of a thread.
    """

    def __init__(
        self,
        sleep: Callable[[float], None] = time.sleep,
        spent: Callable[[], float] = time.thread_time,
    ) -> None:
        self._lock = threading.Lock()
        self._counting = threading.Lock()
        self._sleep = sleep
        self._spent = spent
        self.in_line = 0

    def take(self) -> None:
        with self._counting:
            self.in_line += 1
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

    @contextmanager
    def held(self) -> Iterator[None]:
        """A block with the turn."""
        self.take()
        began = self._spent()
        try:
            yield
        finally:
            cost = self._spent() - began
            if cost >= _COSTLY_SECONDS and self.in_line:
                self._sleep(min(_REST * cost, _LONGEST_REST))
            self.give()


_NO_TURN = nullcontext()
_COSTLY_SECONDS = 0.05
_REST = 3
_LONGEST_REST = 1.0


class CallPlace:
    """The place of one call, and its turn."""

    __slots__ = ("_client", "_in_turn", "_places", "_turn")

    def __init__(self, places: CallPlaces, client: Client, turn: Turn | None) -> None:
        self._places = places
        self._client = client
        self._turn = turn
        self._in_turn = False

    def leave(self) -> None:
        self._places.leave(self._client)

    def turn(self) -> AbstractContextManager[None]:
        """A block in which the call computes, alone among those of its client."""
        return _NO_TURN if self._turn is None else self._computing(self._turn)

    def aside(self) -> AbstractContextManager[None]:
        """A block within the turn in which the call waits, and another one may compute."""
        turn = self._turn if self._in_turn else None
        return _NO_TURN if turn is None else turn.given_away()

    @contextmanager
    def _computing(self, turn: Turn) -> Iterator[None]:
        with turn.held():
            self._in_turn = True
            try:
                yield
            finally:
                self._in_turn = False

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """A block in which the call waits for its EHR; raises as `CallPlaces.wait`."""
        with self._places.wait(self._client), self.aside():
            yield
