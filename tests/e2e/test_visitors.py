"""Visitors: pages, workbench and sign-in have limits of their own, by address."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import requests

from tests.e2e.conftest import HOSPITAL
from tests.e2e.decision_log.instances import until
from tests.e2e.readers import READER, SECRET, SIGN_IN, ReaderBrowser, readers_file
from tests.e2e.servers import Server, running
from tests.e2e.signing import ec_signer, entry, write_clients
from tests.minutes import within_a_minute

ORDER_SIGN = "/cds-services/order-sign-crd"
JSON = {"Content-Type": "application/json"}
ATTACKER, READERS = "198.51.100.7", "203.0.113.5"
OTHERS = ("198.51.100.8", "198.51.100.9", "198.51.100.10", "198.51.100.11")
EXPLAIN = "/workbench/explain"
TOKEN = "/oauth/token"


@pytest.fixture(scope="module")
def inside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service behind one proxy, with a decisions page; bodies may take long."""
    folder = tmp_path_factory.mktemp("inside")
    readers = readers_file(folder)
    with running(folder, readers_file=readers, proxies=1, body_timeout=60) as server:
        yield server


def of(address: str) -> dict[str, str]:
    return {"X-Forwarded-For": address}


@contextmanager
def begun(server: Server, path: str, addresses: Sequence[str], kind: str) -> Iterator[None]:
    """Forms and bodies that have begun and do not go on, one from each of these addresses: each is
    waited for by the server, or refused.
    """
    with ExitStack() as stack:
        connections = []
        for address in addresses:
            connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
            stack.enter_context(connection)
            head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Forwarded-For: {address}\r\n"
            head += f"Content-Type: {kind}\r\nContent-Length: 60\r\nExpect: 100-continue\r\n\r\n"
            connection.sendall(head.encode())
            connections.append(connection)
        for connection in connections:
            if connection.recv(65536).startswith(b"HTTP/1.1 100 "):
                connection.sendall(b"{")
        yield
    for address in set(addresses):
        until(
            lambda it=address: server.get("/", headers=of(it)).status_code == 200,
            "their places are free",
        )


def sign_in(server: Server, address: str, name: str = READER, secret: str = SECRET) -> int:
    form = {"name": name, "secret": secret}
    reply = server.post(SIGN_IN, data=form, headers=of(address), allow_redirects=False)
    return reply.status_code


@pytest.mark.threat("endless-form")
@pytest.mark.threat("visitor-flood")
def test_slow_forms_of_a_stranger_keep_no_reader_from_signing_in_or_reading(
    inside: Server,
) -> None:
    with begun(inside, SIGN_IN, [ATTACKER] * 32, "application/x-www-form-urlencoded"):
        reader = ReaderBrowser(inside)
        reader.headers.update(of(READERS))
        assert reader.sign_in().url == f"{inside.base}/decisions"
        assert reader.submit(patient="ann", order="").status_code == 200
        assert inside.get("/policies", headers=of(READERS)).status_code == 200


@pytest.mark.threat("visitor-flood")
def test_slow_bodies_for_the_workbench_stop_no_call_and_no_other_visitor(
    inside: Server, order: bytes
) -> None:
    with begun(inside, EXPLAIN, [ATTACKER] * 32, "application/json"):
        assert inside.post(ORDER_SIGN, data=order, headers=JSON).status_code == 200
        assert inside.get("/", headers=of(READERS)).status_code == 200
        assert inside.get("/", headers=of(ATTACKER)).status_code == 429


@pytest.mark.threat("visitor-flood")
def test_slow_token_requests_of_a_stranger_stop_no_call_and_no_client(
    tmp_path: Path, order: bytes
) -> None:
    hospital = ec_signer(HOSPITAL)
    file = write_clients(tmp_path, entry(hospital) | {"client_id": "hospital"})
    settings = {"clients_file": file, "proxies": 1, "body_timeout": 60}
    with (
        running(tmp_path, **settings) as server,
        begun(server, TOKEN, [ATTACKER] * 40, "application/x-www-form-urlencoded"),
    ):
        for _ in range(10):
            headers = {**JSON, **hospital.call(server.base + ORDER_SIGN), **of(READERS)}
            assert server.post(ORDER_SIGN, data=order, headers=headers).status_code == 200
        asked = server.post(TOKEN, data={"grant_type": "x"}, headers=of(READERS))
        assert (asked.status_code, asked.json()["error"]) == (400, "unsupported_grant_type")


@pytest.mark.threat("guessing")
def test_guesses_from_one_address_lock_out_that_address_alone(inside: Server) -> None:
    def guess(address: str) -> tuple[set[int], int]:
        guesses = {sign_in(inside, address, secret=f"{n}" * 40) for n in range(25)}
        return guesses, sign_in(inside, address)

    assert within_a_minute(guess, OTHERS[1:]) == ({403, 429}, 429)
    assert sign_in(inside, OTHERS[0]) == 303


@pytest.mark.threat("guessing")
def test_guesses_for_one_name_from_many_addresses_lock_out_that_name_alone(
    tmp_path: Path,
) -> None:
    file = tmp_path / "readers.yaml"
    other = "vB7-w2kQyTz9_r4Nc6HdMj3PsAeGx5Lf"
    names = [f"{READER} {n}" for n in range(3)]
    listed = ("policy staff", other), *((name, SECRET[:-1] + name[-1]) for name in names)
    lines = [f"  - {{name: {name}, secret: {secret}}}" for name, secret in listed]
    file.write_text("\n".join(["readers:", *lines]))
    file.chmod(0o600)
    with running(tmp_path, readers_file=file, proxies=1) as server:

        def guess(name: str) -> tuple[list[int], int]:
            guesses = [
                sign_in(server, f"198.51.{names.index(name)}.{n}", name, f"{n}" * 40)
                for n in range(1, 11)
                for _ in range(7)
            ]
            return guesses, sign_in(server, READERS, name, SECRET[:-1] + name[-1])

        assert within_a_minute(guess, names) == ([403] * 60 + [429] * 10, 429)
        assert sign_in(server, READERS, "policy staff", other) == 303


@pytest.mark.threat("cross-site-form")
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 303),
        ({"Origin": "https://evil.example.org"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
        ({"Origin": "http://[broken"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example.org"}, 303),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
def test_without_sec_fetch_site_the_sign_in_asks_for_its_own_origin(
    inside: Server, headers: dict[str, str], status: int
) -> None:
    form = {"name": READER, "secret": SECRET}
    every = {**headers, **of("203.0.113.77")}
    reply = inside.post(SIGN_IN, data=form, headers=every, allow_redirects=False)
    assert reply.status_code == status
    assert ("Set-Cookie" in reply.headers) == (status == 303)


def test_a_browser_without_sec_fetch_site_signs_in_from_the_services_own_page(
    inside: Server,
) -> None:
    form = {"name": READER, "secret": SECRET}
    for origin in (inside.base, inside.base.upper()):
        every = {"Origin": origin, **of("203.0.113.78")}
        reply = inside.post(SIGN_IN, data=form, headers=every, allow_redirects=False)
        assert reply.status_code == 303


@pytest.mark.threat("cross-site-form")
def test_another_site_cannot_use_up_an_addresss_attempts(inside: Server) -> None:
    form = {"name": READER, "secret": "x" * 40}
    for _ in range(30):
        every = {"Sec-Fetch-Site": "cross-site", **of("203.0.113.79")}
        assert inside.post(SIGN_IN, data=form, headers=every).status_code == 403
    assert sign_in(inside, "203.0.113.79") == 303


@pytest.mark.threat("visitor-flood")
def test_a_flood_of_page_requests_is_refused_with_a_page_for_its_address_alone(
    tmp_path: Path, order: bytes
) -> None:
    with running(tmp_path, proxies=1) as server, requests.Session() as visitor:
        visitor.headers["Accept"] = "text/html"

        def flood(address: str) -> requests.Response:
            for _ in range(1500):
                reply = visitor.get(f"{server.base}/policies", timeout=30, headers=of(address))
                if reply.status_code == 429:
                    break
            return reply

        reply = within_a_minute(flood, (ATTACKER, *OTHERS))
        assert reply.status_code == 429
        assert "Please try again in" in reply.text
        assert 1 <= int(reply.headers["Retry-After"]) <= 60
        assert server.get("/policies", headers=of(READERS)).status_code == 200
        assert server.post(ORDER_SIGN, data=order, headers=JSON).status_code == 200
