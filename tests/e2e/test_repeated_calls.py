"""Replays that pretend to be the proxy's repetitions, against the service and through nginx."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from service.auth.replay_detection import MOST_REPEATS
from service.web.proxied_request import HEADER
from tests.conftest import files_below
from tests.e2e.certificates import Authority
from tests.e2e.conftest import HOSPITAL, Guarded
from tests.e2e.nginx import NGINX, in_front
from tests.e2e.servers import Server, free_port, running, talk
from tests.e2e.signing import Signer, ec_signer, entry, write_clients

PATH, OTHER_PATH = "/cds-services/order-sign-crd", "/cds-services/order-dispatch-crd"
JSON = {"Content-Type": "application/json"}
SPELLED_OTHERWISE = HEADER.replace("-", "_")
"""The same name to a server that knows headers by their variables, as WSGI has them."""


@dataclass(frozen=True)
class Site:
    """A service of two workers behind a trusted proxy: nginx at `url`, where it is installed."""

    service: Server
    url: str
    trusted: Path
    hospital: Signer

    def token(self, **claims: object) -> dict[str, str]:
        return {**JSON, **self.hospital.call(self.url + PATH, **claims)}

    def around(self, body: bytes, headers: dict[str, str], path: str = PATH) -> requests.Response:
        """Call the service itself."""
        return self.service.post(path, data=body, headers=headers)

    def through(
        self, body: bytes, headers: dict[str, str], by: requests.Session | None = None
    ) -> requests.Response:
        """Call through the proxy, on a connection of its own or of a session."""
        return (by or requests.Session()).post(
            self.url + PATH, data=body, headers=headers, verify=str(self.trusted), timeout=30
        )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("proxied")
    authority, port, hospital = Authority(folder, "authority"), free_port(), ec_signer(HOSPITAL)
    authority.issue("localhost")
    url = f"https://localhost:{port}"
    settings = {
        "clients_file": write_clients(folder, entry(hospital)),
        "public_url": url,
        "workers": 2,
        "proxies": 1,
        "failed_tokens_per_minute": 10_000,
    }
    with running(folder, **settings) as service:
        yield Site(service, url, authority.file, hospital)


@pytest.fixture
def proxy(site: Site) -> Iterator[None]:
    if NGINX is None:
        pytest.skip("nginx is not installed (on Debian: apt-get install nginx-light)")
    with in_front(site.trusted.parent, int(site.url.rpartition(":")[2]), site.service.port):
        yield


def new_id() -> str:
    """As nginx makes it."""
    return secrets.token_hex(16)


def test_a_repetition_is_answered_a_few_times_and_its_lines_say_so(
    site: Site, order: bytes
) -> None:
    """Whichever worker it comes to."""
    headers = {**site.token(), HEADER: new_id()}
    replies = [site.around(order, headers) for _ in range(1 + MOST_REPEATS + 2)]
    assert [r.status_code for r in replies] == [200] * (1 + MOST_REPEATS) + [401] * 2
    lines = [site.service.line_of(reply) for reply in replies]
    assert [line.get("repeated") for line in lines] == [None, *[True] * MOST_REPEATS, None, None]
    assert [line.get("claim") for line in lines[-2:]] == ["jti", "jti"]


@pytest.mark.threat("replay")
def test_of_a_flood_of_repetitions_a_few_are_answered(site: Site, order: bytes) -> None:
    headers = {**site.token(), HEADER: new_id()}
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: site.around(order, headers).status_code, range(24)))
    assert statuses.count(200) == 1 + MOST_REPEATS
    assert statuses.count(401) == 24 - statuses.count(200)


def nothing(_: str) -> str | None:
    return None


FORGED: dict[str, Callable[[str], str | None]] = {
    "no id": nothing,
    "another id": lambda _: new_id(),
    "an empty id": lambda _: "",
    "its beginning": lambda id: id[:-1],
    "with more behind": lambda id: id + "0",
    "in upper case": str.upper,
    "as one of two": lambda id: f"{new_id()},{id}",
    "twice": lambda id: f"{id},{id}",
    "in quotes": lambda id: f'"{id}"',
    "with one digit changed": lambda id: id[:-1] + ("0" if id[-1] != "0" else "1"),
}


@pytest.mark.threat("replay")
@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED.keys())
def test_a_token_with_anything_but_the_very_same_id_is_a_replay(
    site: Site, order: bytes, forge: Callable[[str], str | None]
) -> None:
    token, id = site.token(), "abcdef" + new_id()[6:]
    assert site.around(order, {**token, HEADER: id}).status_code == 200
    forged = forge(id)
    replayed = site.around(order, {**token, **({} if forged is None else {HEADER: forged})})
    assert replayed.status_code == 401


@pytest.mark.threat("replay")
def test_a_token_that_came_without_an_id_cannot_be_given_one(site: Site, order: bytes) -> None:
    token = site.token()
    assert site.around(order, token).status_code == 200
    for sent in (new_id(), "", "0" * 32):
        assert site.around(order, {**token, HEADER: sent}).status_code == 401


@pytest.mark.threat("replay")
def test_two_ids_in_two_headers_are_none(site: Site, order: bytes) -> None:
    token, ids = site.token(), (new_id(), new_id())
    assert site.around(order, {**token, HEADER: ids[0]}).status_code == 200
    head = "".join(f"{n}: {v}\r\n" for n, v in token.items())
    head += "".join(f"{HEADER}: {each}\r\n" for each in ids)
    raw = f"POST {PATH} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{head}"
    sent = f"{raw}Content-Length: {len(order)}\r\n\r\n".encode() + order
    assert b" 401 " in talk(site.service.port, sent).splitlines()[0]


@pytest.mark.threat("replay")
def test_the_id_of_a_call_lets_in_no_other_call_with_its_token(site: Site, order: bytes) -> None:
    """Another length, address or query; or another token of the client with this id."""
    both = [site.url + PATH, site.url + OTHER_PATH]
    headers = {**site.token(aud=both), HEADER: new_id()}
    assert site.around(order, headers).status_code == 200
    assert site.around(order + b" ", headers).status_code == 401
    assert site.around(order, headers, OTHER_PATH).status_code == 401
    assert site.around(order, headers, f"{PATH}?again").status_code == 401
    used = site.token()
    assert site.around(order, used).status_code == 200
    assert site.around(order, {**used, HEADER: headers[HEADER]}).status_code == 401


@pytest.mark.threat("replay")
def test_without_a_proxy_in_the_settings_no_id_counts(guarded: Guarded, order: bytes) -> None:
    token = guarded.hospital.call(guarded.url)
    headers = {**JSON, **token, HEADER: new_id(), "X-Forwarded-For": "192.0.2.7"}
    replies = [
        requests.post(guarded.url, data=order, headers=headers, timeout=30) for _ in range(2)
    ]
    assert [reply.status_code for reply in replies] == [200, 401]


@pytest.mark.threat("replay")
@pytest.mark.usefixtures("proxy")
@pytest.mark.parametrize("name", [HEADER, SPELLED_OTHERWISE, HEADER.lower()])
def test_an_id_that_a_client_sends_does_not_come_through_the_proxy(
    site: Site, order: bytes, name: str
) -> None:
    id = new_id()
    headers = {**site.token(), name: id}
    replies = [site.through(order, headers) for _ in range(2)]
    assert [reply.status_code for reply in replies] == [200, 401]
    # Nor is it what the proxy told the service: who comes around the proxy with it is refused.
    assert site.around(order, {**headers, HEADER: id}).status_code == 401


@pytest.mark.threat("replay")
@pytest.mark.usefixtures("proxy")
def test_a_client_that_calls_again_on_the_same_connection_makes_another_request(
    site: Site, order: bytes
) -> None:
    headers = site.token()
    with requests.Session() as session:
        replies = [site.through(order, headers, session) for _ in range(2)]
    assert [reply.status_code for reply in replies] == [200, 401]


@pytest.mark.threat("replay")
def test_the_id_is_told_to_nobody(site: Site, order: bytes) -> None:
    """Neither by the answer, nor by a log line, nor by a file of the service."""
    id = new_id()
    headers = {**site.token(), HEADER: id}
    replies = [site.around(order, headers), site.around(order, {**headers, HEADER: new_id()})]
    assert [reply.status_code for reply in replies] == [200, 401]
    for reply in replies:
        assert id not in json.dumps(dict(reply.headers)) + reply.text
        assert site.service.line_of(reply)
    kept = files_below(site.service.log.parent, Path.read_bytes)
    assert "used-tokens.sqlite3" in {file.name for file in kept}
    assert not any(id.encode() in content for content in kept.values())
