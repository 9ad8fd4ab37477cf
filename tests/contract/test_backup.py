"""covercard db backup, restore and check: whole, beside a running service, never over anything."""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from flask.testing import FlaskClient
from sqlalchemy import Engine, event

from service.bootstrap.app import RECORDER, create_app
from service.cli import cli
from service.database import backup
from service.database.engines import database_file
from service.decision_log.log_revision import DECISION_LOG
from service.decision_log.opening import open_recorder
from service.decision_log.recorder import Recorder, RecordsPlace
from service.errors import ConfigurationError, CovercardError, StoreUnavailable
from service.settings import Settings
from tests.conftest import in_folder, settle
from tests.later_version import LATER, migrated
from tests.unit.decision_log.builders import call

Read = Callable[[str], dict[str, Any]]
Run = Callable[..., Result]
URL = "/cds-services/order-sign-crd"


@pytest.fixture
def own(tmp_path: Path) -> Settings:
    return in_folder(tmp_path / "var")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Settings:
    """The settings of another machine, where nothing is yet."""
    return in_folder(tmp_path / "elsewhere")


@pytest.fixture
def http(own: Settings) -> Iterator[FlaskClient]:
    app = create_app(own)
    yield app.test_client()
    app.extensions[RECORDER].stop()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command of `covercard db` with the database and records of some settings."""

    def invoke(settings: Settings, *arguments: str | Path) -> Result:
        monkeypatch.setenv("COVERCARD_DATABASE_URL", settings.database_url)
        monkeypatch.setenv("COVERCARD_RECORDS_DIR", str(settings.records_dir))
        return CliRunner().invoke(cli, ["db", *map(str, arguments)])

    return invoke


def refused(result: Result) -> str:
    """Why an operator's command was refused."""
    assert isinstance(result.exception, ConfigurationError), result.output
    return str(result.exception)


def call_ids(settings: Settings) -> list[str]:
    with sqlite3.connect(database_file(settings.database_url)) as log:
        found = [str(row[0]) for row in log.execute("SELECT call_id FROM call ORDER BY call_id")]
    log.close()
    return found


def test_a_backup_beside_a_running_service_has_every_call_that_was_answered_before(
    run: Run,
    http: FlaskClient,
    fixture_today: Read,
    own: Settings,
    elsewhere: Settings,
    tmp_path: Path,
) -> None:
    request = fixture_today("order-sign/mrs-medicare-advantage")
    answered = [http.post(URL, json=request).headers["Covercard-Call"] for _ in range(5)]
    settle(http)  # the database is there
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            http.post(URL, json=request)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        made = [run(own, "backup", tmp_path / f"backup-{n}") for n in range(3)]
    finally:
        over.set()
        asking.join()
    assert [m.exit_code for m in made] == [0, 0, 0]
    assert run(elsewhere, "restore", tmp_path / "backup-2").exit_code == 0
    drain(elsewhere)
    restored = call_ids(elsewhere)
    assert set(answered) <= set(restored)
    assert len(restored) == len(set(restored))
    sound = run(elsewhere, "check")
    assert sound.exit_code == 0
    assert f"call             {len(restored)} rows" in sound.output
    assert "the database is sound" in sound.output


@pytest.mark.threat("files-at-rest")
def test_a_backup_is_for_its_owner_only_and_whole_without_other_files(
    run: Run, http: FlaskClient, fixture_today: Read, own: Settings, tmp_path: Path
) -> None:
    http.post(URL, json=fixture_today("order-sign/mrs-medicare-advantage"))
    settle(http)
    folder = tmp_path / "backup"
    assert run(own, "backup", folder).exit_code == 0
    assert folder.stat().st_mode & 0o777 == 0o700
    files = [p for p in folder.rglob("*") if p.is_file()]
    assert {p.stat().st_mode & 0o777 for p in files} == {0o600}
    assert {p.name for p in files} >= {"manifest.json", "database.sqlite3"}
    assert not [p for p in files if p.name.endswith(("-wal", "-shm", "-journal"))]
    with sqlite3.connect(f"file:{folder}/database.sqlite3?immutable=1", uri=True) as copy:
        assert copy.execute("SELECT count(*) FROM call").fetchone() == (1,)
    copy.close()


def test_a_backup_that_fails_leaves_nothing_of_its_name(
    run: Run,
    http: FlaskClient,
    fixture_today: Read,
    own: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    http.post(URL, json=fixture_today("order-sign/mrs-medicare-advantage"))
    settle(http)
    monkeypatch.setattr(backup, "unsound_sqlite", lambda _: "a page is missing")
    before = sorted(tmp_path.iterdir())
    assert "its copy is not sound (a page is missing)" in refused(
        run(own, "backup", tmp_path / "backup")
    )
    assert sorted(tmp_path.iterdir()) == before


def test_a_backup_never_goes_over_anything(
    run: Run, http: FlaskClient, fixture_today: Read, own: Settings, tmp_path: Path
) -> None:
    http.post(URL, json=fixture_today("order-sign/mrs-medicare-advantage"))
    settle(http)
    assert run(own, "backup", tmp_path / "backup").exit_code == 0
    manifest = (tmp_path / "backup" / "manifest.json").read_bytes()
    assert "name a new folder" in refused(run(own, "backup", tmp_path / "backup"))
    assert (tmp_path / "backup" / "manifest.json").read_bytes() == manifest


def test_where_there_is_no_database_there_is_no_backup(
    run: Run, own: Settings, tmp_path: Path
) -> None:
    failed = run(own, "backup", tmp_path / "backup")
    assert isinstance(failed.exception, CovercardError)
    assert "there is no database" in str(failed.exception)
    assert not (tmp_path / "backup").exists()
    assert run(own, "check").exit_code == 1


def test_records_that_wait_in_their_segment_are_in_the_backup_and_come_into_the_rows_once(
    run: Run, http: FlaskClient, made: Path, own: Settings, elsewhere: Settings, tmp_path: Path
) -> None:
    http.application.extensions[RECORDER].stop()
    waiting = [call(assertion_id=f"cc-waiting-{n}") for n in range(3)]
    recorder = Recorder(unreachable, lambda: None, RecordsPlace(own.records_dir))
    for record in waiting:
        recorder.record(record)
    recorder.stop()
    assert not {r.id for r in waiting} & set(call_ids(own))
    assert run(own, "backup", tmp_path / "later").exit_code == 0
    assert run(elsewhere, "restore", tmp_path / "later").exit_code == 0
    for _ in range(2):
        drain(elsewhere)
        restored = call_ids(elsewhere)
        assert sorted(restored) == sorted({*call_ids(own), *(r.id for r in waiting)})


def drain(settings: Settings) -> None:
    """Move what waits to the rows, as a service does that is started."""
    recorder = open_recorder(settings.database_url, RecordsPlace(settings.records_dir))
    recorder.start()
    assert recorder.settle(60)
    assert recorder.health().lost == 0
    recorder.stop()


class Unreachable:
    """A database that is away."""

    def __getattr__(self, _: str) -> Callable[..., None]:
        def fail(*_: object, **__: object) -> None:
            raise StoreUnavailable("away")

        return fail

    def interrupt(self) -> None: ...

    def close(self) -> None: ...


def unreachable() -> Any:
    return Unreachable()


@pytest.fixture
def made(run: Run, http: FlaskClient, fixture_today: Read, own: Settings, tmp_path: Path) -> Path:
    """A backup of a log with one call."""
    http.post(URL, json=fixture_today("order-sign/mrs-medicare-advantage"))
    settle(http)
    assert run(own, "backup", tmp_path / "backup").exit_code == 0
    return tmp_path / "backup"


@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
def test_what_another_database_left_is_not_played_into_the_restored_one(
    run: Run, made: Path, elsewhere: Settings, suffix: str
) -> None:
    file = database_file(elsewhere.database_url)
    file.parent.mkdir()
    (file.parent / f"{file.name}{suffix}").write_bytes(b"pages of another database")
    told = refused(run(elsewhere, "restore", made))
    assert "was left by another database" in told
    assert f"{file.name}{suffix}" in told
    assert not file.exists()


def test_nothing_that_is_there_is_restored_over(
    run: Run, made: Path, own: Settings, elsewhere: Settings
) -> None:
    assert "is there already" in refused(run(own, "restore", made))
    assert len(call_ids(own)) == 1
    elsewhere.records_dir.mkdir(parents=True)
    (elsewhere.records_dir / "1.segment").write_bytes(b"a record that waits")
    assert "holds records already (1.segment)" in refused(run(elsewhere, "restore", made))
    assert not database_file(elsewhere.database_url).exists()


def test_a_restore_that_was_cut_off_can_be_run_again(
    run: Run, made: Path, own: Settings, elsewhere: Settings
) -> None:
    """The database has its name last; what was copied before it is taken for what it is."""
    elsewhere.records_dir.mkdir(parents=True, mode=0o700)
    copies = [file for file in (made / "records").iterdir() if file.is_file()]
    assert copies
    for file in copies:
        shutil.copy(file, elsewhere.records_dir)
    restored = run(elsewhere, "restore", made)
    assert restored.exit_code == 0, restored.output
    assert call_ids(elsewhere) == call_ids(own)


def _shorter(made: Path) -> None:
    file = made / "database.sqlite3"
    file.write_bytes(file.read_bytes()[:-512])


def _with_a_wal(made: Path) -> None:
    (made / "database.sqlite3-wal").write_bytes(b"")


def _newer(made: Path) -> None:
    manifest = json.loads((made / "manifest.json").read_text())
    manifest["revisions"]["alembic_version"] = "9999"
    manifest["usable_from"]["alembic_version"] = "9999"
    (made / "manifest.json").write_text(json.dumps(manifest))


def test_a_backup_of_later_tables_that_serve_this_version_is_restored(
    run: Run, own: Settings, elsewhere: Settings, tmp_path: Path
) -> None:
    migrated(
        own.database_url,
        tmp_path / "later",
        DECISION_LOG,
        "call",
        usable_from=DECISION_LOG.revision,
    )
    assert run(own, "backup", tmp_path / "of-later").exit_code == 0
    restored = run(elsewhere, "restore", tmp_path / "of-later")
    assert restored.exit_code == 0, restored.output
    assert run(elsewhere, "check").exit_code == 0
    assert f"at {LATER}" in run(elsewhere, "upgrade").output


def test_a_backup_of_a_version_that_did_not_tell_whom_its_tables_serve_is_restored(
    run: Run, made: Path, elsewhere: Settings
) -> None:
    manifest = json.loads((made / "manifest.json").read_text())
    del manifest["usable_from"]
    (made / "manifest.json").write_text(json.dumps(manifest))
    assert run(elsewhere, "restore", made).exit_code == 0


def _of_postgres(made: Path) -> None:
    manifest = json.loads((made / "manifest.json").read_text())
    (made / "manifest.json").write_text(json.dumps({**manifest, "database": "postgresql"}))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_shorter, "not as the backup wrote it"),
        (lambda made: (made / "database.sqlite3").unlink(), "is missing"),
        (lambda made: (made / "manifest.json").unlink(), "is no backup"),
        (_with_a_wal, "the backup was opened as a database"),
        (_newer, "at 9999, newer than this version's"),
        (_of_postgres, "is of postgresql, and COVERCARD_DATABASE_URL names sqlite"),
    ],
)
def test_a_backup_that_is_not_whole_or_not_for_this_is_not_restored(
    run: Run, made: Path, elsewhere: Settings, change: Callable[[Path], object], told: str
) -> None:
    change(made)
    assert told in refused(run(elsewhere, "restore", made))
    assert not database_file(elsewhere.database_url).exists()
    assert not elsewhere.records_dir.exists()


def test_a_check_tells_what_is_wrong(run: Run, made: Path, own: Settings) -> None:
    file = database_file(own.database_url)
    with sqlite3.connect(file) as log:
        log.execute("DELETE FROM call")
    log.close()
    found = run(own, "check")
    assert found.exit_code == 1
    assert "1 rows of determination are of calls that are not there" in found.output
    assert "2 rows of card are of calls that are not there" in found.output
    with sqlite3.connect(file) as log:
        log.execute("UPDATE alembic_version SET version_num = '0001'")
    log.close()
    assert "the tables of alembic_version are at 0001" in run(own, "check").output


def test_a_check_of_what_is_not_this_programs_says_so(run: Run, own: Settings) -> None:
    file = database_file(own.database_url)
    file.parent.mkdir(mode=0o700)
    file.touch(mode=0o600)
    found = run(own, "check")
    assert found.exit_code == 1
    assert "it has no tables of this program: correct COVERCARD_DATABASE_URL" in found.output


@pytest.mark.parametrize("left", ["the tables of it all", "a table of the name"])
def test_tables_without_a_revision_are_told_with_what_to_do(
    run: Run, own: Settings, left: str
) -> None:
    file = database_file(own.database_url)
    if left == "a table of the name":
        file.parent.mkdir(mode=0o700)
        file.touch(mode=0o600)
    else:
        assert run(own, "upgrade").exit_code == 0
    with sqlite3.connect(file) as log:
        if left == "a table of the name":
            log.execute("CREATE TABLE call (of_another_program INTEGER)")
        else:
            log.execute("DELETE FROM alembic_version")
    log.close()
    told = refused(run(own, "upgrade"))
    assert f"{file}: has tables of these names, and no revision of this program" in told
    assert "name another database, or move this one away" in told
    checked = run(own, "check")
    assert checked.exit_code == 1
    assert "no revision of this program" in checked.output or "no tables of" in checked.output


def test_tables_that_are_not_at_the_revision_that_they_tell_are_told(
    run: Run, own: Settings
) -> None:
    """As a version left them whose upgrade was cut off between two statements."""
    assert run(own, "upgrade").exit_code == 0
    with sqlite3.connect(database_file(own.database_url)) as log:
        log.execute("UPDATE alembic_version SET version_num = '0006'")
    log.close()
    assert "says that its tables are at 0006, and they are not" in refused(run(own, "upgrade"))


def test_a_check_finds_a_database_that_cannot_be_written(
    run: Run, made: Path, own: Settings
) -> None:
    def read_only(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA query_only = ON")

    event.listen(Engine, "connect", read_only)
    try:
        found = run(own, "check")
    finally:
        event.remove(Engine, "connect", read_only)
    assert found.exit_code == 1
    assert "it cannot be written to" in found.output


def test_a_check_finds_a_damaged_page(run: Run, made: Path, elsewhere: Settings) -> None:
    run(elsewhere, "restore", made)
    file = database_file(elsewhere.database_url)
    data = bytearray(file.read_bytes())
    for page in range(2, len(data) // 4096):
        data[page * 4096 : page * 4096 + 8] = b"\xff" * 8
    file.write_bytes(bytes(data))
    found = run(elsewhere, "check")
    assert found.exit_code in (1, 3)
    assert "sound" not in found.output.replace("unsound", "")
