"""A bounded load of order-sign calls, and what came back: each call can be told from all others."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.conftest import FIXTURES, fixture_text_today

_BODY = json.loads(fixture_text_today(FIXTURES / "order-sign" / "mrs-medicare-advantage.json"))
_BODY.pop("fhirServer", None)
_BODY.pop("fhirAuthorization", None)
_PATH = "/cds-services/order-sign-crd"
_PAUSE_SECONDS = 0.004


@dataclass
class Received:
    """What clients got: hookInstance → the SHA-256 of the answer that came with a 200."""

    answers: dict[str, str] = field(default_factory=dict)
    statuses: dict[int, int] = field(default_factory=dict)
    sent: int = 0
    lost: int = 0
    slowest: float = 0.0

    @property
    def answered(self) -> int:
        return len(self.answers)


class Load:
    """Clients that call one after the other until they are told to stop."""

    def __init__(self, base: str, clients: int) -> None:
        self.received = Received()
        self._address = urlsplit(base).netloc
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._client, daemon=True) for _ in range(clients)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> Received:
        """Let each client finish the call that it is making."""
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
        return self.received

    def answered_soon(self, more: int = 20, seconds: float = 60) -> None:
        """Wait until so many more answers have come: the service is at work."""
        goal = self.received.answered + more
        deadline = time.monotonic() + seconds
        while self.received.answered < goal:
            assert time.monotonic() < deadline, f"fewer than {more} answers in {seconds} s"
            time.sleep(0.01)

    def _client(self) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=50)
        while not self._stop.is_set():
            instance = str(uuid.uuid4())
            body = json.dumps({**_BODY, "hookInstance": instance}).encode()
            started = time.monotonic()
            try:
                connection.request("POST", _PATH, body, {"Content-Type": "application/json"})
                reply = connection.getresponse()
                answer = reply.read()
            except (OSError, http.client.HTTPException):
                connection.close()
                with self._lock:
                    self.received.sent += 1
                    self.received.lost += 1
                time.sleep(0.02)
                continue
            self._note(instance, reply.status, answer, time.monotonic() - started)
            time.sleep(_PAUSE_SECONDS)
        connection.close()

    def _note(self, instance: str, status: int, answer: bytes, seconds: float) -> None:
        received = self.received
        with self._lock:
            received.sent += 1
            received.statuses[status] = received.statuses.get(status, 0) + 1
            received.slowest = max(received.slowest, seconds)
            if status == 200:
                received.answers[instance] = hashlib.sha256(answer).hexdigest()


@contextlib.contextmanager
def load(base: str, clients: int = 6) -> Iterator[Load]:
    """Calls go on while the block runs."""
    running = Load(base, clients)
    running.start()
    try:
        yield running
    finally:
        running.stop()


def compare(received: Received, logged: Mapping[str, list[str]]) -> tuple[list[str], list[str]]:
    """The received answers that are missing in the log, and those that are there more than once.

    `logged` are the SHA-256 of the answers of each hookInstance. An answer counts as logged only if
    it is the very one that was received.
    """
    missing = [i for i, digest in received.answers.items() if digest not in logged.get(i, [])]
    doubled = [i for i in received.answers if len(logged.get(i, [])) > 1]
    return missing, doubled
