"""Fairness: 200 clients, one of them noisy; what the others get beside each of its attacks.

For each attack the others call for a while undisturbed, then beside it, at the same pace: the
share of their calls that is answered, and the ratio of their 99th percentiles. The attack comes
from a process of its own.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
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
from tests.bench.servers import ROOT, SERVICE_PATH, free_port
from tests.e2e.signing import Signer, ec_signer

CLIENTS = 200
PACE = 30
"""Calls a second of the others together."""
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

    name: str
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


def fairness(work: Path, seconds: int) -> Iterator[str]:
    """The lines of this measurement."""
    work.mkdir()
    signers = [ec_signer(f"https://ehr-{n}.example.org") for n in range(CLIENTS)]
    # Another noisy one for each attack: the minute of the one before is spent.
    noisy, others = signers[:5], signers[5:]
    with ExitStack() as stack:
        silent = stack.enter_context(_silent_host())
        dripping = stack.enter_context(_dripping_host())
        hung = ec_signer("https://hung.example.org")
        port = free_port()
        _write_clients(work, signers, noisy, silent, hung, dripping)
        stack.enter_context(_serving(work, port))
        url = f"http://127.0.0.1:{port}{SERVICE_PATH}"
        call = _Calls(port, url, others)
        call.run(2)  # warm
        worst_share, worst_ratio = 1.0, 0.0
        for attack in _attacks(url, noisy, silent, hung):
            before = call.run(seconds)
            with _attacking(port, attack) as told:
                time.sleep(1)
                beside = call.run(seconds)
            ratio = beside.p99 / before.p99
            worst_share, worst_ratio = min(worst_share, beside.share), max(worst_ratio, ratio)
            yield (
                f"FAIRNESS {attack.name}: {100 * beside.share:.1f} % of {beside.made} calls"
                f" answered, p50 {before.p50:.1f} to {beside.p50:.1f} ms, "
                f"p99 {before.p99:.1f} to {beside.p99:.1f} ms, ratio {ratio:.2f}; the noisy client "
                f"got {told()}"
            )
        yield f"FAIRNESS share of answers {worst_share:.3f}"
        verdict = _verdict(worst_share >= LEAST_SHARE)
        yield f"TARGET share of answers at least {LEAST_SHARE}: {verdict}"
        yield f"FAIRNESS p99 ratio {worst_ratio:.2f}"
        yield f"TARGET p99 ratio at most {MOST_RATIO}: {_verdict(worst_ratio <= MOST_RATIO)}"


def _verdict(reached: bool) -> str:
    return "reached" if reached else "NOT REACHED"


def _attacks(url: str, noisy: Sequence[Signer], silent: str, hung: Signer) -> Iterator[Attack]:
    clients = iter(noisy)

    def some() -> Sequence[str]:
        client = next(clients)
        return [client.token(url) for _ in range(TOKENS_OF_ATTACK)]

    bare = fixture_call()
    bare["prefetch"], bare["fhirServer"] = {}, silent
    bare["fhirAuthorization"] = {"access_token": "synthetic", "token_type": "Bearer"}
    yield Attack("a silent EHR", json.dumps(bare).encode(), some())
    huge = json.dumps(hostile._questionnaires(100, 880, 10)).encode()
    yield Attack("huge bodies", huge, some())
    filled = fixture_call()
    filled["prefetch"]["filler"] = secrets.token_urlsafe(600_000)
    yield Attack("what does not compress", json.dumps(filled).encode(), some())
    (usual,) = order_sign_bodies(1)
    yield Attack("a flood", usual, some())
    forger = ec_signer(next(clients).issuer)
    yield Attack("bad tokens", usual, [forger.token(url) for _ in range(100)])
    yield Attack("a key host that drips", usual, [hung.token(url) for _ in range(50)])


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
def _attacking(port: int, attack: Attack) -> Iterator[Callable[[], str]]:
    """A block beside the attack; afterwards what the attackers got, by status."""
    context = multiprocessing.get_context("spawn")
    ended, got = context.Event(), context.SimpleQueue()
    attacker = context.Process(target=_attack, args=(port, attack, ended, got), daemon=True)
    attacker.start()
    statuses: dict[int, int] = {}

    def told() -> str:
        return ", ".join(f"{n} × {status}" for status, n in sorted(statuses.items())) or "nothing"

    try:
        yield told
    finally:
        ended.set()
        statuses.update(got.get())
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
    noisy: Sequence[Signer],
    silent: str,
    hung: Signer,
    keys: str,
) -> None:
    entries: list[Json] = [
        {"issuer": s.issuer, "jwks": {"keys": [s.public()]}, "fhir_servers": []} for s in signers
    ]
    entries[signers.index(noisy[0])]["fhir_servers"] = [silent]
    entries.append({"issuer": hung.issuer, "jwks_url": keys})
    (work / "clients.yaml").write_text(json.dumps({"clients": entries}), "utf-8")


@contextmanager
def _serving(work: Path, port: int) -> Iterator[None]:
    """Covercard as an operator starts it, with two workers and these clients."""
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
        yield
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
