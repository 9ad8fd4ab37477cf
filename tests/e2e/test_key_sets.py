"""Where keys come from: the URL that the operator pinned, asked seldom, and nowhere else."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from service.auth.fetch_key_set import fetch_key_set
from service.auth.key_sets import KeySetUnreachable
from tests.e2e.listeners import Listener, listening
from tests.e2e.servers import Server, running
from tests.e2e.signing import Signer, ec_signer, entry, write_clients

ISSUER = "https://ehr.hospital.example.org"


@dataclass
class World:
    """A service, a client whose key set has a URL, and a listener where nobody has business."""

    server: Server
    keys: Listener
    trap: Listener
    client: Signer
    order: bytes

    def post(self, token: str) -> requests.Response:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        return requests.post(self.url, data=self.order, headers=headers, timeout=60)

    @property
    def url(self) -> str:
        return f"{self.server.base}/cds-services/order-sign-crd"

    @property
    def jku(self) -> str:
        return f"{self.keys.url}/jwks.json"


def key_set(*signers: Signer) -> bytes:
    return json.dumps({"keys": [s.public() for s in signers]}).encode()


@pytest.fixture
def world(tmp_path: Path, order: bytes) -> Iterator[World]:
    client = ec_signer(ISSUER)
    with listening() as keys, listening() as trap:
        keys.serves("/jwks.json", key_set(client))
        proxy = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "ALL_PROXY"), trap.url)
        file = write_clients(tmp_path, {"issuer": ISSUER, "jwks_url": f"{keys.url}/jwks.json"})
        with running(tmp_path, proxy, clients_file=file) as server:
            yield World(server, keys, trap, client, order)


def claim(world: World, reply: requests.Response) -> str:
    """The failed claim of a 401, as the log has it."""
    assert reply.status_code == 401, reply.text
    return str(world.server.line_of(reply)["claim"])


@pytest.mark.threat("hostile-key-set")
@pytest.mark.requirement("cds-hooks-2.0:195")
def test_a_key_set_is_fetched_once_from_its_pinned_url_and_through_no_proxy(world: World) -> None:
    for _ in range(3):
        token = world.client.token(world.url, header={"jku": world.jku})
        assert world.post(token).status_code == 200
    assert world.keys.asked == ["/jwks.json"]
    assert world.trap.asked == []


@pytest.mark.threat("key-set-storm")
def test_tokens_with_unknown_keys_make_no_storm_on_the_key_sets_url(world: World) -> None:
    assert world.post(world.client.token(world.url)).status_code == 200
    for number in range(10):
        stranger = ec_signer(ISSUER, kid=f"unknown-{number}")
        assert claim(world, world.post(stranger.token(world.url))) == "kid"
    assert world.keys.asked == ["/jwks.json"]


@pytest.mark.threat("key-set-in-token")
@pytest.mark.requirement("cds-hooks-2.0:195")
def test_a_key_set_url_that_a_token_brings_along_is_never_asked(world: World) -> None:
    stranger = ec_signer(ISSUER, kid="own")
    for path in ("/jwks.json", "/latest/meta-data/", "/"):
        world.trap.serves(path, key_set(stranger))
        token = stranger.token(world.url, header={"jku": world.trap.url + path})
        assert claim(world, world.post(token)) == "jku"
    assert world.trap.asked == []


def test_the_keys_at_hand_stay_in_use_while_their_url_is_down(world: World) -> None:
    assert world.post(world.client.token(world.url)).status_code == 200
    world.keys.answers.clear()
    assert claim(world, world.post(ec_signer(ISSUER, kid="new").token(world.url))) == "kid"
    assert world.post(world.client.token(world.url)).status_code == 200


def test_where_keys_were_never_had_the_call_is_to_come_again_later(world: World) -> None:
    world.keys.answers.clear()
    reply = world.post(world.client.token(world.url))
    assert reply.status_code == 503
    assert int(reply.headers["Retry-After"]) > 0
    assert reply.json()["resourceType"] == "OperationOutcome"


@pytest.mark.threat("hostile-key-set")
def test_a_key_set_larger_than_a_quarter_megabyte_is_not_read(world: World) -> None:
    world.keys.serves("/jwks.json", key_set(world.client)[:-1] + b" " * 300_000 + b"}")
    assert world.post(world.client.token(world.url)).status_code == 503


@pytest.mark.threat("hostile-key-set")
def test_a_redirect_of_a_key_set_is_not_followed(world: World) -> None:
    world.trap.serves("/jwks.json", key_set(world.client))
    world.keys.serves("/jwks.json", b"", 302, Location=f"{world.trap.url}/jwks.json")
    assert world.post(world.client.token(world.url)).status_code == 503
    assert world.trap.asked == []


@pytest.mark.threat("key-set-in-token")
@pytest.mark.requirement("cds-hooks-2.0:199")
def test_keys_agreed_out_of_band_need_no_jku_and_a_jku_changes_nothing(
    tmp_path: Path, order: bytes
) -> None:
    client = ec_signer(ISSUER)
    file = write_clients(tmp_path, entry(client))
    with listening() as trap, running(tmp_path, clients_file=file) as server:
        world = World(server, trap, trap, client, order)
        assert world.post(client.token(world.url)).status_code == 200
        named = client.token(world.url, header={"jku": f"{trap.url}/jwks.json"})
        assert world.post(named).status_code == 200
        stranger = ec_signer(ISSUER)
        forged = stranger.token(world.url, header={"jku": f"{trap.url}/jwks.json"})
        assert claim(world, world.post(forged)) == "signature"
        assert trap.asked == []


@contextlib.contextmanager
def dripping(first: bytes, drop: bytes) -> Iterator[str]:
    """A host that says `first` and then a drop each twentieth of a second, for ever."""
    ended = threading.Event()

    def drip(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.sendall(first)
            while not ended.wait(0.05):
                connection.sendall(drop)

    def listen() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=drip, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=listen, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/jwks.json"
        finally:
            ended.set()
            listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.threat("hostile-key-set")
@pytest.mark.parametrize(
    ("first", "drop"),
    [
        (b"HTTP/1.1 200 OK\r\nX-Drops: ", b"x"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b" "),
    ],
    ids=["headers", "body"],
)
def test_a_key_host_that_drips_is_left_when_time_is_up(first: bytes, drop: bytes) -> None:
    with dripping(first, drop) as url:
        began = time.monotonic()
        with pytest.raises(KeySetUnreachable, match="took too long"):
            fetch_key_set(url, deadline=0.4)
        assert time.monotonic() - began < 5


@pytest.mark.threat("hostile-key-set")
def test_a_key_host_that_drips_costs_another_client_nothing(tmp_path: Path, order: bytes) -> None:
    other = ec_signer("https://other.example.org")
    hung = ec_signer(ISSUER)
    with dripping(b"HTTP/1.1 200 OK\r\nX-Drops: ", b"x") as url:
        file = write_clients(tmp_path, {"issuer": ISSUER, "jwks_url": url}, entry(other))
        with running(
            tmp_path, clients_file=file, max_concurrent_calls=4, calls_per_minute=1_000_000
        ) as server:
            theirs = World(server, Listener(""), Listener(""), other, order)
            ended = threading.Event()
            refused: list[int] = []

            def attack() -> None:
                while not ended.is_set():
                    refused.append(theirs.post(hung.token(theirs.url)).status_code)

            attackers = [threading.Thread(target=attack) for _ in range(6)]
            for attacker in attackers:
                attacker.start()
            try:
                answered = [theirs.post(other.token(theirs.url)).status_code for _ in range(40)]
            finally:
                ended.set()
                for attacker in attackers:
                    attacker.join()
    assert answered.count(200) >= 38
    assert set(refused) <= {401, 429, 503}


@pytest.mark.threat("hostile-key-set")
def test_an_encoded_key_set_is_not_unfolded(tmp_path: Path) -> None:
    with listening() as keys:
        keys.serves("/jwks.json", b"\x1f\x8b\x08", **{"Content-Encoding": "gzip"})
        with pytest.raises(KeySetUnreachable, match="encoded"):
            fetch_key_set(f"{keys.url}/jwks.json")
