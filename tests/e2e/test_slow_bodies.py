"""Bodies that never come: they end by themselves, and stop nobody else meanwhile."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import CLINIC, HOSPITAL
from tests.e2e.decision_log.instances import until
from tests.e2e.readers import SIGN_IN, ReaderBrowser, readers_file
from tests.e2e.servers import Server, running
from tests.e2e.signing import Signer, ec_signer, entry, write_clients

ORDER_SIGN = "/cds-services/order-sign-crd"
PACKAGE = "/fhir/Questionnaire/$questionnaire-package"
FEEDBACK = "/cds-services/order-sign-crd/feedback"
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
SECONDS, SECONDS_BY_DEFAULT = 2, 10
"""The limit of the servers here, and that of those that are not told another."""


def begun(path: str, *headers: str, kind: str = JSON, body: bytes = b"{") -> bytes:
    """A request of which the body has only begun."""
    head = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Type: {kind}", *headers]
    if not any(line.startswith("Transfer-Encoding") for line in headers):
        head.append("Content-Length: 1000")
    return "\r\n".join([*head, "", ""]).encode() + body


def token(signer: Signer, server: Server, path: str) -> str:
    return f"Authorization: {signer.call(server.base + path)['Authorization']}"


@contextmanager
def held(server: Server, *requests: bytes) -> Iterator[list[socket.socket]]:
    """Connections that have sent this much and no more."""
    with ExitStack() as stack:
        connections = []
        for sent in requests:
            connection = socket.create_connection(("127.0.0.1", server.port), timeout=30)
            stack.enter_context(connection)
            connection.sendall(sent)
            connections.append(connection)
        yield connections


def ended(connection: socket.socket) -> bytes:
    """What a connection still gets until it is closed by the other side."""
    received = b""
    while True:
        try:
            chunk = connection.recv(65536)
        except ConnectionError:
            chunk = b""
        if not chunk:
            return received
        received += chunk


@pytest.fixture(scope="module")
def open_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("open")
    readers = readers_file(folder)
    with running(folder, body_timeout=SECONDS, readers_file=readers) as server:
        yield server


@pytest.mark.threat("slow-body")
@pytest.mark.parametrize(
    "sent",
    [
        begun(ORDER_SIGN),
        begun(ORDER_SIGN, "Transfer-Encoding: chunked", body=b"1\r\n{\r\n"),
        begun(FEEDBACK),
        begun(PACKAGE),
        begun("/workbench/explain"),
        begun("/workbench/explain", "Transfer-Encoding: chunked", body=b"1\r\n{\r\n"),
        begun(SIGN_IN, kind=FORM, body=b"name="),
    ],
    ids=["hook", "hook, chunked", "feedback", "package", "explain", "explain, chunked", "sign-in"],
)
def test_a_body_that_does_not_come_ends_in_time_at_each_endpoint(
    open_service: Server, sent: bytes
) -> None:
    began = time.monotonic()
    with held(open_service, sent) as (slow,):
        received = ended(slow)
    assert received.startswith(b"HTTP/1.1 408 ")
    assert b"the body did not come in time" in received
    assert SECONDS - 0.5 < time.monotonic() - began < SECONDS_BY_DEFAULT


@pytest.mark.threat("slow-body")
def test_the_form_of_a_reader_ends_in_time(open_service: Server) -> None:
    reader = ReaderBrowser(open_service)
    reader.sign_in()
    (cookie,) = reader.cookies
    sent = begun("/decisions", f"Cookie: {cookie.name}={cookie.value}", kind=FORM, body=b"patient=")
    began = time.monotonic()
    with held(open_service, sent) as (slow,):
        received = ended(slow)
    assert received.startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - began < SECONDS_BY_DEFAULT


@pytest.mark.threat("slow-body")
def test_a_body_that_drips_ends_in_time_too(open_service: Server) -> None:
    """The limit is for the whole body: each byte keeps within any limit between two bytes."""
    with held(open_service, begun(ORDER_SIGN)) as (slow,):
        since = time.monotonic()
        with pytest.raises(ConnectionError):
            while time.monotonic() - since < SECONDS + 20:
                slow.sendall(b" ")
                time.sleep(0.1)
        assert time.monotonic() - since < SECONDS_BY_DEFAULT


def test_a_body_that_comes_in_two_parts_within_the_time_is_answered(
    server: Server, order: bytes
) -> None:
    head = begun(ORDER_SIGN, body=b"").replace(b"1000", str(len(order)).encode())
    with held(server, head + order[:100]) as (patient,):
        time.sleep(1)
        patient.sendall(order[100:])
        assert patient.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_a_late_body_is_a_line_of_the_log(open_service: Server) -> None:
    def told() -> list[dict[str, Any]]:
        lines = open_service.lines("call")
        return [line for line in lines if line.get("refused") == "BodyTooSlow"]

    before = len(told())
    with held(open_service, begun(ORDER_SIGN)) as (slow,):
        ended(slow)
    until(lambda: told()[before:], "it is told")
    line = told()[-1]
    assert line["status"] == 408
    assert (line["service"], line["hook"]) == ("order-sign-crd", "order-sign")
    assert open_service.lines("a slow body cannot be ended; its thread waits for the client") == []


@pytest.mark.threat("slow-body")
def test_thirty_two_bodies_of_one_client_that_never_come_stop_no_other(
    tmp_path: Path, order: bytes
) -> None:
    """Neither a place nor a thread that others need, at a worker with as many places."""
    clinic, hospital = ec_signer(CLINIC), ec_signer(HOSPITAL)
    file = write_clients(tmp_path, entry(clinic), entry(hospital))
    with running(tmp_path, clients_file=file, body_timeout=30) as server:
        slow = [begun(ORDER_SIGN, token(clinic, server, ORDER_SIGN)) for _ in range(32)]
        with held(server, *slow) as connections:
            _until_read(server)
            statuses = []
            for _ in range(20):
                headers = {"Content-Type": JSON, **hospital.call(server.base + ORDER_SIGN)}
                reply = server.post(ORDER_SIGN, data=order, headers=headers)
                statuses.append(reply.status_code)
            # Only the share of the one is full: half of the places that all have.
            refused = [c for c in connections if _answered(c).startswith(b"HTTP/1.1 429 ")]
        assert statuses == [200] * 20
        assert len(refused) == 16


def _until_read(server: Server) -> None:
    """Until the server has come to the last of the slow bodies: it refuses those above a share."""
    until(
        lambda: sum(line["status"] == 429 for line in server.lines("call")) == 16,
        "the share of bodies of one client has an end",
    )


def _answered(connection: socket.socket) -> bytes:
    connection.settimeout(0.05)
    try:
        return connection.recv(65536)
    except TimeoutError:
        return b""


@pytest.mark.threat("slow-body")
def test_places_of_bodies_that_never_came_are_free_again(tmp_path: Path, order: bytes) -> None:
    clinic = ec_signer(CLINIC)
    file = write_clients(tmp_path, entry(clinic))
    with running(tmp_path, clients_file=file, body_timeout=1, max_concurrent_calls=4) as server:
        for _ in range(3):
            slow = [begun(ORDER_SIGN, token(clinic, server, ORDER_SIGN)) for _ in range(4)]
            with held(server, *slow) as connections:
                for connection in connections:
                    ended(connection)

        def is_answered() -> bool:
            """A place is free a moment after its answer has come."""
            headers = {"Content-Type": JSON, **clinic.call(server.base + ORDER_SIGN)}
            return server.post(ORDER_SIGN, data=order, headers=headers).status_code == 200

        until(is_answered, "the places are free")
