"""covercard decisions export into files: whole or not there, and a Parquet file for each day."""

from __future__ import annotations

import json
import re
import sqlite3
import sys
import tomllib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner, Result
from flask.testing import FlaskClient

from service.bootstrap.app import RECORDER, create_app
from service.cli import cli
from service.cli.decisions import log_shapes
from service.cli.decisions.export import whole_days
from service.database.engines import database_file
from service.decision_log import queries
from service.decision_log.instants import new_call_id
from service.errors import ConfigurationError
from service.settings import Settings
from tests.conftest import ROOT, in_folder, settle

Read = Callable[[str], dict[str, Any]]
URL = "/cds-services/order-sign-crd"
MISSING = "SKIPPED LOUDLY: pyarrow is not installed (pip install -r requirements-parquet.lock)"


@pytest.fixture
def own(tmp_path: Path) -> Settings:
    return in_folder(tmp_path / "var")


@pytest.fixture
def http(own: Settings) -> Iterator[FlaskClient]:
    app = create_app(own)
    yield app.test_client()
    app.extensions[RECORDER].stop()


@pytest.fixture
def run(own: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("COVERCARD_DATABASE_URL", own.database_url)
    monkeypatch.setenv("COVERCARD_RECORDS_DIR", str(own.records_dir))
    monkeypatch.setenv("COVERCARD_TIME_ZONE", "America/Denver")

    def invoke(*arguments: str | Path) -> Result:
        return CliRunner().invoke(cli, ["decisions", "export", *map(str, arguments)])

    return invoke


Run = Callable[..., Result]
DAYS = [datetime(2026, 3, d, 6, 30, tzinfo=UTC) for d in (1, 2, 3)]
"""Half past midnight in Denver would be 07:30: these are of the day before there."""


@pytest.fixture
def logged(http: FlaskClient, fixture: Read, own: Settings) -> list[str]:
    """The ids of a call on each of three days, each with two orders, and of a refused one."""
    http.post(URL, json=fixture("order-sign/mrs-and-unrelated-mri"))
    http.post(URL, json={"hook": "nonsense"})
    settle(http)
    ids = [new_call_id(at) for at in (*DAYS, DAYS[2] + timedelta(minutes=1))]
    with sqlite3.connect(database_file(own.database_url)) as log:
        log.execute("CREATE TEMP TABLE c AS SELECT * FROM call")
        log.execute("CREATE TEMP TABLE d AS SELECT * FROM determination")
        log.execute("DELETE FROM call")
        log.execute("DELETE FROM determination")
        for id, at in zip(ids, (*DAYS, DAYS[2]), strict=True):
            status = 200 if id != ids[-1] else 422
            log.execute("UPDATE c SET call_id = ?, received_at = ?", [id, at.timestamp() * 1e6])
            log.execute("INSERT INTO call SELECT * FROM c WHERE status = ?", [status])
            if status == 200:
                log.execute("UPDATE d SET call_id = ?", [id])
                log.execute("INSERT INTO determination SELECT * FROM d")
    log.close()
    return ids


# Whole files -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["csv", "ndjson", "metrics-ndjson"])
def test_an_export_that_breaks_off_leaves_what_was_there(
    run: Run, logged: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    file = tmp_path / "exports" / "log"
    assert run("--format", kind, "--output", file).exit_code == 0
    assert file.stat().st_mode & 0o777 == 0o600
    whole = file.read_bytes()
    assert whole
    looked_up = iter([[]])

    def breaks_off(*_: object) -> list[Any]:
        return next(looked_up)  # for the first call only

    monkeypatch.setattr(queries, "feedback_on", breaks_off)
    assert run("--format", kind, "--output", file).exception is not None
    assert file.read_bytes() == whole
    assert [p.name for p in file.parent.iterdir()] == ["log"]
    assert run("--format", kind, "--output", file.parent / "another").exception is not None
    assert [p.name for p in file.parent.iterdir()] == ["log"]


@pytest.mark.threat("files-at-rest")
def test_an_export_follows_no_link(run: Run, logged: list[str], tmp_path: Path) -> None:
    (tmp_path / "other").write_text("another's")
    (tmp_path / "log").symlink_to(tmp_path / "other")
    assert run("--output", tmp_path / "log").exit_code == 0
    assert (tmp_path / "other").read_text() == "another's"
    assert not (tmp_path / "log").is_symlink()


def test_an_output_that_cannot_be_is_told(run: Run, logged: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    below = run("--output", tmp_path / "file" / "log")
    assert below.exit_code == 1
    assert (
        f"cannot be written: {tmp_path}/file/log: not a directory: check the name" in below.output
    )
    folder = run("--output", tmp_path)
    assert folder.exit_code == 2
    assert "is a folder; name a file" in folder.output


# Parquet -----------------------------------------------------------------------------------------


def test_parquet_needs_a_folder_and_its_package(
    run: Run, logged: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = run("--format", "parquet")
    assert nowhere.exit_code == 2
    assert "name their folder with --output" in nowhere.output
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    without = run("--format", "parquet", "--output", tmp_path / "days")
    assert isinstance(without.exception, ConfigurationError)
    assert "pip install 'covercard[parquet]'" in str(without.exception)


def test_the_default_installation_does_not_get_it_and_its_own_lock_has_hashes() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    (wanted,) = project["optional-dependencies"]["parquet"]
    assert wanted.startswith("pyarrow>=")
    for lock in ("requirements.lock", "requirements-dev.lock"):
        assert "pyarrow" not in (ROOT / lock).read_text("utf-8")
    locked = (ROOT / "requirements-parquet.lock").read_text("utf-8")
    assert re.findall(r"^([\w-]+)==[\d.]+ \\$", locked, flags=re.MULTILINE) == ["pyarrow"]
    assert len(re.findall(r"--hash=sha256:[0-9a-f]{64}", locked)) > 10
    assert "://" not in locked


def test_each_day_of_the_time_zone_is_a_file_with_the_rows_of_the_csv(
    run: Run, logged: list[str], tmp_path: Path
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason=MISSING)
    folder = tmp_path / "days"
    made = run("--format", "parquet", "--output", folder)
    assert made.exit_code == 0, made.output
    names = ["2026-02-28", "2026-03-01", "2026-03-02"]
    files = [folder / f"decisions-{name}.parquet" for name in names]
    assert sorted(folder.iterdir()) == files
    assert {f.stat().st_mode & 0o777 for f in files} == {0o600}
    tables = [parquet.read_table(f) for f in files]
    assert [t.num_rows for t in tables] == [2, 2, 3]
    assert len({str(t.schema) for t in tables}) == 1
    rows = [row for table in tables for row in table.to_pylist()]
    assert [row["call_id"] for row in rows] == [
        id for id, n in zip(logged, (2, 2, 2, 1), strict=True) for _ in range(n)
    ]
    assert rows[0]["received_at"] == DAYS[0]
    (mrs,) = (row for row in rows[:2] if row["codes"] == ["http://www.ama-assn.org/go/cpt|76390"])
    assert (mrs["covered"], mrs["stated"]) == ("not-covered", True)
    assert (rows[-1]["status"], rows[-1]["covered"], rows[-1]["codes"]) == (422, None, None)
    columns = {*log_shapes.COLUMNS}
    assert set(tables[0].column_names) == columns


def test_a_day_is_written_again_as_a_whole_whatever_span_is_asked_for(
    run: Run, logged: list[str], tmp_path: Path
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason=MISSING)
    folder = tmp_path / "days"
    noon = "2026-03-01T12:00:00-07:00"
    made = run("--format", "parquet", "--output", folder, "--since", noon, "--until", noon)
    assert made.exit_code == 0, made.output
    (file,) = folder.iterdir()
    assert file.name == "decisions-2026-03-01.parquet"
    assert parquet.read_table(file).num_rows == 2
    assert run("--format", "parquet", "--output", folder).exit_code == 0
    assert len(list(folder.iterdir())) == 3
    assert parquet.read_table(file).num_rows == 2


@pytest.mark.parametrize(
    ("until", "end"),
    [
        # 25 hours from midnight to midnight: half an hour after its begin is of that day.
        ("2026-11-01T06:30:00+00:00", "2026-11-02T07:00:00+00:00"),
        # 23 hours: half an hour before its begin is of the day before.
        ("2026-03-08T06:30:00+00:00", "2026-03-08T07:00:00+00:00"),
        ("2026-03-08T07:00:00+00:00", "2026-03-08T07:00:00+00:00"),
        ("2026-03-08T07:00:01+00:00", "2026-03-09T06:00:00+00:00"),
        ("2028-02-29T07:00:01+00:00", "2028-03-01T07:00:00+00:00"),
        ("2027-01-01T06:59:59+00:00", "2027-01-01T07:00:00+00:00"),
    ],
)
def test_a_day_is_whole_also_where_the_clocks_change(until: str, end: str) -> None:
    span = queries.TimeSpan(None, datetime.fromisoformat(until))
    whole = whole_days(span, ZoneInfo("America/Denver"))
    assert whole == queries.TimeSpan(None, datetime.fromisoformat(end))


@pytest.mark.parametrize("option", ["--since", "--until"])
@pytest.mark.parametrize(
    "moment", ["9999-12-31", "9999-12-31T23:59-12:00", "0001-01-01", "0001-01-01T00:00+14:00"]
)
def test_a_moment_at_the_end_of_the_calendar_is_refused_and_named(
    run: Run, option: str, moment: str
) -> None:
    refused = run(option, moment)
    assert refused.exit_code == 2
    assert "is of no year from 1900 to 9998" in refused.output


def test_other_formats_are_as_before(run: Run, logged: list[str]) -> None:
    lines = run("--format", "ndjson").output.splitlines()
    assert [json.loads(line)["call_id"] for line in lines] == logged
