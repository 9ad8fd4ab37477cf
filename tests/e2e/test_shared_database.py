"""Two instances of the service with one PostgreSQL: tokens and calls count for both together."""

import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, select, text

from service.auth.auth_tables import AUTH, used_tokens
from service.auth.replay_detection import MOST_REPEATS, SqlReplayStore, Use
from service.database.engines import open_pool
from service.database.table_revisions import upgrade
from service.decision_log.log_revision import DECISION_LOG
from tests.e2e.decision_log.postgres import PostgresMissing, postgres
from tests.e2e.servers import Server, free_port, running
from tests.e2e.signing import Signer, ec_signer, entry, write_clients
from tests.minutes import within_a_minute
from tests.token_uses import first_use

PUBLIC = "https://covercard.example.org"
PATH = "/cds-services/order-sign-crd"
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """The URL of an empty database."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        try:
            with postgres(Path(folder) / "postgres", free_port()) as server:
                upgrade(server.url, DECISION_LOG)
                upgrade(server.url, AUTH)
                yield server.url
        except PostgresMissing as missing:
            pytest.skip(str(missing))


@pytest.fixture(scope="module")
def signers() -> list[Signer]:
    return [ec_signer(f"https://ehr-{n}.example.org") for n in range(4)]


@pytest.fixture(scope="module")
def instances(
    tmp_path_factory: pytest.TempPathFactory, database: str, signers: list[Signer]
) -> Iterator[list[Server]]:
    with ExitStack() as started:
        both = []
        for name in ("one", "two"):
            folder = tmp_path_factory.mktemp(name)
            settings = {
                "clients_file": write_clients(folder, *map(entry, signers)),
                "public_url": PUBLIC,
                "database_url": database,
                "call_counts": "database",
                "calls_per_minute": 40,
            }
            both.append(started.enter_context(running(folder, **settings)))
        yield both


@pytest.mark.threat("replay")
def test_a_token_that_one_instance_has_seen_is_refused_by_the_other(
    instances: list[Server], signers: list[Signer], order: bytes
) -> None:
    def of_a_token() -> list[int]:
        headers = {**JSON, **signers[0].call(PUBLIC + PATH)}
        return [i.post(PATH, data=order, headers=headers).status_code for i in instances]

    assert _while_the_database_is_quick(instances, of_a_token) == [200, 401]


def test_of_one_token_at_many_instances_at_once_one_call_is_answered(
    instances: list[Server], signers: list[Signer], order: bytes
) -> None:
    def of_a_token() -> list[int]:
        headers = {**JSON, **signers[0].call(PUBLIC + PATH)}
        with ThreadPoolExecutor(8) as pool:
            calls = [
                pool.submit(instances[n % 2].post, PATH, data=order, headers=headers)
                for n in range(24)
            ]
            return sorted(c.result().status_code for c in calls)

    assert _while_the_database_is_quick(instances, of_a_token) == [200] + [401] * 23


def _while_the_database_is_quick(
    instances: list[Server], look: Callable[[], list[int]]
) -> list[int]:
    """What is seen while no instance has had to do without the database: each waits a second for
    it, and then knows for two what it has seen itself.
    """

    def alone() -> list[int]:
        """A line of each one's only worker comes after all that were before it."""
        for instance in instances:
            instance.line_of(instance.get("/cds-services"))
        return [instance.tokens_alone() for instance in instances]

    for _ in range(4):
        before, seen = alone(), look()
        if alone() == before:
            return seen
        time.sleep(3)
    pytest.skip("the machine is too slow: the database did not answer within a second")


@pytest.mark.threat("call-flood")
def test_calls_are_counted_for_both_instances_together(
    instances: list[Server], signers: list[Signer], order: bytes
) -> None:
    def calls(signer: Signer) -> list[int] | None:
        """Their statuses, if the database was quick enough to count them all."""
        alone = [i.counts_alone() for i in instances]
        statuses = []
        for n in range(60):
            headers = {**JSON, **signer.call(PUBLIC + PATH)}
            statuses.append(instances[n % 2].post(PATH, data=order, headers=headers).status_code)
        return statuses if [i.counts_alone() for i in instances] == alone else None

    # Three seconds later a database that was slow is asked again.
    assert within_a_minute(calls, signers[1:], apart=3) == [200] * 40 + [429] * 20


@pytest.mark.threat("files-at-rest")
def test_what_is_kept_of_a_token_tells_nothing(
    instances: list[Server], signers: list[Signer], order: bytes, database: str
) -> None:
    jti = "Marigold-Quistgaard-1951-04-07"
    headers = {**JSON, **signers[0].call(PUBLIC + PATH, jti=jti)}
    assert instances[0].post(PATH, data=order, headers=headers).status_code == 200
    with create_engine(database).connect() as connection:
        rows = connection.execute(select(used_tokens)).all()
    assert rows
    assert "Quistgaard" not in str(rows)


@pytest.mark.threat("replay")
def test_a_token_that_comes_to_eight_instances_at_once_counts_once(database: str) -> None:
    stores = [SqlReplayStore(open_pool(database, 4)) for _ in range(8)]
    expires = datetime.now(UTC) + timedelta(minutes=5)
    with ThreadPoolExecutor(8) as pool:
        first = list(pool.map(lambda store: first_use(store, "a", "1", expires), stores))
    assert first.count(True) == 1


@pytest.mark.threat("replay")
def test_a_request_that_is_repeated_at_eight_instances_at_once_is_let_in_a_few_times(
    database: str,
) -> None:
    stores = [SqlReplayStore(open_pool(database, 4)) for _ in range(8)]
    expires = datetime.now(UTC) + timedelta(minutes=5)
    with ThreadPoolExecutor(8) as pool:
        uses = list(pool.map(lambda store: store.use("a", "2", expires, "b" * 64), stores))
    assert (uses.count(Use.FIRST), uses.count(Use.REPEATED)) == (1, MOST_REPEATS)


@pytest.mark.threat("replay")
def test_clients_are_answered_while_postgresql_is_killed_and_each_token_counts_once(
    signers: list[Signer], order: bytes
) -> None:
    with tempfile.TemporaryDirectory() as name, ExitStack() as started:
        folder = Path(name)
        folder.chmod(0o755)
        try:
            server = started.enter_context(postgres(folder / "postgres", free_port()))
        except PostgresMissing as missing:
            pytest.skip(str(missing))
        upgrade(server.url, DECISION_LOG)
        upgrade(server.url, AUTH)
        file = write_clients(folder, *map(entry, signers))
        settings = {"clients_file": file, "database_url": server.url, "workers": 2}
        service = started.enter_context(running(folder, **settings))

        def post(headers: dict[str, str]) -> int:
            return service.post(PATH, data=order, headers={**JSON, **headers}).status_code

        def headers() -> dict[str, str]:
            return signers[0].call(service.base + PATH)

        assert post(headers()) == 200
        server.kill()
        meanwhile = [headers() for _ in range(4)]
        assert [post(h) for h in meanwhile] == [200] * 4
        assert [post(h) for h in meanwhile * 2] == [401] * 8
        server.start()

        def drained() -> None:
            deadline = time.monotonic() + 30
            while service.get("/readyz").json()["checks"]["records"]["waiting_bytes"]:
                assert time.monotonic() < deadline
                time.sleep(0.2)

        drained()
        assert [post(h) for h in meanwhile] == [401] * 4
        assert post(headers()) == 200
        drained()
        with create_engine(server.url).connect() as connection:
            kept = connection.execute(text("SELECT count(*) FROM call")).scalar()
        assert kept == 6
