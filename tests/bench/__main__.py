"""python -m tests.bench: the servers side by side, a round after another, then the growth.

What it prints is meant to be read as ratios: the machine's own speed cancels out of them.
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import structlog

from tests.bench.bodies import BODY_BYTES, order_sign_bodies
from tests.bench.commits import of_commit
from tests.bench.day import day
from tests.bench.fairness import fairness
from tests.bench.fetching import fetching
from tests.bench.form_costs import form_costs
from tests.bench.growth import growth
from tests.bench.hostile_bodies import hostile_costs
from tests.bench.load import Load, NoLoadGenerator, find_wrk, fire, write_bodies
from tests.bench.machine import Beside, Watch, machine_lines
from tests.bench.member_growth import member_growth
from tests.bench.plot import svg
from tests.bench.report import PEERS, Measured, markdown, other_ratios, target_lines
from tests.bench.rule_costs import rule_costs
from tests.bench.servers import Contender, Running, complete, healthchain, launched, running
from tests.bench.web_costs import web_costs
from tests.bench.worker_growth import by_workers

HERE = Path(__file__).parent
OURS = ("floor", "no-log", "complete")
_BODIES = 64


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds in turn (5)")
    parser.add_argument("--seconds", type=int, default=5, help="seconds a run (5)")
    parser.add_argument("--workers", type=int, default=2, help="worker processes (2)")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--only", nargs="+", help=f"only these: {' '.join([*OURS, *PEERS])}")
    parser.add_argument("--base", metavar="COMMIT", help="also Covercard of this commit, in turn")
    parser.add_argument("--growth", action="store_true", help="also cost against orders, policies")
    parser.add_argument("--soak", type=int, default=0, metavar="N", help="also memory over N calls")
    parser.add_argument("--fetch", action="store_true", help="also calls that ask an EHR of 50 ms")
    parser.add_argument("--load", action="store_true", help="also 200 clients, one of them noisy")
    parser.add_argument("--hostile", action="store_true", help="also hostile bodies by the byte")
    parser.add_argument("--rules", action="store_true", help="also cost of rules over facts")
    parser.add_argument("--web", action="store_true", help="also function calls beside a bare view")
    parser.add_argument("--forms", action="store_true", help="also cost of packages and questions")
    parser.add_argument(
        "--day", type=float, default=0, metavar="SECONDS", help="also a day, an hour in SECONDS"
    )
    parser.add_argument("--members", type=int, default=0, metavar="N", help="also with N members")
    parser.add_argument(
        "--payer-data", metavar="URL", help="database for the members, which is emptied"
    )
    parser.add_argument("--rows", type=int, default=0, metavar="N", help="also look-up in N rows")
    parser.add_argument("--bases", type=Path, default=Path("build/bench-commits"))
    parser.add_argument("--healthchain-venv", type=Path, default=Path("build/bench-venv"))
    parser.add_argument("--out", type=Path, help="folder for table.md and plot.svg")
    return parser.parse_args()


def contenders(args: argparse.Namespace, work: Path, answer: Path) -> list[Contender]:
    """Those that were asked for, in their order within a round."""
    wanted = args.only or [*OURS, *PEERS]
    workers = args.workers
    made = {
        "floor": lambda data: launched(
            "floor",
            "Floor",
            "tests.bench.floor_app:wsgi_app",
            workers,
            data,
            BENCH_ANSWER=str(answer),
        ),
        "no-log": lambda data: launched(
            "no-log",
            "Covercard without log",
            "tests.bench.no_log_app:wsgi_app",
            workers,
            data,
        ),
        "complete": lambda data: complete(workers, data),
    }
    chosen = [made[name](work / name) for name in wanted if name in made]
    if args.base:
        chosen.append(of_commit(args.base, workers, work / "base", args.bases))
    others = [name for name in PEERS if name in wanted]
    if others and (python := healthchain_python(args.healthchain_venv)):
        chosen.extend(
            healthchain(python, workers, with_uvloop=name.endswith("uvloop")) for name in others
        )
    return chosen


def started(contender: Contender, body: bytes, work: Path, stack: ExitStack) -> Running | None:
    """The server, up; None, and why, if it is HealthChain and does not start."""
    try:
        return stack.enter_context(running(contender, body, work / f"{contender.name}.txt"))
    except RuntimeError as error:
        if contender.name not in PEERS:
            raise
        print(f"SKIPPED {contender.what}: {error}")
        return None


def healthchain_python(venv: Path) -> Path | None:
    """The Python that has HealthChain, installed from the lock file; None, and why, if not."""
    python = venv.absolute() / "bin/python"
    if not (venv / ".installed").exists():
        lock = HERE / "requirements-bench.lock"
        install = ["-m", "pip", "install", "-q", "--disable-pip-version-check", "--require-hashes"]
        try:
            subprocess.run(
                [sys.executable, "-m", "venv", str(venv)], check=True, capture_output=True
            )
            subprocess.run(
                [str(python), *install, "-r", str(lock)], check=True, capture_output=True
            )
        except (OSError, subprocess.CalledProcessError) as error:
            why = getattr(error, "stderr", b"") or b""
            last = why.decode("utf-8", "replace").strip().rpartition("\n")[2]
            print(f"SKIPPED HealthChain: it could not be installed ({last or error})")
            return None
        (venv / ".installed").touch()
    return python


def measure(args: argparse.Namespace, work: Path) -> tuple[list[Measured], list[Beside]]:
    """Every server up at once, one at a time under load, in turn for so many rounds.

    Also what was beside each measurement on the machine.
    """
    wrk = find_wrk()
    bodies = work / "bodies"
    bodies.mkdir()
    calls = order_sign_bodies(_BODIES)
    write_bodies(bodies, calls)
    answer = work / "answer.json"
    answer.write_bytes(sample_answer(calls[0], work / "sample"))
    with ExitStack() as stack:
        chosen = contenders(args, work, answer)
        up = [r for c in chosen if (r := started(c, calls[0], work, stack)) is not None]

        def load(server: Running, connections: int, seconds: int) -> Load:
            return fire(wrk, server.contender.url, bodies, connections, seconds, server)

        def ours() -> float:
            return sum(server.cpu_seconds() for server in up)

        for server in up:
            load(server, 8, max(2, args.seconds // 2))  # warm
        besides: list[Beside] = []
        loads: dict[str, dict[int, list[Load]]] = {
            s.contender.name: {c: [] for c in args.connections} for s in up
        }
        for number in range(1, args.rounds + 1):
            for connections in args.connections:
                for server in up:
                    name = server.contender.name
                    server.settle()
                    watch = Watch.begin(ours)
                    run = load(server, connections, args.seconds)
                    beside = watch.end()
                    besides.append(beside)
                    loads[name][connections].append(run)
                    print(
                        f"round {number} {name:12} {connections:3} connections "
                        f"{run.rate:7.0f}/s p50 {run.p50:6.1f} p99 {run.p99:6.1f} ms "
                        f"{run.cpu:5.0f} us CPU; others {beside.others:.2f}, "
                        f"stolen {beside.stolen:.2f} cores"
                        f"{'' if beside.counts else ': DOES NOT COUNT'}",
                        flush=True,
                    )
        return [_measured(s, loads[s.contender.name]) for s in up], besides


def sample_answer(body: bytes, data: Path) -> bytes:
    """What Covercard answers, so that the floor sends as many bytes."""
    from service.bootstrap.app import create_app
    from service.settings import Settings

    settings = Settings(
        database_url=f"sqlite:///{data}/covercard.sqlite3", records_dir=data / "records"
    )
    reply = (
        create_app(settings)
        .test_client()
        .post("/cds-services/order-sign-crd", data=body, content_type="application/json")
    )
    return reply.get_data()


def _measured(server: Running, loads: Mapping[int, Sequence[Load]]) -> Measured:
    contender = server.contender
    return Measured(contender.name, contender.what, loads, server.memory(), [server.started_in])


def main() -> None:
    args = arguments()
    # Of the application that the growth is measured with only what goes wrong.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with tempfile.TemporaryDirectory(prefix="covercard-bench-") as folder:
        work = Path(folder)
        try:
            measured, besides = measure(args, work)
        except NoLoadGenerator as error:
            sys.exit(str(error))
        table = markdown(measured)
        by_name = {m.name: m for m in measured}
        print(f"\n{BODY_BYTES} bytes a call, {args.workers} workers, medians of {args.rounds}\n")
        print(table)
        for line in [
            *other_ratios(by_name),
            *target_lines(by_name),
            *machine_lines(besides),
        ]:
            print(line)
        if args.out:
            args.out.mkdir(parents=True, exist_ok=True)
            (args.out / "table.md").write_text(table, "utf-8")
            (args.out / "plot.svg").write_text(svg(measured), "utf-8")
        if args.fetch:
            for line in fetching(work / "fetching", args.seconds):
                print(line, flush=True)
        if args.growth:
            for line in by_workers(work / "workers", args.seconds):
                print(line, flush=True)
        for line in growth(work, curves=args.growth, soak_calls=args.soak, rows=args.rows):
            print(line, flush=True)
        if args.web:
            for line in web_costs(work):
                print(line, flush=True)
        if args.rules:
            for line in rule_costs(work):
                print(line, flush=True)
        if args.forms:
            for line in form_costs(work / "forms"):
                print(line, flush=True)
        if args.load:
            for line in fairness(work / "fairness", args.seconds):
                print(line, flush=True)
        if args.day:
            for line in day(work / "day", args.workers, args.day):
                print(line, flush=True)
        if args.hostile:
            for line in hostile_costs():
                print(line, flush=True)
        if args.members:
            for line in member_growth(work, args.members, args.payer_data):
                print(line, flush=True)


if __name__ == "__main__":
    main()
