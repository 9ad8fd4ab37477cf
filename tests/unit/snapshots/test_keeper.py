"""Keeper, board and followers: all workers take a snapshot, or none does."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import pytest

from service.bootstrap.snapshot import Snapshot, read_snapshot
from service.cli.snapshots import keeper as keeper_module
from service.cli.snapshots.board import Board, ReloadOutcome
from service.cli.snapshots.files_watch import AGAIN_SECONDS, FilesWatch
from service.cli.snapshots.follower import CurrentApplication, Follower
from service.cli.snapshots.keeper import SnapshotKeeper
from service.errors import ConfigurationError
from service.settings import Settings
from service.web.operations import State
from tests.conftest import in_folder
from tests.policies import SOUND


@pytest.fixture
def own(tmp_path: Path) -> Settings:
    library = tmp_path / "library"
    shutil.copytree(SOUND, library)
    return in_folder(tmp_path, policies_dir=library, payers_file=library / "payers.yaml")


def edit(settings: Settings, words: str) -> None:
    policy = settings.policies_dir / "example-scan" / "2024-01-01.yaml"
    lines = policy.read_text("utf-8").splitlines()
    policy.write_text("\n".join([lines[0], f"title: {words}", *lines[2:]]) + "\n", "utf-8")


PATIENCE = 60.0
"""Seconds for what comes at once where the machine has nothing else to do."""


def by_title(snapshot: Snapshot) -> Any:
    """An application that answers with the title of the first policy."""
    (policy, *_) = snapshot.library.policies
    return lambda _environ, _start: [policy.title.encode()]


class Worker:
    """A process under the keeper with a follower; it writes the title that it answers by, and when
    it has begun to.
    """

    def __init__(
        self,
        keeper: SnapshotKeeper,
        told: Path,
        build: Callable[[Snapshot], Any] | None = None,
        number_at_fork: tuple[int, Snapshot] | None = None,
    ) -> None:
        self.told = told
        number, snapshot = number_at_fork or keeper.held
        make = build or by_title
        self.process = os.fork()
        if self.process:
            return
        try:
            current = CurrentApplication(by_title(snapshot))
            Follower(keeper.board, number, current, make).start()
            while True:
                partial = told.with_suffix(".partial")
                begun = b"%d " % time.monotonic_ns()
                partial.write_bytes(begun + b"".join(current({}, None)))  # type: ignore[arg-type]
                partial.rename(told)
                time.sleep(0.01)
        finally:
            os._exit(1)

    def answer(self) -> str:
        """The title that it answers by in a call that begins from now on."""
        now = time.monotonic_ns()
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            if self.told.exists():
                begun, _, title = self.told.read_text().partition(" ")
                if int(begun) > now:
                    return title
            time.sleep(0.01)
        raise AssertionError("it does not answer")

    def stop(self) -> None:
        """Make it stand still."""
        os.kill(self.process, signal.SIGSTOP)
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            state = Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2].split()[0]
            if state == "T":
                return
            time.sleep(0.001)
        raise AssertionError("it does not stop")

    def ended_by(self) -> int | None:
        """The signal that ended it; None where it has not ended after a while."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            ended, status = os.waitpid(self.process, os.WNOHANG)
            if ended:
                return os.WTERMSIG(status)
            time.sleep(0.01)
        return None

    def end(self) -> None:
        try:
            os.kill(self.process, signal.SIGKILL)
            os.waitpid(self.process, 0)
        except (ProcessLookupError, ChildProcessError):
            return


@pytest.fixture
def workers() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


Begin = Callable[..., Worker]


@pytest.fixture
def outcomes() -> list[ReloadOutcome]:
    return []


@pytest.fixture
def keeper(own: Settings, outcomes: list[ReloadOutcome]) -> SnapshotKeeper:
    return SnapshotKeeper(own, read_snapshot(own), outcomes.append)


@pytest.fixture
def begin(keeper: SnapshotKeeper, tmp_path: Path, workers: ExitStack) -> Begin:
    begun: list[Worker] = []

    def start(**options: Any) -> Worker:
        worker = Worker(keeper, tmp_path / f"worker-{len(begun)}", **options)
        begun.append(worker)
        workers.callback(worker.end)
        assert worker.answer() == "Example scan" or options
        return worker

    return start


def test_all_workers_have_switched_when_the_reload_is_over(
    own: Settings, keeper: SnapshotKeeper, begin: Begin, outcomes: list[ReloadOutcome]
) -> None:
    both = [begin(), begin()]
    edit(own, "Renamed scan")
    keeper.reload()
    assert outcomes[0].state == "in force", outcomes[0].why
    assert keeper.board.outcome == outcomes[0]
    assert [worker.answer() for worker in both] == ["Renamed scan"] * 2
    edit(own, "Renamed again")
    keeper.reload()
    assert [worker.answer() for worker in both] == ["Renamed again"] * 2


def test_the_policies_in_force_are_not_all_lost_by_a_reload_and_may_come_by_one(
    own: Settings, outcomes: list[ReloadOutcome], tmp_path: Path
) -> None:
    payers = own.policies_dir / "payers.yaml"
    payers.write_text(payers.read_text("utf-8").replace("{id: example-scan}", ""), "utf-8")
    policy = own.policies_dir / "example-scan"
    keeper = SnapshotKeeper(own, read_snapshot(own), outcomes.append)
    shutil.move(policy, tmp_path / "away")
    keeper.reload()
    assert outcomes[-1].state == "refused"
    assert "no policy would be in force today" in outcomes[-1].why
    without = SnapshotKeeper(own, read_snapshot(own), outcomes.append)
    without.reload()
    assert outcomes[-1].state == "unchanged", outcomes[-1].why
    shutil.move(tmp_path / "away", policy)
    without.reload()
    assert outcomes[-1].state == "in force", outcomes[-1].why


def stays_with(worker: Worker, title: str) -> bool:
    """Whether it answers by a policy of this title for as long as it takes to look several times
    at what is offered.
    """
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        if worker.answer() != title:
            return False
    return True


def refuse(_: Snapshot) -> Any:
    raise ConfigurationError("this worker has no place for it")


def fall(_: Snapshot) -> Any:
    raise ZeroDivisionError("a secret")


@pytest.mark.parametrize(
    ("build", "why"), [(refuse, "no place for it"), (fall, "unexpected ZeroDivisionError")]
)
def test_where_one_worker_cannot_take_it_none_does(
    own: Settings,
    keeper: SnapshotKeeper,
    begin: Begin,
    outcomes: list[ReloadOutcome],
    build: Callable[[Snapshot], Any],
    why: str,
) -> None:
    able, unable = begin(), begin(build=build)
    before = keeper.held
    edit(own, "Renamed scan")
    keeper.reload()
    assert outcomes[0].state == "refused"
    assert why in outcomes[0].why
    assert "a secret" not in outcomes[0].why
    assert outcomes[0].policies == before[1].digests.policies
    assert keeper.held == before
    assert stays_with(able, "Example scan")
    assert stays_with(unable, "Example scan")


def test_a_worker_that_stands_still_is_waited_for_in_vain_and_nothing_changes(
    own: Settings,
    keeper: SnapshotKeeper,
    begin: Begin,
    outcomes: list[ReloadOutcome],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keeper_module, "SECONDS_TO_BE_READY", 0.5)
    able, still = begin(), begin()
    still.stop()
    edit(own, "Renamed scan")
    keeper.reload()
    assert outcomes[0].state == "refused"
    assert "was not ready" in outcomes[0].why
    os.kill(still.process, signal.SIGCONT)
    assert stays_with(able, "Example scan")
    monkeypatch.setattr(keeper_module, "SECONDS_TO_BE_READY", PATIENCE)
    keeper.reload()
    assert outcomes[1].state == "in force", outcomes[1].why
    assert able.answer() == "Renamed scan"
    assert still.answer() == "Renamed scan"


def test_a_worker_that_does_not_switch_at_the_word_is_killed(
    own: Settings,
    keeper: SnapshotKeeper,
    begin: Begin,
    outcomes: list[ReloadOutcome],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keeper_module, "SECONDS_TO_SWITCH", 5.0)
    able, still = begin(), begin()
    put_in_force = keeper.board.put_in_force

    def stop_one_first(number: int) -> None:
        still.stop()
        put_in_force(number)

    monkeypatch.setattr(keeper.board, "put_in_force", stop_one_first)
    edit(own, "Renamed scan")
    keeper.reload()
    assert outcomes[0].state == "in force"
    assert able.answer() == "Renamed scan"
    assert still.ended_by() == signal.SIGKILL


def test_a_service_that_is_told_to_stop_waits_for_no_worker(
    own: Settings, keeper: SnapshotKeeper, begin: Begin, outcomes: list[ReloadOutcome]
) -> None:
    begin(), begin().stop()
    told = time.monotonic() + 0.5
    keeper.stopping = lambda: time.monotonic() > told
    edit(own, "Renamed scan")
    began = time.monotonic()
    keeper.reload()
    assert time.monotonic() - began < keeper_module.SECONDS_TO_BE_READY / 2
    assert outcomes[0].state == "refused"
    assert outcomes[0].why == "the service was told to stop"


def test_a_worker_that_has_died_is_not_waited_for(
    own: Settings, keeper: SnapshotKeeper, begin: Begin, outcomes: list[ReloadOutcome]
) -> None:
    able, dead = begin(), begin()
    os.kill(dead.process, signal.SIGKILL)  # and nobody has waited for it yet
    edit(own, "Renamed scan")
    started = time.monotonic()
    keeper.reload()
    assert outcomes[0].state == "in force", outcomes[0].why
    assert time.monotonic() - started < keeper_module.SECONDS_TO_BE_READY / 2
    assert able.answer() == "Renamed scan"


def test_a_worker_that_was_forked_before_a_switch_and_begins_after_it_catches_up(
    own: Settings, keeper: SnapshotKeeper, begin: Begin, outcomes: list[ReloadOutcome]
) -> None:
    former = keeper.held
    edit(own, "Renamed scan")
    keeper.reload()
    assert outcomes[0].state == "in force"
    assert begin(number_at_fork=former).answer() == "Renamed scan"


def test_a_worker_that_begins_while_the_others_switch_answers_by_the_new_one_from_its_first_call(
    own: Settings,
    keeper: SnapshotKeeper,
    outcomes: list[ReloadOutcome],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    number, former = keeper.held
    current = CurrentApplication(by_title(former))
    report = keeper.board.report

    def switch_first(number: int, state: Literal["ready", "answers", "failed"], why: str) -> None:
        monkeypatch.setattr(keeper.board, "report", report)
        edit(own, "Renamed scan")
        keeper.reload()
        report(number, state, why)

    monkeypatch.setattr(keeper.board, "report", switch_first)
    Follower(keeper.board, number, current, by_title).start()
    assert outcomes[0].state == "in force", outcomes[0].why
    assert current({}, lambda *_: lambda _: None) == [b"Renamed scan"]


def test_a_reload_is_not_over_before_a_worker_that_began_meanwhile_has_switched(
    own: Settings,
    keeper: SnapshotKeeper,
    begin: Begin,
    outcomes: list[ReloadOutcome],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    former, put_in_force, late = keeper.held, keeper.board.put_in_force, list[Worker]()

    def begin_one_first(number: int) -> None:
        late.append(begin(number_at_fork=former))
        put_in_force(number)

    monkeypatch.setattr(keeper.board, "put_in_force", begin_one_first)
    edit(own, "Renamed scan")
    keeper.reload()
    assert outcomes[0].state == "in force", outcomes[0].why
    assert late[0].answer() == "Renamed scan"


def test_a_refused_snapshot_is_never_taken_for_the_one_in_force(
    own: Settings, keeper: SnapshotKeeper
) -> None:
    edit(own, "Renamed scan")
    keeper.reload()
    in_force, _ = keeper.held
    assert keeper.board.read(in_force)
    keeper.board.offer(in_force + 1, b"another one")
    keeper.board.withdraw()
    assert keeper.board.in_force == keeper.board.offered == in_force
    with pytest.raises(ValueError, match=f"does not hold snapshot {in_force}"):
        keeper.board.read(in_force)


def test_reports_arrive_whole_and_a_full_pipe_stops_nobody() -> None:
    board = Board()
    board.report(1, "failed", "x" * 100_000)
    (report,) = board.heard()
    assert (report.process, report.number, report.state) == (os.getpid(), 1, "failed")
    assert set(report.why) == {"x"}
    with pytest.raises(OSError, match="unavailable"):
        for _ in range(10_000):
            board.report(2, "answers", "")
    assert {r.number for r in board.heard()} == {2}
    assert board.heard() == []


def test_an_outcome_of_any_length_can_be_put_up_while_it_is_read() -> None:
    board = Board()
    assert board.outcome is None
    stop = threading.Event()
    seen: set[int] = set()

    def read() -> None:
        while not stop.is_set():
            found = board.outcome
            if found is not None:
                seen.add(len(found.why))

    reader = threading.Thread(target=read)
    reader.start()
    for length, told in ((0, 0), (10, 10), (1_000_000, 2000), (5, 5)):
        board.tell(ReloadOutcome("refused", "w" * length, 1, "2026-11-29", "p", "a"))
        until = time.monotonic() + PATIENCE
        while told not in seen and time.monotonic() < until:
            time.sleep(0.001)
    stop.set()
    reader.join(PATIENCE)
    assert seen == {0, 10, 2000, 5}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_readiness_says_that_the_files_differ_and_what_the_last_reload_said(
    own: Settings,
) -> None:
    outcome: list[ReloadOutcome | None] = [None]
    clock = Clock()
    watch = FilesWatch(own, read_snapshot(own).digests, lambda: outcome[0], clock)
    assert watch.look().state is State.READY
    edit(own, "Renamed scan")
    assert watch.look().state is State.READY  # it looks once in so many seconds
    clock.now += AGAIN_SECONDS
    found = watch.look()
    assert (found.state, found.facts["files"]) == (State.DEGRADED, "differ")
    assert found.warnings == (
        "the files differ from the snapshot in force; run `covercard reload`:"
        " it takes them, or says what is wrong",
    )
    outcome[0] = ReloadOutcome("refused", "a case fails", 1, "2026-11-29", "p", "a")
    assert watch.look().warnings[1] == "the last reload was refused: a case fails"
    edit(own, "Example scan")
    clock.now += AGAIN_SECONDS
    found = watch.look()
    assert (found.state, found.warnings) == (State.READY, ())
    shutil.rmtree(own.policies_dir)
    clock.now += AGAIN_SECONDS
    found = watch.look()
    assert found.state is State.DEGRADED
    assert "cannot be read" in found.warnings[0]
