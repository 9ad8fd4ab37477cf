"""Anchors at a server elsewhere: taken, or told as not taken; nothing else waits for it."""

from __future__ import annotations

import json
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from service.database.engines import database_file
from service.decision_log import recorder as recorder_module
from service.decision_log.anchors import Anchors, read_anchors
from service.decision_log.chain_writer import ChainEnd
from service.decision_log.opening import open_recorder
from service.decision_log.recorder import Recorder, RecordsPlace
from service.errors import ConfigurationError
from service.settings import load_settings
from service.web.operations import State, records_check
from tests.unit.decision_log.builders import call

LONG = 60.0
END = ChainEnd(0x0123, 7, b"\x02" * 32, 1_790_000_000_000_000)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Place:
    """A server that anchors are posted to; `answer` says what a request gets."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.answer: Callable[[BaseHTTPRequestHandler], None] = taken
        self.release = threading.Event()
        place = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                place.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                place.headers.append(dict(self.headers))
                place.answer(self)

            def do_GET(self) -> None:
                place.bodies.append(b"a redirect was followed")
                self.send_error(404)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/chain"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()


def taken(handler: BaseHTTPRequestHandler) -> None:
    answering(204)(handler)


def answering(status: int, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": "0", **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()

    return answer


@pytest.fixture
def place() -> Iterator[Place]:
    running = Place()
    yield running
    running.close()


@pytest.fixture
def elsewhere() -> Iterator[Place]:
    running = Place()
    yield running
    running.close()


def told(url: str, deadline: float = LONG) -> str | None:
    return Anchors(url, in_log=False, deadline=deadline).tell(END)


def test_an_anchor_is_posted_as_one_line_of_json(place: Place) -> None:
    assert told(place.url) is None
    (body,) = place.bodies
    (anchor,) = read_anchors(body)
    assert (anchor.sequence, anchor.hash) == (7, "02" * 32)
    assert json.loads(body)["chain"] == anchor.chain
    assert place.headers[0]["Content-Type"] == "application/json"


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
def test_an_error_is_told(place: Place, status: int) -> None:
    place.answer = answering(status)
    assert told(place.url) == f"answered {status}"


@pytest.mark.threat("hostile-anchor")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_told_and_not_followed(place: Place, elsewhere: Place, status: int) -> None:
    place.answer = answering(status, Location=elsewhere.url)
    assert told(place.url) == f"answered {status}"
    assert len(place.bodies) == 1
    assert elsewhere.bodies == []


@pytest.mark.threat("hostile-anchor")
def test_a_place_that_hangs_or_trickles_costs_its_deadline(place: Place) -> None:
    def hang(handler: BaseHTTPRequestHandler) -> None:
        place.release.wait(LONG)

    def trickle(handler: BaseHTTPRequestHandler) -> None:
        """A byte of the headers at a time, within every timeout of a socket."""
        try:
            for byte in b"HTTP/1.1 204 No Content\r\nX-Slow: " + b"x" * 10_000:
                handler.wfile.write(bytes([byte]))
                handler.wfile.flush()
                if place.release.wait(0.02):
                    return
        except OSError:
            return

    for answer in (hang, trickle):
        place.answer = answer
        assert told(place.url, deadline=0.3) == "took too long"


def test_a_place_that_is_not_there_is_told(place: Place) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert told(f"http://127.0.0.1:{port}/") == "ConnectionError"


@pytest.mark.threat("hostile-anchor")
def test_a_body_without_end_is_not_read(place: Place) -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        answering(200, **{"Content-Length": str(10**12)})(handler)
        place.release.wait(LONG)

    place.answer = endless
    assert told(place.url) is None


@pytest.mark.threat("hostile-anchor")
def test_the_environment_sends_an_anchor_nowhere_else(
    place: Place, elsewhere: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a proxy of the environment, nor a password of netrc."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login x password y\n", "utf-8")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("http_proxy", elsewhere.url)
    assert told(place.url) is None
    assert "Authorization" not in place.headers[0]
    assert elsewhere.bodies == []


@pytest.mark.parametrize("folder", ["gone", "a file"])
def test_a_file_that_cannot_be_written_is_told(tmp_path: Path, folder: str) -> None:
    (tmp_path / "a file").write_text("", "utf-8")
    assert told(str(tmp_path / folder / "anchors")) in (
        "No such file or directory",
        "Not a directory",
    )


class TestTheService:
    """A recorder whose place of anchors is in trouble."""

    @pytest.fixture(autouse=True)
    def often(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(recorder_module, "_ANCHOR_SECONDS", 0.05)

    @pytest.fixture
    def recorder(self, url: str, tmp_path: Path, place: Place) -> Iterator[Recorder]:
        anchors = Anchors(place.url, deadline=LONG)
        recorder = open_recorder(url, RecordsPlace(tmp_path / "records", anchors=anchors))
        yield recorder
        recorder.stop()

    def test_says_so_goes_on_and_tells_the_same_end_again(
        self, recorder: Recorder, place: Place
    ) -> None:
        place.answer = answering(500)
        recorder.record(call())
        # Until now the head of the segment alone may have been told, being the end then.
        before = len(place.bodies)
        until(lambda: len(place.bodies) > before + 3)
        until(lambda: recorder.health().not_anchored)
        found = records_check(recorder.health).look()
        assert (found.state, found.facts["not_anchored"]) == (State.DEGRADED, "answered 500")
        assert any("COVERCARD_RECORDS_ANCHOR" in warning for warning in found.warnings)
        place.answer = taken
        until(lambda: recorder.health().not_anchored is None)
        (first, *_, last) = [read_anchors(body)[0] for body in place.bodies[before + 1 :]]
        assert (first.sequence, first.hash) == (last.sequence, last.hash)
        assert records_check(recorder.health).look().state is State.READY
        known = len(place.bodies)
        time.sleep(0.3)
        assert len(place.bodies) == known, "an end that was taken is not told again"

    @pytest.mark.threat("hostile-anchor")
    def test_drains_while_the_place_hangs(self, recorder: Recorder, place: Place, url: str) -> None:
        place.answer = lambda _: bool(place.release.wait(LONG)) or None
        recorder.record(call(patient="Patient/one"))
        until(lambda: place.bodies)
        for n in range(5):
            recorder.record(call(patient=f"Patient/{n}"))
            assert recorder.settle(LONG)
        with sqlite3.connect(database_file(url)) as log:
            assert log.execute("SELECT count(*) FROM call").fetchone() == (6,)
        place.release.set()

    def test_tells_the_chain_of_a_process_that_does_not_drain(
        self, recorder: Recorder, url: str, tmp_path: Path, place: Place
    ) -> None:
        """Each worker has a chain of its own, and one of them drains for all."""
        recorder.record(call())
        until(lambda: place.bodies)
        beside = open_recorder(
            url, RecordsPlace(tmp_path / "records", anchors=Anchors(place.url, in_log=False))
        )
        try:
            beside.record(call())
            until(lambda: len({read_anchors(body)[0].chain for body in place.bodies}) == 2)
        finally:
            beside.stop()


@pytest.mark.parametrize(
    "written", ["http://anchors.example.org/chain", "https:///chain", "http:chain"]
)
def test_an_anchor_never_goes_over_an_open_line(written: str) -> None:
    with pytest.raises(ConfigurationError, match="https://"):
        load_settings(records_anchor=written)
    assert load_settings(records_anchor="http://127.0.0.1:8000/chain").records_anchor
    assert load_settings(records_anchor="https://anchors.example.org/chain").records_anchor
    assert load_settings(records_anchor="var/anchors.jsonl").records_anchor
