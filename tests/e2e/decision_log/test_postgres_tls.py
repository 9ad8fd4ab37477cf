"""PostgreSQL over TLS, as docs/operations.md has it: the URL with its password stands in a file."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from tests.documents import document
from tests.e2e.certificates import Authority
from tests.e2e.decision_log.instances import until
from tests.e2e.decision_log.postgres import Postgres, PostgresMissing, postgres
from tests.e2e.servers import SERVE, Server, environment, free_port, running

PASSWORD = "hunter2-of-the-payer"
JSON = {"Content-Type": "application/json"}


class LookedAt(Postgres):
    """A server that the tests look at by a role of their own, without TLS."""

    def connect(self, database: str = "covercard") -> psycopg.Connection:
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user="looking",
            dbname=database,
            autocommit=True,
            connect_timeout=5,
            sslmode="disable",
        )


@dataclass(frozen=True)
class TlsPostgres:
    """A server that takes connections by TLS and password only, and the authority of its
    certificate.
    """

    server: Postgres
    authority: Path

    def url(self, authority: Path) -> str:
        """The URL, with the parameters that the documents append to one."""
        [told] = re.findall(r"`(\?sslmode=\S+)`", document("docs/operations.md").prose)
        parameters = re.sub(r"(sslrootcert=)[^&]+", rf"\1{authority}", told)
        address = f"covercard:{PASSWORD}@localhost:{self.server.port}"
        return f"postgresql+psycopg://{address}/covercard{parameters}"

    def connections(self) -> list[bool]:
        """Whether TLS protects each connection of the service."""
        with self.server.connect("covercard") as connection:
            return [
                protected
                for (protected,) in connection.execute(
                    "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)"
                    " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
                )
            ]


@pytest.fixture(scope="module")
def tls(open_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsPostgres]:
    folder = tmp_path_factory.mktemp("tls")
    authority = Authority(folder, "authority")
    files = authority.issue("localhost")
    try:
        with postgres(open_folder / "tls", free_port()) as server:
            data = server.folder / "data"
            for file, name in zip(files, ("server.crt", "server.key"), strict=True):
                shutil.copy(file, data / name)
                (data / name).chmod(0o600)
                shutil.chown(data / name, data.stat().st_uid, data.stat().st_gid)
            with server.connect("postgres") as connection:
                connection.execute(f"ALTER ROLE covercard PASSWORD '{PASSWORD}'")
                connection.execute("ALTER SYSTEM SET ssl = on")
                # The tests' own connections are let in without either, by their own role.
                connection.execute("CREATE ROLE looking LOGIN SUPERUSER")
                (data / "pg_hba.conf").write_text(
                    "hostnossl all looking 127.0.0.1/32 trust\n"
                    "hostssl all covercard localhost scram-sha-256\n"
                )
                connection.execute("SELECT pg_reload_conf()")
            yield TlsPostgres(LookedAt(server.folder, server.port), authority.file)
    except PostgresMissing as missing:
        pytest.skip(str(missing))


def records_of(server: Server) -> dict[str, object]:
    """What readiness says of the records."""
    told: dict[str, object] = server.get("/readyz").json()["checks"]["records"]
    return told


def test_records_reach_the_database_by_tls_alone(
    tls: TlsPostgres, tmp_path: Path, order: bytes
) -> None:
    file = tmp_path / "database-url"
    file.write_text(tls.url(tls.authority))
    upgraded = subprocess.run(
        [*SERVE[:-1], "db", "upgrade"],
        cwd=tmp_path,
        env=environment({"database_url_file": file}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert upgraded.returncode == 0, upgraded.stderr
    with running(tmp_path, database_url_file=file) as server:
        reply = server.post("/cds-services/order-sign-crd", data=order, headers=JSON)
        assert reply.status_code == 200
        until(lambda: not records_of(server)["waiting_bytes"], "nothing waits")
        assert records_of(server)["store"] == "up"
        protected = tls.connections()
        assert protected
        assert all(protected)
        with tls.server.connect() as connection:
            [count] = connection.execute("SELECT count(*) FROM call").fetchone() or [0]
        assert count == 1
        assert PASSWORD not in server.printed()


def test_a_database_with_another_authoritys_certificate_gets_no_record_and_no_password(
    tls: TlsPostgres, tmp_path: Path, order: bytes
) -> None:
    file = tmp_path / "database-url"
    file.write_text(tls.url(Authority(tmp_path, "another").file))
    until(lambda: tls.connections() == [], "the service of before has left")
    with running(tmp_path, database_url_file=file) as server:
        reply = server.post("/cds-services/order-sign-crd", data=order, headers=JSON)
        assert reply.status_code == 200  # the record waits, and so no call is lost
        # The drainer, another process, has tried and says so.
        until(lambda: records_of(server)["store"] == "away", "it is told")
        assert records_of(server)["waiting_bytes"]
        assert tls.connections() == []
        assert PASSWORD not in server.printed()
