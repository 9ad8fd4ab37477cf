"""The server process: it listens, keeps its workers and the drainer alive, and stops when told.

Granian starts the workers' own servers; of its main process this module keeps the start only. There
a second signal can dead-lock the first one's handler for ever, a worker's second death within
seconds ends the service, and the death of two at the same moment can go unseen. Here signals set a
flag and wake the loop, and a worker that dies is begun again, each time a little later, for as long
as the service runs. tests/e2e/test_workers.py holds this to the locked version of Granian.
"""

from __future__ import annotations

import multiprocessing
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.context import ForkProcess
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

import structlog
from granian._granian import SocketHolder
from granian.server.mp import MPServer

from service.cli.drainer_process import become_drainer, tell_to_stop
from service.cli.listening import another_listener, begin_to_listen, shown_address
from service.cli.worker_process import (
    SECONDS_TO_STOP,
    SERVING,
    STOP,
    become_worker,
    this_worker,
)
from service.web.draining import Draining

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

log = structlog.get_logger(__name__)

_LINUX = sys.platform == "linux"
_FORK = multiprocessing.get_context("fork")
_SETTLED_SECONDS = 60.0
"""A worker that dies older than this is begun again at once."""
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0


class Regions(Protocol):
    """Shared memory in regions, one for each worker that lives."""

    def take(self, region: int) -> None:
        """Use this region: called in the worker."""

    def leave(self, region: int) -> None:
        """The worker with this region has ended: called in the server process."""


@dataclass(eq=False)
class _Running:
    """A child process, with this side of its link; `serves` once it has said so."""

    process: ForkProcess
    link: socket.socket
    began: float
    serves: bool = False

    def has_ended(self) -> bool:
        """Take in what its link brought: whether that was the end."""
        try:
            came = self.link.recv(64)
        except ConnectionResetError:
            return True  # it was killed before it read what it was told
        self.serves = self.serves or came == SERVING
        return not came


@dataclass(eq=False)
class _Place:
    """The place of one child: who has it now, or when its next one is due.

    A worker's has a number and a listener. The drainer's has no listener.
    """

    number: int
    listener: socket.socket | None
    has: _Running | None = None
    deaths: int = 0
    due: float = 0.0

    @property
    def role(self) -> str:
        return "drainer" if self.listener is None else "worker"

    @property
    def shown(self) -> dict[str, int]:
        """Its part of a log line."""
        return {} if self.listener is None else {"worker": self.number + 1}

    def close_listener(self) -> None:
        if self.listener is not None:
            self.listener.close()


class ServerProcess(MPServer):
    """A Granian whose main process outlives whatever befalls its workers.

    `listener` is bound; `regions` are as many as the workers; `reload`, which never raises, is
    called at SIGHUP, in the main thread and between two forks; `drain` runs in a process of its
    own, which is the last to be stopped; `options` are Granian's own.
    """

    def __init__(
        self,
        target: str,
        *,
        listener: socket.socket,
        regions: Regions,
        reload: Callable[[], None] = lambda: None,
        drain: Callable[[], None] | None = None,
        **options: Any,
    ) -> None:
        # A worker has what the server has read, and its listener: it must be forked from it.
        multiprocessing.set_start_method("fork", force=True)
        super().__init__(target, **options)
        self._first = listener
        self._address = listener.family, listener.getsockname()
        self._regions = regions
        self._take_anew = reload
        self._drain = drain
        self._places: list[_Place] = []
        self._stop = False
        self._reload_asked = False

    # Granian's serve() calls it with what it worked out.
    def _serve(self, spawn_target: Any, target_loader: Any) -> None:
        self._build = partial(
            self._spawn_worker, target=spawn_target, callback_loader=partial(_load, target_loader)
        )
        begin_to_listen(self._first, self.backlog)
        self._places.append(_Place(0, self._first))
        for number in range(1, self.workers):
            self._places.append(_Place(number, another_listener(*self._address, self.backlog)))
        if self._drain is not None:
            self._places.append(_Place(self.workers, None))
        woken, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for told in STOP:
            signal.signal(told, self._told_to_stop)
        signal.signal(signal.SIGHUP, self._told_to_reload)
        # One that came during the start has waited until now.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])
        for hook in self.hooks_startup:
            hook()
        log.info("listening", address=shown_address(self._first), process=os.getpid())
        while not self._stop:
            self._keep()
            self._wait(woken, self._seconds_until_due())
        self._end()
        # Whatever comes from now on is late: the process is ending.
        for told in (*STOP, signal.SIGHUP):
            signal.signal(told, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)
        log.info("stopped")

    @property
    def told_to_stop(self) -> bool:
        """Whether the service was told to stop: a reload that is under way ends."""
        return self._stop

    def _told_to_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stop = True

    def _told_to_reload(self, _number: int, _frame: FrameType | None) -> None:
        self._reload_asked = True

    def _all(self) -> Iterator[_Running]:
        return (place.has for place in self._places if place.has is not None)

    def _begin(self, place: _Place) -> None:
        """Begin a child at a place."""
        try:
            if place.listener is None:
                process = _FORK.Process(target=self._drain, name=place.role)
                self._start(place, process, become_drainer)
            else:
                self._begin_worker(place, place.listener)
        except OSError as error:
            self._died(place, (error.strerror or type(error).__name__).lower())

    def _begin_worker(self, place: _Place, listener: socket.socket) -> None:
        if listener.fileno() < 0:
            listener = place.listener = another_listener(*self._address, self.backlog)
        # A listener is kept here and outlives its workers, with the connections that wait in it.
        number, backlog = listener.fileno(), (self.backlog,) if _LINUX else ()
        holder = SocketHolder(number, False, *backlog)  # type: ignore[call-arg]
        self._ssp, self._shd, self._sso = None, holder, None  # type: ignore[assignment]
        process = self._build(place.number).inner

        def become(link: socket.socket) -> None:
            self._regions.take(place.number)
            become_worker(link)

        self._start(place, process, become)

    def _start(
        self, place: _Place, process: ForkProcess, become: Callable[[socket.socket], None]
    ) -> None:
        """Start a child at its place. Its first task is `become`, with its side of the link."""
        link, theirs = socket.socketpair()
        others = (other.listener for other in self._places if other is not place)
        not_its = [listener for listener in others if listener is not None]
        not_its += [link, *(child.link for child in self._all())]

        def in_child() -> None:
            for each in not_its:
                each.close()
            become(theirs)

        # A signal between the fork and the child's own arrangements would be lost to it.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP)
        try:
            _fork_hook.run = in_child
            process.start()
        except OSError:
            link.close()
            raise
        finally:
            _fork_hook.run = None
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP)
            theirs.close()
        place.has = _Running(process, link, time.monotonic())
        log.info(f"{place.role} begun", **place.shown, process=process.pid)

    def _keep(self) -> None:
        """Reload if told to, and begin what is due."""
        if self._reload_asked:
            self._reload_asked = False
            self._take_anew()
        now = time.monotonic()
        for place in self._places:
            if place.has is None and place.due <= now and not self._stop:
                self._begin(place)

    def _seconds_until_due(self) -> float | None:
        moments = [place.due for place in self._places if place.has is None]
        return max(0.0, min(moments) - time.monotonic()) if moments else None

    def _wait(self, woken: int, seconds: float | None) -> None:
        """Wait for a signal, a child's news or the time; take the news in."""
        watched: list[Any] = [woken, *(child.link for child in self._all())]
        ready, _, _ = select.select(watched, [], [], seconds)
        if woken in ready:
            os.read(woken, 65536)
        for place in self._places:
            child = place.has
            if child is not None and child.link in ready and child.has_ended():
                place.has = None
                self._died(place, self._bury(place, child), time.monotonic() - child.began)

    def _died(self, place: _Place, how: int | str | None, lived: float = 0.0) -> None:
        """Set the moment of the place's next child. `how` is an exit status or a reason."""
        place.deaths = 1 if lived >= _SETTLED_SECONDS else place.deaths + 1
        pause = 0.0
        if place.deaths > 1:
            pause = min(_FIRST_PAUSE * 2.0 ** min(place.deaths - 2, 10), _LONGEST_PAUSE)
            # Meanwhile connections go to the others, or are refused at once.
            place.close_listener()
        place.due = time.monotonic() + pause
        if not self._stop:
            log.error(f"{place.role} died", **place.shown, exit=how, next_in_seconds=pause)

    def _bury(self, place: _Place, child: _Running) -> int | None:
        """Take leave of a child that has ended. Returns its exit status, as of multiprocessing."""
        child.link.close()
        child.process.join(SECONDS_TO_STOP)
        if place.listener is not None:
            self._regions.leave(place.number)
        return child.process.exitcode

    def _end(self) -> None:
        """Stop all workers, each of which may finish its calls; then the drainer, for their last
        records.
        """
        for place in self._places:
            place.close_listener()
        workers = [p for p in self._places if p.has is not None and p.listener is not None]
        log.info("stopping", workers=len(workers))
        self._stop_all(workers)
        self._stop_all([p for p in self._places if p.has is not None and p.listener is None])

    def _stop_all(self, places: Sequence[_Place]) -> None:
        """Stop what is at these places; kill what has not ended after so many seconds."""
        going = {p.has.link: (p, p.has) for p in places if p.has is not None}
        for place, child in going.values():
            if place.listener is None:
                tell_to_stop(child.link)
            else:
                child.process.terminate()
        until = time.monotonic() + SECONDS_TO_STOP
        while going:
            left = max(0.0, until - time.monotonic())
            ready = select.select(list(going), [], [], left)[0]
            if not ready:
                for place, child in going.values():
                    log.warning(f"{place.role} killed: it did not stop", **place.shown)
                    child.process.kill()
                until = time.monotonic() + SECONDS_TO_STOP
            for link in ready:
                place, child = going[link]
                if child.has_ended():
                    del going[link]
                    self._bury(place, child)
                    log.info(f"{place.role} stopped", **place.shown)


def _load(load: Callable[[], WSGIApplication]) -> WSGIApplication:
    """Load the application in its worker, which obeys the signals to stop from here on."""
    worker = this_worker()
    worker.stand_by()
    draining = Draining(load())
    worker.serve(draining.drain)
    return draining


class _ForkHook:
    """The first task of the child of the next fork. A hook of forks cannot be taken off again."""

    run: Callable[[], None] | None = None

    def __call__(self) -> None:
        if self.run is not None:
            self.run()
            self.run = None


_fork_hook = _ForkHook()
os.register_at_fork(after_in_child=_fork_hook)
