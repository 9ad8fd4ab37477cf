"""Key sets: what in them is a key, and how seldom their URL is asked."""

import json
import threading

import pytest
from joserfc.jwk import ECKey, OctKey, RSAKey

from service.auth.key_sets import (
    FRESH_FOR,
    REFRESH_AT_MOST_EVERY,
    FetchedKeys,
    KeySetUnreachable,
    read_key_set,
)
from service.errors import Unavailable

EC = ECKey.generate_key("P-384").as_dict(private=False)
RSA = RSAKey.generate_key(2048).as_dict(private=False)


def key_set(*keys: dict[str, object]) -> bytes:
    return json.dumps({"keys": list(keys)}).encode()


def test_each_key_is_found_by_its_id_and_its_own_algorithm() -> None:
    keys = read_key_set({"keys": [{**EC, "kid": "a"}, {**RSA, "kid": "b"}]})
    assert set(keys) == {("a", "ES384"), ("b", "RS384")}


@pytest.mark.threat("algorithm-confusion")
@pytest.mark.parametrize(
    "jwk",
    [
        {**EC},
        {**EC, "kid": 7},
        {**EC, "kid": "a", "use": "enc"},
        {**EC, "kid": "a", "alg": "ES256"},
        {**EC, "kid": "a", "key_ops": ["sign"]},
        {**EC, "kid": "a", "x": "AAAA"},
        {**EC, "kid": "a", "crv": "P-256"},
        {n: v for n, v in {**EC, "kid": "a"}.items() if n != "y"},
        {**RSA, "kid": "a", "alg": "RS256"},
        {**RSA, "kid": "a", "n": 5},
        {**OctKey.generate_key(256).as_dict(), "kid": "a"},
        {**OctKey.generate_key(256).as_dict(), "kid": "a", "alg": "ES384"},
        {**ECKey.generate_key("P-256").as_dict(private=False), "kid": "a"},
        {"kid": "a"},
        "key",
        None,
    ],
)
def test_what_is_no_public_key_for_the_two_algorithms_is_left_out(jwk: object) -> None:
    assert read_key_set({"keys": [jwk]}) == {}


def test_of_a_private_key_only_the_public_half_is_kept() -> None:
    private = ECKey.generate_key("P-384")
    ((key,),) = read_key_set({"keys": [{**private.as_dict(private=True), "kid": "a"}]}).values()
    assert not key.is_private


@pytest.mark.parametrize("data", [None, [], {}, {"keys": 1}, {"keys": {"a": 1}}, "keys"])
def test_what_is_no_key_set_is_refused(data: object) -> None:
    with pytest.raises(ValueError, match="JSON Web Key Set"):
        read_key_set(data)


class World:
    """A URL that can be down, and a clock that is turned by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.asked = 0
        self.body: bytes | None = key_set({**EC, "kid": "old"})
        self.keys = FetchedKeys("https://ehr.example.org/jwks", self.fetch, lambda: self.now)

    def fetch(self, url: str) -> bytes:
        self.asked += 1
        if self.body is None:
            raise KeySetUnreachable("down")
        return self.body

    def knows(self, kid: str) -> bool:
        return bool(self.keys.find(kid, "ES384"))


@pytest.fixture
def world() -> World:
    return World()


def test_nothing_is_asked_before_a_token_comes(world: World) -> None:
    assert world.asked == 0


@pytest.mark.threat("key-set-storm")
def test_an_unknown_key_asks_again_but_not_within_the_same_minute(world: World) -> None:
    assert world.knows("old")
    world.body = key_set({**EC, "kid": "old"}, {**EC, "kid": "new"})
    world.now += REFRESH_AT_MOST_EVERY - 1
    assert not world.knows("new")
    assert world.asked == 1
    world.now += 1
    assert world.knows("new")
    assert world.asked == 2


def test_a_withdrawn_key_is_forgotten_within_the_hour(world: World) -> None:
    assert world.knows("old")
    world.body = key_set({**EC, "kid": "new"})
    world.now += FRESH_FOR - 1
    assert world.knows("old")
    world.now += 1
    assert not world.knows("old")


@pytest.mark.threat("hostile-key-set")
@pytest.mark.parametrize("body", [None, b"", b"<html>", b"[]", b'{"keys": 1}'])
def test_the_last_keys_stay_while_the_url_is_down_or_speaks_nonsense(
    world: World, body: bytes | None
) -> None:
    assert world.knows("old")
    world.body = body
    world.now += FRESH_FOR * 100
    assert world.knows("old")
    assert not world.knows("new")
    assert world.asked == 2


@pytest.mark.parametrize("body", [None, b"", b"<html>", b"[]", b'{"keys": 1}'])
def test_without_any_keys_the_answer_is_later_not_no(world: World, body: bytes | None) -> None:
    world.body = body
    for _ in range(5):
        with pytest.raises(Unavailable):
            world.knows("old")
    assert world.asked == 1
    world.body = key_set({**EC, "kid": "old"})
    world.now += REFRESH_AT_MOST_EVERY
    assert world.knows("old")


def test_a_key_set_is_away_from_the_first_time_it_cannot_be_read_until_it_can(
    world: World,
) -> None:
    assert not world.keys.away
    assert world.knows("old")
    assert not world.keys.away
    body, world.body = world.body, None
    world.now += FRESH_FOR
    assert world.knows("old")
    assert world.keys.away
    world.body = body
    world.now += REFRESH_AT_MOST_EVERY
    assert world.knows("old")
    assert not world.keys.away


def test_many_calls_at_once_ask_once() -> None:
    world = World()
    ready = threading.Barrier(8)
    known: list[bool] = []

    def find() -> None:
        ready.wait()
        known.append(world.knows("old"))

    threads = [threading.Thread(target=find) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert known == [True] * 8
    assert world.asked == 1
