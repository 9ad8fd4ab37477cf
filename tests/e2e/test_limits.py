"""What a hostile client cannot do: fill, stall, flood or unfold the service."""

import gzip
import json
import socket
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from tests.e2e.conftest import Guarded
from tests.e2e.servers import Server, running, talk
from tests.e2e.signing import Signer, ec_signer, entry, write_clients
from tests.minutes import within_a_minute

PATH = "/cds-services/order-sign-crd"
JSON = {"Content-Type": "application/json"}


def head(length: int, *more: str) -> bytes:
    lines = [
        f"POST {PATH} HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/json",
        f"Content-Length: {length}",
        *more,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def still_answers(server: Server, order: bytes) -> None:
    assert server.get("/cds-services").status_code == 200
    assert server.post(PATH, data=order, headers=JSON).status_code == 200
    assert server.lines("unexpected error") == []


@pytest.mark.threat("huge-body")
def test_a_body_above_the_limit_is_a_413(server: Server, order: bytes) -> None:
    reply = server.post(PATH, data=b" " * 1_100_000, headers=JSON)
    assert reply.status_code == 413
    assert reply.json()["issue"][0]["code"] == "too-long"
    still_answers(server, order)


@pytest.mark.threat("huge-body")
def test_a_body_without_an_end_is_a_413_as_soon_as_it_is_too_long(
    server: Server, order: bytes
) -> None:
    chunks = (b" " * 65536 for _ in range(40))
    reply = server.post(PATH, data=chunks, headers=JSON)
    assert reply.status_code == 413
    still_answers(server, order)


@pytest.mark.threat("json-bomb")
@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"hook":"order-sign","context":{"a":['])
def test_json_nested_without_end_is_a_400(server: Server, order: bytes, opening: bytes) -> None:
    reply = server.post(PATH, data=opening * 20_000, headers=JSON)
    assert reply.status_code == 400
    nested = json.dumps({"context": json.loads("[" * 70 + "]" * 70)}).encode()
    assert server.post(PATH, data=nested, headers=JSON).status_code == 400
    still_answers(server, order)


@pytest.mark.threat("gzip-bomb")
@pytest.mark.parametrize(
    "encoding", ["gzip", "deflate", "br", "zstd", "gzip, gzip", "identity, gzip"]
)
def test_a_compressed_body_is_a_415_and_never_unfolded(
    server: Server, order: bytes, encoding: str
) -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    reply = server.post(PATH, data=bomb, headers={**JSON, "Content-Encoding": encoding})
    assert reply.status_code == 415
    assert reply.json()["issue"][0]["code"] == "not-supported"
    still_answers(server, order)


def test_a_body_that_says_it_is_not_encoded_is_read(server: Server, order: bytes) -> None:
    reply = server.post(PATH, data=order, headers={**JSON, "Content-Encoding": "identity"})
    assert reply.status_code == 200


@pytest.mark.threat("header-flood")
@pytest.mark.parametrize(
    "flood",
    [
        [f"X-{n}: 1" for n in range(2000)],
        ["X-Long: " + "x" * 100_000],
        ["Cookie: " + "a=b; " * 20_000],
    ],
    ids=["many", "one long", "cookies"],
)
def test_a_flood_of_headers_is_a_431(server: Server, order: bytes, flood: list[str]) -> None:
    reply = talk(server.port, head(2, *flood) + b"{}")
    assert reply.startswith(b"HTTP/1.1 431")
    still_answers(server, order)


@pytest.mark.threat("header-flood")
def test_headers_that_do_not_come_in_time_end_the_connection(
    start_server: Callable[..., Server], order: bytes
) -> None:
    impatient = start_server(header_timeout=1)
    assert talk(impatient.port, b"POST / HTTP/1.1\r\n", b"Host: 127", pause=0.1) == b""
    assert talk(impatient.port, b"") == b""
    still_answers(impatient, order)


@pytest.mark.threat("no-credential")
def test_a_stranger_cannot_hold_a_worker_with_a_slow_body(guarded: Guarded) -> None:
    """The token is looked at before the body is waited for."""
    with socket.create_connection(("127.0.0.1", guarded.server.port), timeout=60) as stranger:
        stranger.sendall(head(100_000) + b"{")
        assert stranger.recv(65536).startswith(b"HTTP/1.1 401")


@pytest.mark.threat("slow-body")
def test_bodies_under_way_hold_no_place_of_a_call(
    start_server: Callable[..., Server], order: bytes
) -> None:
    narrow = start_server(max_concurrent_calls=1, max_concurrent_calls_per_client=1)
    with socket.create_connection(("127.0.0.1", narrow.port), timeout=60) as slow:
        slow.sendall(head(len(order), "Expect: 100-continue"))
        # Only a worker that reads the body asks for it: no other call comes before it.
        assert slow.recv(65536).startswith(b"HTTP/1.1 100")
        slow.sendall(order[:10])
        # In open mode all are one client: its only body at a time is under way, and no call is.
        reply = until(429, lambda: narrow.post(PATH, data=order, headers=JSON))
        assert reply.headers["Retry-After"] == "1"
        assert reply.json()["resourceType"] == "OperationOutcome"
        assert narrow.get("/cds-services").status_code == 200
        assert finish(slow, order[10:]) == 200
    still_answers(narrow, order)


def finish(connection: socket.socket, rest: bytes) -> int:
    """Send the rest of a body; the status of the answer (which may have come before)."""
    with connection:
        with suppress(ConnectionError):
            connection.sendall(rest)
        return int(connection.recv(65536).split(b" ", 2)[1])


def until(status: int, call: Callable[[], requests.Response]) -> requests.Response:
    """The first answer with this status; a server needs a moment to see what came."""
    for _ in range(200):
        reply = call()
        if reply.status_code == status:
            return reply
        time.sleep(0.05)
    raise AssertionError(f"never a {status}, the last was {reply.status_code}")


def test_a_client_that_goes_away_in_the_middle_frees_its_place(
    start_server: Callable[..., Server], order: bytes
) -> None:
    narrow = start_server(max_concurrent_calls=1)
    for _ in range(5):
        connection = socket.create_connection(("127.0.0.1", narrow.port))
        connection.sendall(head(len(order)) + order[:10])
        connection.close()
    until(200, lambda: narrow.post(PATH, data=order, headers=JSON))


@pytest.mark.threat("slow-body")
def test_a_client_that_never_ends_its_request_cannot_keep_the_service_from_stopping(
    tmp_path: Path,
) -> None:
    with running(tmp_path) as stopping:
        connection = socket.create_connection(("127.0.0.1", stopping.port))
        connection.sendall(head(100) + b"{")
        stopping.process.terminate()
        assert stopping.process.wait(timeout=60) is not None
        connection.close()


@pytest.mark.threat("call-flood")
def test_calls_of_one_client_are_counted_for_all_workers_together(
    tmp_path: Path, order: bytes
) -> None:
    """Five a minute and four workers: five answers, not twenty; and others are not affected."""
    signers = [ec_signer(f"https://ehr-{n}.example.org") for n in range(3)]
    file = write_clients(tmp_path, *map(entry, signers))
    with running(tmp_path, clients_file=file, workers=4, calls_per_minute=5) as server:

        def calls(signer: Signer) -> list[requests.Response]:
            url = server.base + PATH
            return [
                server.post(PATH, data=order, headers={**JSON, **signer.call(url)})
                for _ in range(24)
            ]

        replies = within_a_minute(calls, signers)
    assert [r.status_code for r in replies] == [200] * 5 + [429] * 19
    assert 1 <= int(replies[-1].headers["Retry-After"]) <= 60
    assert replies[-1].json()["issue"][0]["code"] == "throttled"


@pytest.mark.threat("client-share", "replay")
def test_whoever_writes_to_the_sqlite_database_holds_up_neither_counts_nor_tokens(
    tmp_path: Path, order: bytes
) -> None:
    """Its rows are written behind the answers; what a call is admitted by lies beside it."""
    signers = [ec_signer(f"https://ehr-{n}.example.org") for n in range(4)]
    file = write_clients(tmp_path, *map(entry, signers))
    database = tmp_path / "log.sqlite3"
    settings = {"database_url": f"sqlite:///{database}", "workers": 2, "calls_per_minute": 5}
    with running(tmp_path, clients_file=file, **settings) as server:
        url = server.base + PATH

        def call(token: str) -> int:
            headers = {**JSON, "Authorization": f"Bearer {token}"}
            return server.post(PATH, data=order, headers=headers).status_code

        with sqlite3.connect(database, timeout=30, isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")
            token = signers[0].token(url)
            uses = [call(token) for _ in range(4)]
            statuses = within_a_minute(
                lambda signer: Counter(call(signer.token(url)) for _ in range(12)), signers[1:]
            )
            other.execute("ROLLBACK")
        assert uses == [200] + [401] * 3
        assert statuses == {200: 5, 429: 7}
        alone = "used tokens are known to this instance alone"
        assert (server.counts_alone(), server.lines(alone)) == (0, [])


SMUGGLED = [
    head(5, "Content-Length: 3") + b"abcde",
    head(5).replace(b"Content-Length: 5", b"Content-Length: -5"),
    head(5).replace(b"Content-Length: 5", b"Content-Length: +5"),
    b"POST "
    + PATH.encode()
    + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET /cds-services HTTP/1.1\r\nHost : 127.0.0.1\r\n\r\n",
    b"GET /cds-services\x00 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
]


@pytest.mark.threat("request-smuggling")
@pytest.mark.parametrize("raw", SMUGGLED)
def test_what_two_servers_would_read_differently_is_read_by_none(
    server: Server, order: bytes, raw: bytes
) -> None:
    reply = talk(server.port, raw + b"Connection: close\r\n\r\n")
    assert reply == b"" or b" 400 " in reply.splitlines()[0] or b" 415 " in reply.splitlines()[0]
    still_answers(server, order)


@pytest.mark.threat("request-smuggling")
@pytest.mark.parametrize(
    "path",
    [
        "/cds-services/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/cds-services/../../etc/passwd",
        "/cds-services/order-sign-crd%00",
        "/cds-services/order-sign-crd%0d%0aX-Injected:%20yes",
        "/cds-services/'; DROP TABLE used_tokens; --",
        "/cds-services/" + "x" * 8000,
        "/%ff%fe",
        "//evil.example.org/cds-services",
        "/cds-services//order-sign-crd",
        "/cds-services/order-sign-crd/",
        "/cds-services/./order-sign-crd",
    ],
)
def test_a_strange_path_is_no_service_and_no_redirect(
    server: Server, order: bytes, path: str
) -> None:
    request = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
    request += f"Content-Type: application/json\r\nContent-Length: {len(order)}\r\n\r\n"
    reply = talk(server.port, request.encode("latin-1") + order)
    status = int(reply.split(b" ", 2)[1])
    assert status in (400, 404, 405)
    assert b"X-Injected" not in reply.partition(b"\r\n\r\n")[0]
    assert b"location:" not in reply.lower()
    still_answers(server, order)
