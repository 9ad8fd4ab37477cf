"""Fairness: 200 clients, one of them noisy; what the others get beside each of its attacks.

For each attack the others call for a while undisturbed, then beside it, at the same pace, so many
rounds in turn: the share of their calls that is answered, and the ratio of their 99th percentiles,
the median of the rounds. The attack comes from a process of its own. A round beside which something
else was busy on the machine does not count, and another one takes its place, as far as there are
any. Alone, and one attack at a time:

    python -m tests.bench.fairness --attacks flood huge --rounds 5 --seconds 6
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from itertools import count
from multiprocessing.synchronize import Event
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from tests.bench import hostile_bodies as hostile
from tests.bench.bodies import fixture_call, order_sign_bodies
from tests.bench.machine import Beside, Watch, machine_lines
from tests.bench.servers import ROOT, SERVICE_PATH, family_seconds, free_port
from tests.e2e.signing import Signer, ec_signer

CLIENTS = 200
PACE = 30
"""Calls a second of the others together."""
ROUNDS = 5
SPARE = 2
"""As many rounds more, in place of those that do not count."""
ATTACKERS = 8
CALLS_PER_MINUTE = 600
BYTES_PER_MINUTE = 64 * 1024 * 1024
TOKENS_OF_ATTACK = 700
"""More than a minute's calls: what comes then is refused whatever its token."""
MOST_RATIO, LEAST_SHARE = 2.0, 0.95
_CONNECTIONS = 24

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Attack:
    """What the noisy client sends again and again: bodies and tokens, in turn."""

    body: bytes
    tokens: Sequence[str]


@dataclass(frozen=True, slots=True)
class Others:
    """What the others got: calls answered of those made, and milliseconds of each."""

    made: int
    answered: int
    milliseconds: Sequence[float]

    @property
    def share(self) -> float:
        return self.answered / self.made

    @property
    def p50(self) -> float:
        return median(self.milliseconds)

    @property
    def p99(self) -> float:
        return quantiles(self.milliseconds, n=100)[98]


@dataclass(frozen=True, slots=True)
class Round:
    """What the others got undisturbed and then beside an attack."""

    before: Others
    beside: Others
    machine: Sequence[Beside]

    @property
    def counts(self) -> bool:
        return all(each.counts for each in self.machine)

    @property
    def ratio(self) -> float:
        return self.beside.p99 / self.before.p99


def fairness(
    work: Path, seconds: int, rounds: int = ROUNDS, names: Sequence[str] = ()
) -> Iterator[str]:
    """The lines of this measurement; `names` are the attacks, all of them by default."""
    work.mkdir()
    signers = [ec_signer(f"https://ehr-{n}.example.org") for n in range(CLIENTS)]
    chosen = list(names or ATTACKS)
    # Another noisy one for each round: the minute of the one before is spent.
    number = (rounds + SPARE) * len(chosen)
    noisy, others = signers[:number], signers[number:]
    with ExitStack() as stack:
        silent = [stack.enter_context(_silent_host()) for _ in noisy]
        dripping = stack.enter_context(_dripping_host())
        hung = ec_signer("https://hung.example.org")
        port = free_port()
        _write_clients(work, signers, silent, hung, dripping)
        server = stack.enter_context(_serving(work, port))
        world = _World(
            f"http://127.0.0.1:{port}{SERVICE_PATH}", iter(zip(noisy, silent, strict=True)), hung
        )
        call = _Calls(port, world.url, others)
        call.run(2)  # warm
        worst_share, worst_ratio = 1.0, 0.0
        besides: list[Beside] = []
        for name in chosen:
            what, attack_of = ATTACKS[name]
            got: Counter[int] = Counter()
            done: list[Round] = []
            while len(done) < rounds + SPARE and sum(each.counts for each in done) < rounds:
                done.append(_round(call, port, attack_of(world), seconds, got, server))
            besides += [beside for each in done for beside in each.machine]
            done = [each for each in done if each.counts] or done
            made = sum(each.beside.made for each in done)
            share = sum(each.beside.answered for each in done) / made
            ratio = median(each.ratio for each in done)
            worst_share, worst_ratio = min(worst_share, share), max(worst_ratio, ratio)
            statuses = ", ".join(f"{n} × {status}" for status, n in sorted(got.items()))
            yield (
                f"FAIRNESS {what}: {len(done)} rounds, {100 * share:.1f} % of {made} calls"
                f" answered, "
                f"p50 {_median(done, 'p50')} ms, p99 {_median(done, 'p99')} ms, "
                f"ratio {ratio:.2f} ({', '.join(f'{each.ratio:.1f}' for each in done)}); "
                f"the noisy clients got {statuses or 'nothing'}"
            )
        yield f"FAIRNESS share of answers {worst_share:.3f}"
        verdict = _verdict(worst_share >= LEAST_SHARE)
        yield f"TARGET share of answers at least {LEAST_SHARE}: {verdict}"
        yield f"FAIRNESS p99 ratio {worst_ratio:.2f}"
        yield f"TARGET p99 ratio at most {MOST_RATIO}: {_verdict(worst_ratio <= MOST_RATIO)}"
        yield from machine_lines(besides)


def _round(
    call: _Calls, port: int, attack: Attack, seconds: int, got: Counter[int], server: int
) -> Round:
    def ours() -> float:
        return family_seconds(server)

    watch = Watch.begin(ours)
    before = call.run(seconds)
    undisturbed = watch.end()
    watch = Watch.begin(ours)
    with _attacking(port, attack, got):
        time.sleep(1)
        beside = call.run(seconds)
    # The attacker's time counts as ours once it has ended.
    attacked = watch.end()
    time.sleep(1)  # what the attack has left behind is not the next round's
    return Round(before, beside, (undisturbed, attacked))


def _median(rounds: Sequence[Round], figure: str) -> str:
    """A figure undisturbed and beside the attack, in milliseconds: medians of the rounds."""
    before = median(getattr(each.before, figure) for each in rounds)
    return f"{before:.1f} to {median(getattr(each.beside, figure) for each in rounds):.1f}"


def _verdict(reached: bool) -> str:
    return "reached" if reached else "NOT REACHED"


@dataclass(frozen=True, slots=True)
class _World:
    """What attacks are made of: the called URL, clients to be noisy, each with the base URL of its
    EHR, which says nothing, and the client whose key host drips.
    """

    url: str
    noisy: Iterator[tuple[Signer, str]]
    hung: Signer

    def attack(self, body: bytes) -> Attack:
        """This body again and again, of the next noisy client."""
        client, _ = next(self.noisy)
        return Attack(body, [client.token(self.url) for _ in range(TOKENS_OF_ATTACK)])


def _silent(world: _World) -> Attack:
    client, ehr = next(world.noisy)
    bare = fixture_call()
    bare["prefetch"], bare["fhirServer"] = {}, ehr
    bare["fhirAuthorization"] = {"access_token": "synthetic", "token_type": "Bearer"}
    tokens = [client.token(world.url) for _ in range(TOKENS_OF_ATTACK)]
    return Attack(json.dumps(bare).encode(), tokens)


def _huge(world: _World) -> Attack:
    return world.attack(json.dumps(hostile._questionnaires(100, 880, 10)).encode())


def _costly(world: _World) -> Attack:
    """Calls too small to be large ones, of orders each of which is decided by itself."""
    call = hostile._with_orders(fixture_call(), 40)
    for n, entry in enumerate(call["context"]["draftOrders"]["entry"]):
        entry["resource"]["note"] = [{"text": f"{n}"}]
    return world.attack(json.dumps(call).encode())


def _incompressible(world: _World) -> Attack:
    filled = fixture_call()
    filled["prefetch"]["filler"] = secrets.token_urlsafe(600_000)
    return world.attack(json.dumps(filled).encode())


def _flood(world: _World) -> Attack:
    return world.attack(order_sign_bodies(1)[0])


def _bad_tokens(world: _World) -> Attack:
    forger = ec_signer(next(world.noisy)[0].issuer)
    return Attack(order_sign_bodies(1)[0], [forger.token(world.url) for _ in range(100)])


def _hung_keys(world: _World) -> Attack:
    next(world.noisy)
    return Attack(order_sign_bodies(1)[0], [world.hung.token(world.url) for _ in range(50)])


ATTACKS: Mapping[str, tuple[str, Callable[[_World], Attack]]] = {
    "silent": ("a silent EHR", _silent),
    "huge": ("huge bodies", _huge),
    "costly": ("calls of 40 orders", _costly),
    "incompressible": ("what does not compress", _incompressible),
    "flood": ("a flood", _flood),
    "bad-tokens": ("bad tokens", _bad_tokens),
    "hung-keys": ("a key host that drips", _hung_keys),
}
"""Attacks by name: what each is, and how it is made."""


class _Calls:
    """Calls of the others, each in its turn, at a steady pace whatever becomes of them."""

    def __init__(self, port: int, url: str, clients: Sequence[Signer]) -> None:
        self._port = port
        self._url = url
        self._clients = clients
        self._next = count()
        self._local = threading.local()
        (self._body,) = order_sign_bodies(1)

    def run(self, seconds: int) -> Others:
        calls = PACE * seconds
        with ThreadPoolExecutor(_CONNECTIONS) as pool:
            tokens = [self._token() for _ in range(calls)]
            began = time.monotonic()
            waiting = []
            for n, token in enumerate(tokens):
                pause = began + n / PACE - time.monotonic()
                if pause > 0:
                    time.sleep(pause)
                # From the moment at which it was due: a queue of ours counts too.
                waiting.append(pool.submit(self._call, token, began + n / PACE))
            done = [w.result() for w in waiting]
        answered = [ms for status, ms in done if status == 200]
        return Others(len(done), len(answered), [ms for _, ms in done])

    def _token(self) -> str:
        return self._clients[next(self._next) % len(self._clients)].token(self._url)

    def _call(self, token: str, due: float) -> tuple[int, float]:
        status = _post(self._local, self._port, self._body, token)
        return status, (time.monotonic() - due) * 1000


def _post(local: threading.local, port: int, body: bytes, token: str) -> int:
    """The status of a call over this thread's connection; 0 without an answer."""
    connection: HTTPConnection | None = getattr(local, "connection", None)
    if connection is None:
        connection = local.connection = HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    try:
        connection.request("POST", SERVICE_PATH, body, headers)
        reply = connection.getresponse()
        reply.read()
    except (OSError, HTTPException):
        connection.close()
        return 0
    return reply.status


@contextmanager
def _attacking(port: int, attack: Attack, got: Counter[int]) -> Iterator[None]:
    """A block beside the attack; afterwards `got` has what the attackers got, by status."""
    context = multiprocessing.get_context("spawn")
    ended, statuses = context.Event(), context.SimpleQueue()
    attacker = context.Process(target=_attack, args=(port, attack, ended, statuses), daemon=True)
    attacker.start()
    try:
        yield
    finally:
        ended.set()
        got.update(statuses.get())
        attacker.join(60)


def _attack(port: int, attack: Attack, ended: Event, got: Any) -> None:
    numbers, local = count(), threading.local()
    statuses: dict[int, int] = {}
    lock = threading.Lock()

    def repeat() -> None:
        while not ended.is_set():
            token = attack.tokens[next(numbers) % len(attack.tokens)]
            status = _post(local, port, attack.body, token)
            with lock:
                statuses[status] = statuses.get(status, 0) + 1

    threads = [threading.Thread(target=repeat) for _ in range(ATTACKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    got.put(statuses)


def _write_clients(
    work: Path,
    signers: Sequence[Signer],
    silent: Sequence[str],
    hung: Signer,
    keys: str,
) -> None:
    entries: list[Json] = [
        {"issuer": s.issuer, "jwks": {"keys": [s.public()]}, "fhir_servers": []} for s in signers
    ]
    for entry, ehr in zip(entries, silent, strict=False):
        entry["fhir_servers"] = [ehr]
    entries.append({"issuer": hung.issuer, "jwks_url": keys})
    (work / "clients.yaml").write_text(json.dumps({"clients": entries}), "utf-8")


@contextmanager
def _serving(work: Path, port: int) -> Iterator[int]:
    """Covercard as an operator starts it, with two workers and these clients; its process."""
    settings = {
        "PORT": port,
        "WORKERS": 2,
        "CLIENTS_FILE": work / "clients.yaml",
        "DATABASE_URL": f"sqlite:///{work}/covercard.sqlite3",
        "SPOOL_DIR": work / "spool",
        "CALLS_PER_MINUTE": CALLS_PER_MINUTE,
        "BYTES_PER_MINUTE": BYTES_PER_MINUTE,
    }
    clean = {k: v for k, v in os.environ.items() if not k.startswith("COVERCARD_")}
    environment = clean | {f"COVERCARD_{n}": str(v) for n, v in settings.items()}
    command = (sys.executable, "-c", "from service.cli import main; main()", "serve")
    with (work / "server.log").open("wb") as log:
        server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        _wait_for(port, server, work / "server.log")
        yield server.pid
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait_for(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        with suppress(OSError, HTTPException):
            connection = HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/livez")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.05)
    raise RuntimeError(f"the server did not start:\n{log.read_text('utf-8', 'replace')}")


@contextmanager
def _silent_host() -> Iterator[str]:
    """The base URL of an EHR that accepts each connection and says nothing."""
    with _host(lambda connection, ended: ended.wait()) as port:
        yield f"http://127.0.0.1:{port}/fhir"


@contextmanager
def _dripping_host() -> Iterator[str]:
    """The URL of a key set that comes a byte at a time, for ever."""

    def drip(connection: socket.socket, ended: threading.Event) -> None:
        with suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nX-Drops: ")
            while not ended.wait(0.5):
                connection.sendall(b"x")

    with _host(drip) as port:
        yield f"http://127.0.0.1:{port}/jwks.json"


@contextmanager
def _host(serve: Callable[[socket.socket, threading.Event], object]) -> Iterator[int]:
    ended = threading.Event()

    def hold(connection: socket.socket) -> None:
        with connection:
            serve(connection, ended)

    def listen() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=hold, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=listen, daemon=True).start()
        try:
            yield listener.getsockname()[1]
        finally:
            ended.set()
            listener.shutdown(socket.SHUT_RDWR)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.fairness")
    parser.add_argument("--attacks", nargs="+", choices=list(ATTACKS), default=list(ATTACKS))
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"rounds of each ({ROUNDS})")
    parser.add_argument("--seconds", type=int, default=6, help="seconds a run (6)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep log and records there")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="covercard-bench-") as folder:
        work = args.keep or Path(folder) / "fairness"
        for line in fairness(work, args.seconds, args.rounds, args.attacks):
            print(line, flush=True)


if __name__ == "__main__":
    main()
