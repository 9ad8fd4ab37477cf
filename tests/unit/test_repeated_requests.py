"""The proxy's repetition of a call is let in with its token; everything else is a replay."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask, request

from service.auth.auth_tables import AUTH
from service.auth.fallback import InstanceFirstReplayStore
from service.auth.instance_tokens import InstanceTokens
from service.auth.replay_detection import (
    MOST_REPEATS,
    REPEATABLE_SECONDS,
    SqlReplayStore,
    Use,
    UsedTokens,
)
from service.database.engines import database_file, open_pool
from service.database.table_revisions import upgrade
from service.errors import Unavailable
from service.web.proxied_request import HEADER, proxied_request
from tests.conftest import ROOT

NOW = datetime(2026, 11, 22, 15, 30, tzinfo=UTC)
SOON = NOW + timedelta(minutes=5)
REQUEST, ANOTHER = "a" * 64, "b" * 64
FIRST, REPEATED, REPLAYED = Use


class Clock:
    """Seconds since 1970, set by hand."""

    def __init__(self) -> None:
        self.now = NOW.timestamp()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shared(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/shared.sqlite3"


@pytest.fixture
def common(shared: str, clock: Clock) -> Iterator[SqlReplayStore]:
    pool = open_pool(shared, 8)
    yield SqlReplayStore(pool, clock)
    pool.dispose()


@pytest.fixture(params=["an instance's file", "the shared database"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, common: SqlReplayStore, clock: Clock
) -> UsedTokens:
    if request.param == "an instance's file":
        return InstanceTokens(tmp_path / "used-tokens.sqlite3", clock)
    return common


each_no_proxy = pytest.mark.parametrize("without", [None, ANOTHER], ids=["no id", "another id"])


def use(store: UsedTokens, sent: str | None, jti: str = "1", issuer: str = "a") -> Use:
    return store.use(issuer, jti, SOON, sent)


def test_the_same_token_of_the_same_request_is_a_repetition(store: UsedTokens) -> None:
    assert [use(store, REQUEST), use(store, REQUEST)] == [FIRST, REPEATED]


@pytest.mark.threat("replay")
@each_no_proxy
def test_the_same_token_of_another_request_or_of_none_is_a_replay(
    store: UsedTokens, without: str | None
) -> None:
    assert use(store, REQUEST) is FIRST
    assert use(store, without) is REPLAYED
    assert use(store, REQUEST) is REPEATED
    assert use(store, without) is REPLAYED


@pytest.mark.threat("replay")
def test_a_token_that_came_without_a_request_is_never_repeated(store: UsedTokens) -> None:
    """Whoever replays it cannot name a request for it afterwards."""
    assert use(store, None) is FIRST
    assert [use(store, REQUEST) for _ in range(3)] == [REPLAYED] * 3


@pytest.mark.threat("replay")
def test_a_request_is_repeated_a_few_times_and_no_more(store: UsedTokens) -> None:
    wanted = [FIRST, *[REPEATED] * MOST_REPEATS, REPLAYED, REPLAYED]
    assert [use(store, REQUEST) for _ in wanted] == wanted


@pytest.mark.threat("replay")
def test_a_request_is_repeated_within_seconds_and_not_later(
    store: UsedTokens, clock: Clock
) -> None:
    assert use(store, REQUEST) is FIRST
    clock.now += REPEATABLE_SECONDS - 1
    assert use(store, REQUEST) is REPEATED
    clock.now += 1
    assert use(store, REQUEST) is REPLAYED


@pytest.mark.threat("replay")
def test_a_request_is_repeated_with_its_own_token_alone(store: UsedTokens) -> None:
    assert use(store, REQUEST) is FIRST
    assert use(store, ANOTHER, jti="2") is FIRST
    assert use(store, REQUEST, jti="2") is REPLAYED
    assert use(store, ANOTHER, jti="1") is REPLAYED
    assert use(store, REQUEST, issuer="b") is FIRST
    assert use(store, ANOTHER, issuer="b") is REPLAYED


@pytest.mark.threat("replay")
def test_of_many_uses_of_a_request_at_once_no_more_are_accepted(
    tmp_path: Path, shared: str, store: UsedTokens, clock: Clock
) -> None:
    """By workers with connections of their own."""
    if isinstance(store, InstanceTokens):
        file = tmp_path / "used-tokens.sqlite3"
        workers: list[UsedTokens] = [InstanceTokens(file, clock) for _ in range(4)]
    else:
        workers = [SqlReplayStore(open_pool(shared, 8), clock) for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        uses = list(pool.map(lambda n: use(workers[n % 4], REQUEST), range(40)))
    assert (uses.count(FIRST), uses.count(REPEATED)) == (1, MOST_REPEATS)


def test_requests_are_forgotten_when_they_are_not_repeated_any_more(
    tmp_path: Path, clock: Clock
) -> None:
    file = tmp_path / "used-tokens.sqlite3"
    store = InstanceTokens(file, clock)
    assert use(store, REQUEST) is FIRST
    clock.now += 61
    assert use(store, ANOTHER, jti="2") is FIRST
    with sqlite3.connect(file) as reading:
        assert reading.execute("SELECT request_sha256 FROM proxied_requests").fetchall() == [
            (ANOTHER,)
        ]
        assert reading.execute("SELECT count(*) FROM used_tokens").fetchone() == (2,)
    assert use(store, REQUEST) is REPLAYED


def test_a_former_version_goes_on_with_the_file_of_this_one(tmp_path: Path, clock: Clock) -> None:
    """It names no columns; what it has let in is a replay here."""
    file = tmp_path / "used-tokens.sqlite3"
    store = InstanceTokens(file, clock)
    assert use(store, REQUEST) is FIRST
    with sqlite3.connect(file) as former:
        (token,) = former.execute("SELECT * FROM used_tokens").fetchall()
        for row, first in ((token, 0), (("b", *token[1:]), 1)):
            inserted = former.execute("INSERT OR IGNORE INTO used_tokens VALUES (?, ?, ?)", row)
            assert inserted.rowcount == first
    assert use(store, REQUEST, issuer="b") is REPLAYED


def test_a_file_of_a_former_version_is_gone_on_with(tmp_path: Path, clock: Clock) -> None:
    file = tmp_path / "used-tokens.sqlite3"
    assert use(InstanceTokens(file, clock), None) is FIRST
    with sqlite3.connect(file) as former:
        former.execute("DROP TABLE proxied_requests")
    store = InstanceTokens(file, clock)
    assert use(store, REQUEST) is REPLAYED
    assert [use(store, REQUEST, jti="2") for _ in range(2)] == [FIRST, REPEATED]


def test_a_former_version_goes_on_with_the_tables_of_this_one(
    shared: str, common: SqlReplayStore
) -> None:
    """What it let in, without a request, is a replay here; what came here is one there."""
    upgrade(shared, AUTH)
    assert use(common, REQUEST, jti="2") is FIRST
    with sqlite3.connect(database_file(shared)) as former:
        named = "INSERT INTO used_tokens (issuer, jti_sha256, expires_at) VALUES (?, ?, ?)"
        ((issuer, jti, expires),) = former.execute(
            "SELECT issuer, jti_sha256, expires_at FROM used_tokens"
        ).fetchall()
        with pytest.raises(sqlite3.IntegrityError):
            former.execute(named, (issuer, jti, expires))
        former.execute(named, ("b", jti, expires))
    assert use(common, REQUEST, jti="2", issuer="b") is REPLAYED


class Common:
    """The shared database, which can be away."""

    def __init__(self, store: SqlReplayStore) -> None:
        self._store = store
        self.away = False

    def use(self, issuer: str, jti: str, expires: datetime, request: str | None = None) -> Use:
        if self.away:
            raise Unavailable("away")
        return self._store.use(issuer, jti, expires, request)


Instances = Callable[[str], InstanceFirstReplayStore]


@pytest.fixture
def database(common: SqlReplayStore) -> Common:
    return Common(common)


@pytest.fixture
def instance(tmp_path: Path, database: Common, clock: Clock) -> Instances:
    """An instance with a folder of this name."""

    def of(name: str) -> InstanceFirstReplayStore:
        own = InstanceTokens(tmp_path / name / "used-tokens.sqlite3", clock)
        return InstanceFirstReplayStore(own, database, monotonic=clock)

    return of


def test_what_one_instance_let_in_the_proxy_repeats_at_another(instance: Instances) -> None:
    assert use(instance("killed"), REQUEST) is FIRST
    assert use(instance("other"), REQUEST) is REPEATED


def test_or_at_another_worker_of_the_same_instance(instance: Instances) -> None:
    assert use(instance("one"), REQUEST) is FIRST
    assert use(instance("one"), REQUEST) is REPEATED


@pytest.mark.threat("replay")
def test_all_instances_together_accept_a_few_repetitions_and_no_more(instance: Instances) -> None:
    names = ("one", "two", "three", "four", "one", "two")
    uses = [use(instance(name), REQUEST) for name in names]
    assert uses == [FIRST, *[REPEATED] * MOST_REPEATS, *[REPLAYED] * 3]


@pytest.mark.threat("replay")
@each_no_proxy
def test_a_replay_is_one_at_each_instance(instance: Instances, without: str | None) -> None:
    assert use(instance("one"), REQUEST) is FIRST
    assert [use(instance(name), without) for name in ("one", "two")] == [REPLAYED, REPLAYED]


@pytest.mark.threat("replay")
def test_while_the_database_is_away_an_instance_goes_by_its_own_count(
    instance: Instances, database: Common, clock: Clock
) -> None:
    database.away = True
    wanted = [FIRST, *[REPEATED] * MOST_REPEATS, REPLAYED]
    assert [use(instance("one"), REQUEST) for _ in wanted] == wanted
    assert use(instance("one"), ANOTHER) is REPLAYED
    database.away = False
    assert use(instance("one"), REQUEST) is REPLAYED


def test_what_the_database_did_not_hear_of_is_a_repetition_all_the_same(
    instance: Instances, database: Common
) -> None:
    """As where it was away when the instance's other worker let the call in."""
    database.away = True
    assert use(instance("one"), REQUEST) is FIRST
    database.away = False
    assert use(instance("one"), REQUEST) is REPEATED


@pytest.mark.threat("replay")
def test_where_the_instances_file_fails_the_database_tells_repetitions_from_replays(
    instance: Instances, tmp_path: Path
) -> None:
    (tmp_path / "broken").write_text("no folder")
    uses = [use(instance("broken"), sent) for sent in (REQUEST, REQUEST, ANOTHER, None)]
    assert uses == [FIRST, REPEATED, REPLAYED, REPLAYED]


@pytest.mark.threat("replay")
def test_where_neither_can_tell_a_repetition_is_refused(
    instance: Instances, database: Common, tmp_path: Path
) -> None:
    (tmp_path / "broken").write_text("no folder")
    assert use(instance("broken"), REQUEST) is FIRST
    database.away = True
    with pytest.raises(Unavailable):
        use(instance("broken"), REQUEST)


ID = "0123456789abcdef" * 2
OTHER_ID = "fedcba9876543210" * 2


def digest(
    *ids: str, method: str = "POST", path: str = "/cds-services/a?b=c", body: bytes = b"body"
) -> str | None:
    headers = [(HEADER, each) for each in ids]
    with Flask("any").test_request_context(path, method=method, data=body, headers=headers):
        return proxied_request(request)


def test_a_request_is_the_same_by_id_method_address_and_length() -> None:
    assert digest(ID) == digest(ID)
    others = {
        digest(OTHER_ID),
        digest(ID, method="PUT"),
        digest(ID, path="/cds-services/a"),
        digest(ID, path="/cds-services/b?b=c"),
        digest(ID, body=b"longer body"),
    }
    assert len(others) == 5
    assert digest(ID) not in others
    assert None not in others


@pytest.mark.threat("replay")
@pytest.mark.parametrize(
    "ids",
    [
        (),
        ("",),
        (" ",),
        ("-",),
        (ID[:-1],),
        (ID + "0",),
        (ID.upper(),),
        (f"{ID},{OTHER_ID}",),
        (ID, ID),
        (ID, OTHER_ID),
        ("g" * 32,),
        ("\u0661" * 32,),
        ("$request_id",),
    ],
)
def test_what_is_not_one_id_as_the_proxy_makes_it_names_no_request(ids: tuple[str, ...]) -> None:
    assert digest(*ids) is None


@pytest.mark.threat("files-at-rest")
def test_the_proxys_id_is_in_no_file(tmp_path: Path, common: SqlReplayStore) -> None:
    sent = digest(ID)
    assert use(InstanceTokens(tmp_path / "used-tokens.sqlite3"), sent) is FIRST
    assert use(common, sent) is FIRST
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert files
    assert not any(ID.encode() in file.read_bytes() for file in files)


def test_the_example_repeats_no_longer_and_no_more_often_than_the_service_lets_it() -> None:
    lines = [li.strip() for li in (ROOT / "examples" / "nginx.conf").read_text().splitlines()]
    told = dict(li.rstrip(";").split(maxsplit=1) for li in lines if li.startswith("proxy_next_"))
    assert int(told["proxy_next_upstream_timeout"].removesuffix("s")) < REPEATABLE_SECONDS
    assert int(told["proxy_next_upstream_tries"]) - 1 == MOST_REPEATS
    assert f"proxy_set_header {HEADER} $request_id;" in lines
