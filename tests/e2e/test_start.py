"""The service starts only where who can reach it fits whom it trusts."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e.conftest import HOSPITAL
from tests.e2e.decision_log.instances import until
from tests.e2e.processes import workers_of
from tests.e2e.servers import ROOT, SERVE, environment, free_port, refused_start, running
from tests.e2e.signing import ec_signer, entry, write_clients

SANDBOX = "https://sandbox.cds-hooks.org"
AWAY = "postgresql+psycopg://covercard:opensesame@127.0.0.1:9/covercard"


@pytest.fixture
def clients_file(tmp_path: Path) -> Path:
    return write_clients(tmp_path, entry(ec_signer(HOSPITAL)))


@pytest.mark.threat("open-by-mistake")
def test_an_open_service_does_not_listen_beyond_loopback(tmp_path: Path) -> None:
    said = refused_start(tmp_path, host="0.0.0.0", client_auth="open")
    assert "COVERCARD_CLIENT_AUTH" in said
    assert "loopback" in said


@pytest.mark.threat("open-by-mistake")
def test_behind_a_proxy_a_forgotten_clients_file_stops_the_start(tmp_path: Path) -> None:
    said = refused_start(tmp_path, public_url="https://covercard.example.org", client_file="x.yaml")
    assert "COVERCARD_CLIENT_FILE is no setting; is COVERCARD_CLIENTS_FILE meant?" in said
    assert "COVERCARD_CLIENTS_FILE: name the file of the clients" in said


@pytest.mark.threat("open-by-mistake")
def test_a_second_service_does_not_share_the_port_of_the_first(tmp_path: Path) -> None:
    with running(tmp_path) as first:
        said = refused_start(tmp_path, exit_code=1, port=first.port)
        assert f"cannot listen on 127.0.0.1:{first.port} (address already in use)" in said
        assert first.get("/cds-services").status_code == 200


@pytest.mark.threat("open-by-mistake")
def test_beyond_loopback_a_clients_file_and_a_public_url_are_asked_for(tmp_path: Path) -> None:
    said = refused_start(tmp_path, host="0.0.0.0")
    assert "COVERCARD_CLIENTS_FILE" in said
    assert "COVERCARD_PUBLIC_URL" in said


@pytest.mark.threat("interception")
@pytest.mark.requirement("cds-hooks-2.0:2", "cds-hooks-2.0:168", "crd-2.2.1:sec-2", "crd-2.0.1:89")
def test_a_public_url_without_tls_is_refused(tmp_path: Path, clients_file: Path) -> None:
    said = refused_start(
        tmp_path,
        host="0.0.0.0",
        clients_file=clients_file,
        public_url="http://covercard.example.org",
    )
    assert "COVERCARD_PUBLIC_URL: must begin with https://" in said


def test_a_clients_file_that_cannot_be_relied_on_stops_the_start(tmp_path: Path) -> None:
    file = tmp_path / "clients.yaml"
    file.write_text("clients: [{issuer: a, issuer: b}]")
    said = refused_start(tmp_path, clients_file=file)
    assert f"{file}: error: (file): " in said
    assert "Traceback" not in said


def test_the_example_clients_file_works(tmp_path: Path) -> None:
    file = ROOT / "examples" / "clients.example.yaml"
    with running(tmp_path, clients_file=file) as server:
        assert server.post("/cds-services/order-sign-crd", json={}).status_code == 401
        assert server.lines("DEMONSTRATION CLIENT TRUSTED") == []
        assert server.told("call")


@pytest.mark.threat("demo-keys")
def test_a_demonstration_profile_is_warned_of_loudly(tmp_path: Path) -> None:
    file = ROOT / "examples" / "clients.demo.yaml"
    with running(tmp_path, clients_file=file) as server:
        warnings = server.told("DEMONSTRATION CLIENT TRUSTED", file.read_text().count("demo: true"))
        assert {w["level"] for w in warnings} == {"warning"}
        assert SANDBOX in {w["issuer"] for w in warnings}
        assert any("inferno" in w["issuer"] for w in warnings)


def test_an_open_service_says_that_it_is_open(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        assert server.says("OPEN: no authentication, every caller of this address is accepted")


@pytest.mark.threat("replay")
def test_while_the_database_is_away_calls_are_answered_and_each_token_counts_once(
    tmp_path: Path, order: bytes
) -> None:
    """At all workers of the instance; and the database's password stays unsaid."""
    hospital = ec_signer(HOSPITAL)
    file = write_clients(tmp_path, entry(hospital))
    path = "/cds-services/order-sign-crd"
    with running(tmp_path, clients_file=file, database_url=AWAY, workers=2) as server:
        for _ in range(5):
            headers = {"Content-Type": "application/json", **hospital.call(server.base + path)}
            replies = [server.post(path, data=order, headers=headers) for _ in range(6)]
            assert [r.status_code for r in replies] == [200] + [401] * 5
        records: dict[str, Any] = {}

        def is_away() -> bool:
            """The drainer, another process, has met that the database is."""
            state = server.get("/readyz").json()
            records.update(state["checks"]["records"])
            return bool((state["status"], records["store"]) == ("degraded", "away"))

        until(is_away, "it is told")
        assert records["waiting_bytes"] > 5 * 1000
        assert "opensesame" not in server.printed() + "".join(r.text for r in replies)


@pytest.mark.threat("replay")
def test_where_neither_database_nor_records_can_be_written_nobody_is_let_in(
    tmp_path: Path, order: bytes
) -> None:
    hospital = ec_signer(HOSPITAL)
    file = write_clients(tmp_path, entry(hospital))
    records = tmp_path / "no-folder"
    records.write_text("")
    path = "/cds-services/order-sign-crd"
    settings = {"database_url": AWAY, "records_dir": records}
    with running(tmp_path, clients_file=file, **settings) as server:
        headers = {"Content-Type": "application/json", **hospital.call(server.base + path)}
        reply = server.post(path, data=order, headers=headers)
        assert reply.status_code == 503
        assert int(reply.headers["Retry-After"]) > 0
        assert server.line_of(reply)["refused"] == "Unavailable"
        assert server.get("/readyz").status_code == 503


def test_a_database_url_that_names_none_stops_the_start_without_its_password(
    tmp_path: Path, clients_file: Path
) -> None:
    url = "sesamedb://covercard:opensesame@127.0.0.1/covercard"
    said = refused_start(tmp_path, clients_file=clients_file, database_url=url)
    assert "COVERCARD_DATABASE_URL" in said
    assert "opensesame" not in said


@pytest.mark.threat("audience")
def test_behind_a_proxy_tokens_name_the_public_url(tmp_path: Path, order: bytes) -> None:
    signer = ec_signer(HOSPITAL)
    file = write_clients(tmp_path, entry(signer))
    public = "https://covercard.example.org/payer"
    path = "/cds-services/order-sign-crd"
    with running(tmp_path, clients_file=file, public_url=public) as server:
        for called, status in ((public + path, 200), (server.base + path, 401)):
            headers = {"Content-Type": "application/json", **signer.call(called)}
            reply = requests.post(server.base + path, data=order, headers=headers, timeout=30)
            assert reply.status_code == status


@pytest.mark.threat("open-by-mistake")
def test_every_address_of_the_machine_is_refused_until_it_is_said_aloud(
    tmp_path: Path, clients_file: Path
) -> None:
    settings = {
        "host": "0.0.0.0",
        "clients_file": clients_file,
        "public_url": "https://covercard.example.org",
    }
    said = refused_start(tmp_path, **settings)
    assert "COVERCARD_HOST: every address of this machine, without TLS" in said
    assert "to accept it: all-addresses in COVERCARD_ACCEPTED_RISKS" in said
    with running(tmp_path, **settings, accepted_risks="all-addresses") as server:
        (warning, *_) = server.told("RISK ACCEPTED")
        assert warning["risk"] == "all-addresses"
        assert warning["level"] == "warning"


def test_workers_answer_by_the_library_that_the_server_read(tmp_path: Path) -> None:
    """It is read once; a worker that takes another's place does not answer by other policies."""
    library = shutil.copytree(ROOT / "examples" / "policies", tmp_path / "policies")
    with running(tmp_path, policies_dir=library) as server:
        before = server.get("/policies/lumbar-mri.json").json()
        shutil.rmtree(library / "lumbar-mri")
        (dead,) = workers_of(server.process.pid)
        os.kill(dead, signal.SIGKILL)
        until(lambda: workers_of(server.process.pid) not in ([], [dead]), "another worker came")
        (alive,) = workers_of(server.process.pid)
        assert alive != dead
        until(lambda: asked(server.base + "/livez") == 200, "the new worker answers")
        assert server.get("/policies/lumbar-mri.json").json() == before


@pytest.mark.threat("files-at-rest")
@pytest.mark.parametrize("name", ["covercard.sqlite3", "records"])
def test_a_link_in_the_place_of_the_log_stops_the_start(tmp_path: Path, name: str) -> None:
    """What it leads to is another's, or will be."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    folder = tmp_path / "var"
    folder.mkdir(mode=0o700)
    (folder / name).symlink_to(elsewhere if name == "records" else elsewhere / "log.sqlite3")
    said = refused_start(
        tmp_path,
        database_url=f"sqlite:///{folder}/covercard.sqlite3",
        records_dir=folder / "records",
    )
    assert f"{folder / name}: is a link" in said
    assert list(elsewhere.iterdir()) == []


def missing(key: Path) -> str:
    return f"COVERCARD_RECORDS_KEY_FILE: {key}: there is no such key file; bring back the copy"


def short(key: Path) -> str:
    private(key, b"short")
    return f"{key}: expected a key of at least 16 bytes"


def open_to_others(key: Path) -> str:
    private(key, b"k" * 64)
    key.chmod(0o644)
    return f"{key}: others can read the key; run `chmod 600 {key}`"


def a_folder(key: Path) -> str:
    key.mkdir()
    return f"{key}: is no regular file; move it away"


def private(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    file.chmod(0o600)


@pytest.mark.threat("files-at-rest")
@pytest.mark.parametrize("wrong", [missing, short, open_to_others, a_folder])
def test_a_key_of_the_records_that_cannot_be_had_stops_the_start(
    tmp_path: Path, wrong: Callable[[Path], str]
) -> None:
    """Else each call would be refused, for its record could not be authenticated."""
    key = tmp_path / "key"
    why = wrong(key)
    assert why in refused_start(tmp_path, records_key_file=key)


@pytest.mark.threat("files-at-rest")
def test_a_key_in_the_folder_of_the_records_that_is_empty_stops_the_start(tmp_path: Path) -> None:
    records = tmp_path / "records"
    records.mkdir(mode=0o700)
    private(records / "chain.key", b"")
    said = refused_start(tmp_path, records_dir=records)
    assert f"{records / 'chain.key'}: expected a key" in said


def test_while_the_key_of_the_records_cannot_be_had_the_service_is_failing_and_says_why(
    tmp_path: Path,
) -> None:
    records = tmp_path / "records"
    with running(tmp_path, records_dir=records, workers=1) as server:
        key = records / "chain.key"
        key.chmod(0o644)
        (worker,) = workers_of(server.process.pid)
        os.kill(worker, signal.SIGKILL)
        until(lambda: asked(server.base + "/readyz") == 503, "it is failing")
        assert server.says(f"{key}: others can read the key; run `chmod 600 {key}`")
        key.chmod(0o600)
        until(lambda: asked(server.base + "/readyz") == 200, "it has recovered")


@pytest.fixture
def an_open_place() -> Iterator[Path]:
    """A folder that every user reaches: pytest's own is for whoever runs the tests."""
    with tempfile.TemporaryDirectory() as place:
        yield Path(place)


def asked(url: str) -> int | None:
    """The status of the answer; None without one, as while the worker is begun again."""
    with contextlib.suppress(requests.RequestException):
        return requests.get(url, timeout=30).status_code
    return None


@pytest.mark.threat("files-at-rest")
@pytest.mark.parametrize("name", ["chain.key", "drain.lock", f"{1:020d}-{1:016x}-{1:06d}.segment"])
def test_a_file_of_the_records_that_the_service_may_not_read_stops_the_start(
    an_open_place: Path, name: str
) -> None:
    """As after a copy that root has made."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root gives files to others")
    records = an_open_place / "records"
    records.mkdir(mode=0o700)
    private(records / name, b"k" * 64)
    for folder in (an_open_place, records):
        os.chown(folder, 65534, 65534)
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    if subprocess.run([*nobody, *SERVE, "--help"], capture_output=True).returncode != 0:
        pytest.skip("the program cannot be read by another user here")
    done = subprocess.run(
        [*nobody, *SERVE],
        cwd=an_open_place,
        env=environment({"records_dir": records, "port": free_port()}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert f"{records / name}: permission denied: run it as the user" in done.stderr


def test_a_folder_of_records_that_cannot_be_is_named_once_and_not_each_second(
    tmp_path: Path,
) -> None:
    place = tmp_path / "records"
    place.write_text("", "utf-8")
    with running(tmp_path, records_dir=place, workers=1) as server:
        until(lambda: server.lines("records cannot be drained"), "it is told")
        time.sleep(3.5)  # it tries again each second
        assert server.get("/readyz").status_code == 503
        told = [line["reason"] for line in server.lines("records cannot be drained")]
    assert told == [f"{place}: not a directory: check the name"]


def test_two_services_that_share_a_folder_of_records_are_warned_of(tmp_path: Path) -> None:
    records = tmp_path / "records"
    warning = "another service has this folder of records: each needs its own"
    with running(tmp_path, records_dir=records) as first:
        other = tmp_path / "other"
        other.mkdir()
        with running(other, records_dir=records, port=free_port()) as second:
            (line,) = second.told(warning)
            assert line["process"] == first.process.pid
            port = first.base.rpartition(":")[2]
            assert line["file"] == str(records / f"server-{port}.json")
    with running(tmp_path, records_dir=records) as alone:
        assert alone.lines(warning) == []


@pytest.mark.threat("files-at-rest")
def test_files_that_others_may_read_are_closed_at_the_start(tmp_path: Path) -> None:
    records = tmp_path / "records"
    records.mkdir()
    records.chmod(0o755)
    segment = records / f"{1:020d}-{1:016x}-{1:06d}.segment"
    database = tmp_path / "covercard.sqlite3"
    for file in (segment, database):
        file.touch()
        file.chmod(0o644)
    with running(tmp_path, database_url=f"sqlite:///{database}", records_dir=records) as server:
        server.told("a file was open to other users and is closed now", 3)
    assert [p.stat().st_mode & 0o777 for p in (records, segment, database)] == [
        0o700,
        0o600,
        0o600,
    ]
