"""Whatever a key host answers, a call of its client is refused or put off, and nothing breaks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.processes import workers_of
from tests.e2e.servers import Server, running
from tests.e2e.signing import Signer, ec_signer, entry, write_clients
from tests.e2e.unexpected_answers import answering, reply, unexpected

MOST_MEMORY = 400_000
"""Kilobytes: several times what a worker has, a fraction of what these answers hold."""
PATH = "/cds-services/order-sign-crd"
JSON = {"Content-Type": "application/json"}
SIGNER = ec_signer("https://ehr.example.org/0")
PUBLIC = SIGNER.public()
GOOD = json.dumps({"keys": [PUBLIC]}).encode()


def keys(*listed: object) -> bytes:
    """A key set with these entries, and then the client's own key."""
    return reply(json.dumps({"keys": [*listed, PUBLIC]}).encode())


HOSTS = unexpected(GOOD)
STILL_A_KEY_SET = {"length of letters"}
"""What HTTP libraries take for an answer that ends with its connection."""
ODD_KEYS = {
    "null": None,
    "a number": 1,
    "a text": "key",
    "a list": [],
    "nothing in it": {},
    "kid of a number": {**PUBLIC, "kid": 1},
    "kid of a megabyte": {**PUBLIC, "kid": "k" * 200_000},
    "kty of a list": {**PUBLIC, "kty": ["EC"]},
    "a curve of another kind": {**PUBLIC, "crv": {"name": "P-384"}},
    "a point that is none": {**PUBLIC, "x": "AAAA", "y": "AAAA"},
    "a coordinate of a number": {**PUBLIC, "x": 1},
    "a coordinate too long": {**PUBLIC, "x": "A" * 100_000},
    "a coordinate of no base64": {**PUBLIC, "y": "\u00e4\u0000"},
    "an even modulus": {"kty": "RSA", "kid": "ec-1", "n": "AAAA", "e": "AQAB"},
    "a modulus of 100 000 bits": {"kty": "RSA", "kid": "ec-1", "n": "_" * 16_667, "e": "AQAB"},
    "an exponent of 0": {"kty": "RSA", "kid": "ec-1", "n": "_" * 342, "e": "AA"},
    "a key of bytes": {"kty": "oct", "kid": "ec-1", "k": "AAAA"},
    "key_ops of a number": {**PUBLIC, "key_ops": 1},
    "key_ops of lists": {**PUBLIC, "key_ops": [[]]},
    "use of a list": {**PUBLIC, "use": ["sig"]},
    "alg of a number": {**PUBLIC, "alg": 384},
    "x5c of nonsense": {**PUBLIC, "x5c": ["nonsense"], "x5u": "http://169.254.169.254/"},
}


@dataclass(frozen=True)
class KeyHosts:
    """A service with a client for each answer of a key host, by the answer's name."""

    server: Server
    clients: dict[str, Signer]
    other: Signer

    def call(self, client: Signer, order: bytes) -> tuple[int, float]:
        """The status of a call, and the seconds that it took."""
        headers = {**JSON, **client.call(self.server.base + PATH)}
        answered = self.server.post(PATH, data=order, headers=headers)
        return answered.status_code, answered.elapsed.total_seconds()


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyHosts]:
    answers = {**HOSTS, **{f"odd: {name}": keys(odd) for name, odd in ODD_KEYS.items()}}
    folder = tmp_path_factory.mktemp("hosts")
    other = ec_signer("https://ehr.other.example.org", kid="other")
    with answering(answers) as base:
        clients, listed = {}, [entry(other)]
        for n, name in enumerate(answers):
            issuer = f"https://ehr.example.org/{n}"
            clients[name] = Signer(issuer, SIGNER.key, SIGNER.alg, SIGNER.kid)
            listed.append({"issuer": issuer, "name": f"ehr {n}", "jwks_url": f"{base}/{n}"})
        file = write_clients(folder, *listed)
        with running(folder, clients_file=file) as server:
            yield KeyHosts(server, clients, other)


@pytest.mark.threat("hostile-key-set")
@pytest.mark.parametrize("name", HOSTS)
def test_a_key_host_with_an_unexpected_answer_puts_its_client_off(
    hosts: KeyHosts, order: bytes, name: str
) -> None:
    status, seconds = hosts.call(hosts.clients[name], order)
    assert status in ({200} if name in STILL_A_KEY_SET else {401, 503})
    assert seconds < 10
    assert hosts.call(hosts.other, order)[0] == 200
    assert hosts.server.lines("unexpected error") == []


@pytest.mark.threat("hostile-key-set")
@pytest.mark.parametrize("name", ODD_KEYS)
def test_an_odd_key_of_a_set_does_not_lose_the_clients_own(
    hosts: KeyHosts, order: bytes, name: str
) -> None:
    status, _ = hosts.call(hosts.clients[f"odd: {name}"], order)
    assert status == 200
    assert hosts.server.lines("unexpected error") == []


@pytest.mark.threat("hostile-key-set")
def test_none_of_these_answers_has_filled_the_memory(hosts: KeyHosts, order: bytes) -> None:
    for name, client in hosts.clients.items():
        if any(word in name for word in ("MB", "bomb", "ever")):
            hosts.call(client, order)
    (worker,) = workers_of(hosts.server.process.pid)
    lines = Path(f"/proc/{worker}/status").read_text().splitlines()
    (peak,) = (int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    assert peak < MOST_MEMORY
