"""EHRs for tests, over real HTTP on loopback: one that behaves, and ways not to."""

from __future__ import annotations

import gzip
import json
import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from service.cli.ehr_stub.fhir_server import DEMO_TOKEN
from service.cli.ehr_stub.resource_store import ResourceStore

FIXTURES = Path(__file__).parents[3] / "fhir_fixtures"
Behavior = Callable[["Handler"], None]


class Ehr:
    """Serves the fixtures; `misbehave` says what it does instead, by the type asked for.

    `requests` are the (path, headers) that came; `hanging` the handlers that have not answered and
    will not before `release`; `hung_up` whether a caller closed the connection under a drip.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.store = ResourceStore(FIXTURES / "resources")
        self.misbehave: dict[str, Behavior] = {}
        self.requests: list[tuple[str, Mapping[str, str]]] = []
        self.release = threading.Event()
        self.hanging = threading.Semaphore(0)
        self.hung_up = threading.Event()
        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.ehr = self
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        self.base = f"http://127.0.0.1:{self.port}/fhir"
        serving = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        serving.start()

    def close(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.requests]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    ehr: Ehr

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is what these tests are about."""


class Handler(BaseHTTPRequestHandler):
    """One connection to an EHR of ours."""

    protocol_version = "HTTP/1.1"
    server: _Server

    @property
    def ehr(self) -> Ehr:
        return self.server.ehr

    def do_GET(self) -> None:
        self.ehr.requests.append((self.path, dict(self.headers)))
        kind = (urlsplit(self.path).path.removeprefix("/fhir/").split("/") or [""])[0]
        self.ehr.misbehave.get(kind, serve)(self)

    def send(self, body: bytes, status: int = 200, **headers: str) -> None:
        headers = {"Content-Type": "application/fhir+json", **headers}
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def send_json(self, value: object, status: int = 200) -> None:
        self.send(json.dumps(value).encode(), status)

    def log_message(self, format: str, *args: object) -> None:
        """Tests print enough."""


def found(handler: Handler) -> Any:
    """What an EHR with the fixtures answers, as data; None for what it does not have."""
    url = urlsplit(handler.path)
    kind, _, id = url.path.removeprefix("/fhir/").partition("/")
    if id:
        return handler.ehr.store.read(kind, id)
    matches, included = handler.ehr.store.search(kind, parse_qsl(url.query))
    entries = [{"resource": r} for r in (*matches, *included)]
    return {"resourceType": "Bundle", "type": "searchset", "entry": entries}


def serve(handler: Handler) -> None:
    """The good answer, if the token is right."""
    if handler.headers.get("Authorization") != f"Bearer {DEMO_TOKEN}":
        handler.send_json({"resourceType": "OperationOutcome"}, 401)
        return
    answer = found(handler)
    handler.send_json(answer or {"resourceType": "OperationOutcome"}, 200 if answer else 404)


def status(code: int) -> Behavior:
    return lambda h: h.send_json({"resourceType": "OperationOutcome"}, code)


def nonsense_status(handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 999 What\r\nContent-Length: 0\r\n\r\n")


def body(text: str | bytes, **headers: str) -> Behavior:
    data = text if isinstance(text, bytes) else text.encode()
    return lambda h: h.send(data, **headers)


def redirect(to: str) -> Behavior:
    return lambda h: h.send(b"", 302, Location=to)


def hang(handler: Handler) -> None:
    """Say nothing until the test is over."""
    handler.ehr.hanging.release()
    handler.ehr.release.wait()


def drip_head(handler: Handler) -> None:
    """Send a head that never ends, drop by drop, until the test is over."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Drop: ")
    _drip(handler)


def drip_body(handler: Handler) -> None:
    """Send a body that never ends, drop by drop, until the test is over."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/fhir+json")
    handler.send_header("Content-Length", "1000000")
    handler.end_headers()
    _drip(handler)


def _drip(handler: Handler) -> None:
    handler.ehr.hanging.release()
    try:
        while not handler.ehr.release.wait(0.02):
            handler.wfile.write(b" ")
    except OSError:
        handler.ehr.hung_up.set()


def cut_short(handler: Handler) -> None:
    """Promise more bytes than come, then hang up."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/fhir+json")
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"resourceType": "Bun')
    handler.close_connection = True


def hang_up(handler: Handler) -> None:
    """Close without a word."""
    handler.close_connection = True


def huge(handler: Handler) -> None:
    """A hundred megabytes, in chunks, as long as somebody reads them."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/fhir+json")
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    chunk = b" " * 65_536
    with suppress(OSError):
        for _ in range(1600):
            handler.wfile.write(b"10000\r\n" + chunk + b"\r\n")
        handler.wfile.write(b"0\r\n\r\n")


def zip_bomb(handler: Handler) -> None:
    """A hundred megabytes in a hundred kilobytes, which nobody asked to have compressed."""
    handler.send(gzip.compress(b" " * 1_000_000, 9) * 100, Content_Encoding="gzip")


def changed(change: Callable[[Any], Any]) -> Behavior:
    """The good answer, changed."""
    return lambda h: h.send_json(change(found(h)))


def each_coverage(change: Callable[[dict[str, Any]], Any]) -> Behavior:
    """The good answer to a search for coverage, each Coverage in it changed in place."""

    def edit(bundle: Any) -> Any:
        # Fresh data: the store's own must stay as they are.
        bundle = json.loads(json.dumps(bundle))
        for entry in bundle.get("entry", []):
            if entry["resource"]["resourceType"] == "Coverage":
                change(entry["resource"])
        return bundle

    return changed(edit)


def next_page(to: Callable[[Handler], str]) -> Behavior:
    """The good answer, with a link to a next page."""
    return lambda h: h.send_json(found(h) | {"link": [{"relation": "next", "url": to(h)}]})
