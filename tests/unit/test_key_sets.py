"""Key sets: what in them is a key, and how seldom their URL is asked."""

import contextlib
import json
import threading
import time
from queue import Queue

import pytest
from joserfc.jwk import ECKey, OctKey, RSAKey

from service.auth.key_sets import (
    FRESH_FOR,
    KEEP_FOR,
    MOST_KEYS,
    MOST_KEYS_OF_AN_ID,
    REFRESH_AT_MOST_EVERY,
    FetchedKeys,
    KeySetUnreachable,
    read_key_set,
)
from service.errors import Unavailable
from tests.conftest import without_further_threads

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
        try:
            return bool(self.keys.find(kid, "ES384"))
        finally:
            self.settle()

    def refreshed(self, kid: str) -> bool:
        """Whether the key is known once what this look begins has ended."""
        with contextlib.suppress(Unavailable):
            self.knows(kid)
        return self.knows(kid)

    def settle(self) -> None:
        """Wait until nothing is read in the background any more."""
        while any(t.name == "key-set" for t in threading.enumerate()):
            time.sleep(0.001)


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
    assert world.refreshed("new")
    assert world.asked == 2


def test_a_key_that_is_not_known_while_the_set_is_being_read_is_to_come_again(
    world: World,
) -> None:
    assert world.knows("old")
    gate = Gate()
    world.keys._fetch = gate.fetch
    world.now += REFRESH_AT_MOST_EVERY
    with pytest.raises(Unavailable, match="being read"):
        world.keys.find("new", "ES384")
    gate.open.set()
    world.settle()
    assert not world.knows("new")


def test_a_withdrawn_key_is_forgotten_within_the_hour(world: World) -> None:
    assert world.knows("old")
    world.body = key_set({**EC, "kid": "new"})
    world.now += FRESH_FOR - 1
    assert world.knows("old")
    world.now += 1
    assert not world.refreshed("old")


@pytest.mark.threat("hostile-key-set")
@pytest.mark.parametrize("body", [None, b"", b"<html>", b"[]", b'{"keys": 1}'])
def test_the_last_keys_stay_while_the_url_is_down_or_speaks_nonsense(
    world: World, body: bytes | None
) -> None:
    assert world.knows("old")
    world.body = body
    world.now += FRESH_FOR
    assert world.knows("old")
    assert not world.knows("new")
    assert world.asked == 2


@pytest.mark.threat("hostile-key-set")
def test_a_moment_without_further_threads_is_as_one_in_which_the_url_is_down(
    world: World,
) -> None:
    with without_further_threads(), pytest.raises(Unavailable):
        world.knows("old")
    assert world.keys.away
    world.now += REFRESH_AT_MOST_EVERY
    assert world.refreshed("old")
    world.now += FRESH_FOR
    with without_further_threads():
        assert world.knows("old")
    world.body = key_set({**EC, "kid": "new"})
    world.now += REFRESH_AT_MOST_EVERY
    assert world.refreshed("new")


def test_keys_whose_url_is_down_end_after_the_configured_age(world: World) -> None:
    assert world.knows("old")
    world.body = None
    world.now += KEEP_FOR - 1
    assert world.knows("old")
    world.now += 1
    with pytest.raises(Unavailable):
        world.knows("old")
    world.body = key_set({**EC, "kid": "old"})
    world.now += REFRESH_AT_MOST_EVERY
    assert world.refreshed("old")


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
    assert world.refreshed("old")
    assert not world.keys.away


class Gate:
    """A URL that answers when it is let."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.asked = 0

    def fetch(self, url: str) -> bytes:
        self.asked += 1
        self.open.wait(60)
        return key_set({**EC, "kid": "old"})


@pytest.mark.threat("hostile-key-set")
def test_while_a_url_hangs_two_calls_wait_for_it_and_no_other() -> None:
    gate = Gate()
    keys = FetchedKeys("https://ehr.example.org/jwks", gate.fetch, lambda: 1.0, first_wait=60)
    told: Queue[str] = Queue()

    def find() -> None:
        try:
            told.put("known" if keys.find("old", "ES384") else "unknown")
        except Unavailable:
            told.put("come again")

    threads = [threading.Thread(target=find) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert [told.get(timeout=60) for _ in range(6)] == ["come again"] * 6
    assert told.empty()
    gate.open.set()
    assert [told.get(timeout=60) for _ in range(2)] == ["known"] * 2
    assert gate.asked == 1


def test_a_call_waits_for_a_url_that_hangs_a_moment_only() -> None:
    gate = Gate()
    keys = FetchedKeys("https://ehr.example.org/jwks", gate.fetch, lambda: 1.0, first_wait=0.01)
    with pytest.raises(Unavailable):
        keys.find("old", "ES384")
    gate.open.set()


def test_a_refresh_that_hangs_leaves_the_keys_at_hand_in_use() -> None:
    world = World()
    assert world.knows("old")
    gate = Gate()
    world.keys._fetch = gate.fetch
    world.now += FRESH_FOR
    try:
        assert [bool(world.keys.find("old", "ES384")) for _ in range(50)] == [True] * 50
        assert gate.asked == 1
    finally:
        gate.open.set()
        world.settle()


def test_of_many_keys_only_so_many_are_looked_at_and_of_one_id_only_four() -> None:
    many = read_key_set({"keys": [{**EC, "kid": f"k{n}"} for n in range(60)]})
    assert len(many) == MOST_KEYS
    same = read_key_set({"keys": [{**EC, "kid": "a"}] * 10})
    assert [len(keys) for keys in same.values()] == [MOST_KEYS_OF_AN_ID]


@pytest.mark.parametrize(
    "odd",
    [
        {**RSA, "kid": "odd", "e": "AA"},
        {**RSA, "kid": "odd", "e": "AQ"},
        {**RSA, "kid": "odd", "n": "AQ" * 100_000},
        {**RSA, "kid": "odd", "n": ""},
        {**RSA, "kid": "odd", "e": "AQAAAAE"},
        {**EC, "kid": "odd", "x": EC["y"]},
        {**EC, "kid": "odd", "x": ["a"], "y": {}},
        {**EC, "kid": "odd", "x": "\ud800"},
        {**EC, "kid": "odd", "key_ops": 7},
        {**EC, "kid": "odd", "use": ["sig"]},
    ],
)
def test_one_odd_key_does_not_lose_the_others(odd: object) -> None:
    assert set(read_key_set({"keys": [odd, {**EC, "kid": "good"}]})) == {("good", "ES384")}


def test_many_calls_at_once_ask_once() -> None:
    world = World()
    assert world.knows("old")
    world.asked = 0
    world.now += FRESH_FOR
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
