"""Each token counts once, in a database that workers and instances share."""

import errno
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from service.auth.auth_tables import used_tokens
from service.auth.replay_detection import SqlReplayStore
from service.database import engines
from service.database.engines import open_pool
from service.errors import ConfigurationError, Unavailable
from tests.token_uses import first_use

NOW = datetime(2026, 11, 22, 15, 30, tzinfo=UTC)
SOON = NOW + timedelta(minutes=5)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_pool(f"sqlite:///{tmp_path}/test.sqlite3", 8)
    yield engine
    engine.dispose()


def rows(engine: Engine) -> list[tuple[object, ...]]:
    with engine.begin() as connection:
        return [tuple(r) for r in connection.execute(select(used_tokens))]


def test_the_second_use_of_a_token_is_seen_by_another_store(engine: Engine) -> None:
    assert first_use(SqlReplayStore(engine), "a", "1", datetime.max.replace(tzinfo=UTC))
    assert not first_use(SqlReplayStore(engine), "a", "1", datetime.max.replace(tzinfo=UTC))


def test_a_look_tells_whether_a_token_was_used_and_uses_none(engine: Engine) -> None:
    store = SqlReplayStore(engine, lambda: NOW.timestamp())
    assert not store.used("a", "1")
    assert first_use(store, "a", "1", SOON)
    assert SqlReplayStore(engine).used("a", "1")
    assert not store.used("b", "1")


def test_a_token_id_belongs_to_its_issuer(engine: Engine) -> None:
    store = SqlReplayStore(engine, lambda: NOW.timestamp())
    assert first_use(store, "a", "1", SOON)
    assert first_use(store, "b", "1", SOON)
    assert first_use(store, "a", "2", SOON)


@pytest.mark.parametrize("jti", ["'; DROP TABLE used_tokens; --", "\x00", "\ud800", "é" * 256])
def test_any_text_is_a_token_id_and_no_part_of_a_statement(engine: Engine, jti: str) -> None:
    store = SqlReplayStore(engine, lambda: NOW.timestamp())
    assert first_use(store, "a", jti, SOON)
    assert not first_use(store, "a", jti, SOON)
    assert jti not in str(rows(engine))


def test_of_many_uses_at_once_one_is_the_first(engine: Engine) -> None:
    stores = [SqlReplayStore(engine, lambda: NOW.timestamp()) for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        first = list(pool.map(lambda n: first_use(stores[n % 4], "a", "1", SOON), range(40)))
    assert first.count(True) == 1


def test_what_has_expired_is_forgotten_and_nothing_else(engine: Engine) -> None:
    now = NOW.timestamp()
    store = SqlReplayStore(engine, lambda: now)
    first_use(store, "a", "1", NOW + timedelta(seconds=30))
    first_use(store, "a", "2", NOW + timedelta(seconds=300))
    now += 61
    first_use(store, "a", "3", SOON)
    assert len(rows(engine)) == 2
    assert not first_use(store, "a", "2", SOON)


def test_where_uses_cannot_be_recorded_nobody_is_let_in(tmp_path: Path) -> None:
    pool = open_pool(f"sqlite:///{tmp_path}/file.sqlite3", 8)
    store = SqlReplayStore(pool)
    pool.dispose()
    file = tmp_path / "file.sqlite3"
    file.rename(tmp_path / "away.sqlite3")
    file.mkdir()
    with pytest.raises(Unavailable):
        first_use(store, "a", "1", SOON)
    file.rmdir()
    (tmp_path / "away.sqlite3").rename(file)
    assert first_use(store, "a", "1", SOON)


def test_a_database_on_a_disk_that_is_read_only_at_the_start_may_come_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(path: Path) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    with monkeypatch.context() as disk:
        disk.setattr(engines, "make_private_file", read_only)
        store = SqlReplayStore(open_pool(f"sqlite:///{tmp_path}/file.sqlite3", 8))
        with pytest.raises(Unavailable):
            first_use(store, "a", "1", SOON)
    assert first_use(store, "a", "1", SOON)
    assert (tmp_path / "file.sqlite3").stat().st_mode & 0o077 == 0


def test_a_database_that_is_a_link_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "link.sqlite3").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match="is a link"):
        open_pool(f"sqlite:///{tmp_path}/link.sqlite3", 8)


def test_instances_that_start_at_once_make_the_tables_together(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/new.sqlite3"
    stores = [SqlReplayStore(open_pool(url, 8), lambda: NOW.timestamp()) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        first = list(pool.map(lambda s: first_use(s, "a", "1", SOON), stores))
    assert first.count(True) == 1


@pytest.mark.parametrize("url", ["nonsense", "mysql+nothing://a:opensesame@b/c", "oracle://x"])
def test_a_database_of_another_kind_is_a_wrong_setting(url: str) -> None:
    with pytest.raises(ConfigurationError) as wrong:
        open_pool(url, 8)
    assert "COVERCARD_DATABASE_URL" in str(wrong.value)
    assert "opensesame" not in str(wrong.value)
