"""Whatever is wrong where it runs: a command and the start say what, where and what next.

None of them shows a traceback or the program's lines, and none ends with exit code 0.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from service.bootstrap.app import RECORDER, create_app
from tests.conftest import FIXTURES, ROOT, fixture_text_today, in_folder, settle
from tests.e2e.servers import free_port

COVERCARD = [sys.executable, "-c", "from service.cli import main; main()"]
READING = {
    "find": ["decisions", "find", "--patient", "ann"],
    "export": ["decisions", "export"],
}
WRITING = {"upgrade": ["db", "upgrade"], "backup": ["db", "backup", "{folder}/backup"]}
START = {"start": ["serve"]}
COMMANDS = {**READING, **WRITING}
EACH = {**COMMANDS, **START}
PASSWORD = "opensesame"


def environment(folder: Path, **settings: str) -> dict[str, str]:
    told = {
        "database_url": f"sqlite:///{folder}/covercard.sqlite3",
        "records_dir": str(folder / "records"),
        "payer_data": "",
        "workers": "1",
        "port": str(free_port()),
        **settings,
    }
    kept = {k: v for k, v in os.environ.items() if not k.startswith("COVERCARD_")}
    return kept | {f"COVERCARD_{name.upper()}": value for name, value in told.items()}


def run(command: list[str], folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    words = [word.format(folder=folder) for word in command]
    return subprocess.run(
        [*COVERCARD, *words],
        cwd=ROOT,
        env=environment(folder, **settings),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def complaint(done: subprocess.CompletedProcess[str], code: int | None = None) -> str:
    """What a command that failed has said, which is for operators and not for programmers."""
    said = done.stdout + done.stderr
    assert done.returncode == code if code is not None else done.returncode != 0, said
    for word in ("Traceback", "unexpected", 'File "', PASSWORD, "Value error"):
        assert word not in said
    return done.stderr


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("covercard.sqlite3", "must begin with sqlite:/// or postgresql+psycopg://"),
        (f"mysql://covercard:{PASSWORD}@db/covercard", "must begin with sqlite:/// or postgresql"),
        *(
            (url, "names no file: write sqlite:///FILE")
            for url in (
                "sqlite:///",
                "sqlite:////",
                "sqlite:///./",
                "sqlite:///:memory:",
                "sqlite:///file:log?mode=memory&uri=true",
                "sqlite:///log.sqlite3?mode=ro",
            )
        ),
        ("sqlite:///log.sqlite3\n", "holds a line break"),
        (f"postgresql+psycopg://covercard:{PASSWORD}@h/x\n", "holds a line break"),
        (f"postgresql+psycopg://covercard:{PASSWORD}@h:port/x", "cannot be read as user:password"),
    ],
)
@pytest.mark.parametrize("name", EACH)
def test_a_bad_database_url_is_named_with_its_right_form(
    name: str, url: str, says: str, tmp_path: Path
) -> None:
    said = complaint(run(EACH[name], tmp_path, database_url=url), 2)
    assert f"COVERCARD_DATABASE_URL: {says}" in said


def test_a_bad_url_of_the_replica_is_named_without_its_password(tmp_path: Path) -> None:
    url = f"postgresql+psycopg://covercard:one/{PASSWORD}@h/x"
    said = complaint(run(READING["find"], tmp_path, read_database_url=url), 2)
    assert "COVERCARD_READ_DATABASE_URL: cannot be read as user:password@host:port/name" in said


def test_a_replica_that_does_not_answer_is_named_with_what_to_do(
    made: Path, tmp_path: Path
) -> None:
    url = f"postgresql+psycopg://covercard:{PASSWORD}@127.0.0.1:9/covercard"
    said = complaint(run(READING["find"], tmp_path, read_database_url=url), 3)
    assert "nothing listens there" in said
    assert "start it, or correct COVERCARD_READ_DATABASE_URL" in said


@pytest.mark.parametrize("host", ["x" * 64, ".."])
def test_a_listening_name_that_is_none_is_named(host: str, tmp_path: Path) -> None:
    said = complaint(run(START["start"], tmp_path, host=host), 2)
    assert f"COVERCARD_HOST: {host} is neither an address nor the name of a host" in said


@pytest.mark.parametrize("name", [*COMMANDS, "grant"])
def test_a_database_that_does_not_answer_is_named_with_what_to_do(
    name: str, tmp_path: Path
) -> None:
    if name == "backup" and shutil.which("pg_dump") is None:
        pytest.skip("pg_dump is not installed here")
    url = f"postgresql+psycopg://covercard:{PASSWORD}@127.0.0.1:9/covercard"
    command = {**COMMANDS, "grant": ["db", "grant", "serving"]}[name]
    said = complaint(run(command, tmp_path, database_url=url), 3)
    if name != "backup":
        assert "nothing listens there" in said
    assert "start it, or correct COVERCARD_DATABASE_URL" in said


@pytest.mark.parametrize("name", EACH)
def test_a_folder_in_the_place_of_the_database_is_named(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "there"
    folder.mkdir()
    done = run(EACH[name], tmp_path, database_url=f"sqlite:///{folder}")
    said = complaint(done)
    assert str(folder) in said


@pytest.mark.parametrize(
    ("days", "says"),
    [
        ("29", "Input should be greater than or equal to 30"),
        ("36526", "Input should be less than or equal to 36525"),
        ("9" * 30, "Input should be less than or equal to 36525"),
    ],
)
@pytest.mark.parametrize("name", ["find", "start"])
def test_a_retention_out_of_range_is_named_with_the_range(
    name: str, days: str, says: str, tmp_path: Path
) -> None:
    done = run(EACH[name], tmp_path, retention_days=days)
    assert f"COVERCARD_RETENTION_DAYS: {says}" in complaint(done, 2)


@pytest.mark.parametrize("option", ["--older-than", "--since"])
def test_an_age_above_a_century_is_refused(option: str, tmp_path: Path) -> None:
    command = ["decisions", "prune" if option == "--older-than" else "export", option, "999999y"]
    assert "is more than 100y" in complaint(run(command, tmp_path), 2)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A database with its tables."""
    assert run(["db", "upgrade"], tmp_path).returncode == 0
    return tmp_path / "covercard.sqlite3"


@pytest.mark.parametrize("name", [*READING, "upgrade", "start"])
def test_a_newer_database_asks_for_the_newer_version(name: str, made: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(made)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '9999', usable_from = '9999'")
    said = complaint(run(EACH[name], tmp_path))
    assert "are at 9999, newer than this version's" in said
    assert "run the newer version" in said
    with closing(sqlite3.connect(made)) as database:
        ((kept,),) = database.execute("SELECT version_num FROM alembic_version")
    assert kept == "9999"


@pytest.mark.parametrize("damage", ["another file", "a page of it"])
@pytest.mark.parametrize("name", EACH)
def test_a_damaged_database_is_named_and_kept(
    name: str, damage: str, made: Path, tmp_path: Path
) -> None:
    content = bytearray(made.read_bytes())
    if damage == "another file":
        content[:100] = b"x" * 100
    else:
        content[100 : 2 * 4096] = b"\xff" * (2 * 4096 - 100)
    made.write_bytes(content)
    for beside in tmp_path.glob("covercard.sqlite3-*"):
        beside.unlink()
    said = complaint(run(EACH[name], tmp_path))
    assert str(made) in said
    assert "is no SQLite database, or is damaged: keep it" in said
    assert "covercard db restore" in said
    assert made.read_bytes() == content


def as_nobody(command: list[str]) -> list[str]:
    """The command as a user who owns nothing; root may do everything."""
    if os.geteuid() != 0:
        return command
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed here: rights cannot be missing for root")
    return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command]


def readable_by_nobody(folder: Path) -> bool:
    """Whether that user reaches a folder, and the program."""
    program = "import service.cli, os, sys; os.listdir(sys.argv[1])"
    command = as_nobody([sys.executable, "-c", program])
    return subprocess.run([*command, str(folder)], cwd=ROOT, capture_output=True).returncode == 0


@pytest.mark.parametrize("name", EACH)
def test_missing_rights_are_named_with_the_file_and_the_user_to_be(
    name: str, made: Path, tmp_path: Path
) -> None:
    parents = [p for p in made.parents if p.stat().st_uid == os.geteuid()]
    for folder in parents[:-1] if len(parents) > 1 else parents:
        folder.chmod(0o755)
    if os.geteuid() != 0:
        made.chmod(0)
    if not readable_by_nobody(tmp_path):
        pytest.skip("the program cannot be read by another user here")
    command = [word.format(folder=tmp_path) for word in EACH[name]]
    done = subprocess.run(
        as_nobody([*COVERCARD, *command]),
        cwd=ROOT,
        env=environment(tmp_path, records_dir=str(tmp_path / "records")),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    said = complaint(done)
    assert "permission denied" in said
    assert str(tmp_path) in said
    assert "run it as the user that the service runs as" in said


LOOKING = {"check": ["db", "check"], "verify": ["decisions", "verify"]}


@pytest.mark.parametrize("name", [*EACH, *LOOKING])
def test_a_closed_folder_of_the_database_is_named_with_the_user_to_be(
    name: str, tmp_path: Path
) -> None:
    """Whether there is a database in it cannot be told, and is not said."""
    closed, own = tmp_path / "closed", tmp_path / "own"
    (closed / "in").mkdir(parents=True)
    own.mkdir(mode=0o700)
    for folder in [p for p in own.parents if p.stat().st_uid == os.geteuid()][:-1]:
        folder.chmod(0o755)
    if os.geteuid() == 0:
        os.chown(own, 65534, 65534)
    closed.chmod(0)
    if not readable_by_nobody(own):
        pytest.skip("the program cannot be read by another user here")
    command = [word.format(folder=own) for word in {**EACH, **LOOKING}[name]]
    done = subprocess.run(
        as_nobody([*COVERCARD, *command]),
        cwd=ROOT,
        env=environment(own, database_url=f"sqlite:///{closed}/in/covercard.sqlite3"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    closed.chmod(0o700)
    said = complaint(done, 2)
    assert f"{closed}/in" in said
    assert "permission denied: run it as the user that the service runs as" in said


def with_own_mounts(script: str, folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """A shell's script that mounts disks of its own."""
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script],
        cwd=ROOT,
        env=environment(folder, **settings),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip("no disk can be mounted here")
    return done


def with_little_room(folder: Path, command: list[str]) -> subprocess.CompletedProcess[str]:
    """A command in a mount namespace of its own, with a disk of a few pages at FOLDER/full."""
    full = folder / "full"
    full.mkdir()
    words = " ".join(f"'{word}'" for word in [*COVERCARD, *command])
    script = f"mount -t tmpfs -o size=8k,mode=755 tmpfs '{full}' && exec {words}"
    return with_own_mounts(script, folder)


@pytest.fixture
def filled(made: Path, tmp_path: Path) -> Path:
    """A log that is longer than the little disk."""
    app = create_app(in_folder(tmp_path))
    call = fixture_text_today(FIXTURES / "order-sign" / "mrs-medicare-advantage.json")
    client = app.test_client()
    for _ in range(20):
        reply = client.post(
            "/cds-services/order-sign-crd", data=call, content_type="application/json"
        )
        assert reply.status_code == 200
    settle(client)
    app.extensions[RECORDER].stop()
    return made


@pytest.mark.parametrize("kind", ["ndjson", "csv"])
def test_a_full_disk_under_an_export_leaves_no_half_file(
    kind: str, filled: Path, tmp_path: Path
) -> None:
    target = tmp_path / "full" / "log.export"
    command = ["decisions", "export", "--format", kind, "--output", str(target)]
    said = complaint(with_little_room(tmp_path, command), 1)
    assert f"cannot be written: {target}: no space left on device: make room" in said


def test_a_full_disk_under_a_backup_leaves_no_half_backup(filled: Path, tmp_path: Path) -> None:
    target = tmp_path / "full" / "backup"
    said = complaint(with_little_room(tmp_path, ["db", "backup", str(target)]))
    assert "disk is full" in said or "no space left on device" in said


def test_a_full_disk_under_standard_output_is_an_error_of_the_command(
    filled: Path, tmp_path: Path
) -> None:
    for command in (["decisions", "export"], ["policy", "lint"], ["--help"]):
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                [*COVERCARD, *command],
                cwd=ROOT,
                env=environment(tmp_path),
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                timeout=120,
                check=False,
            )
        assert done.returncode == 1, (command, done.stderr)
        assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
        assert "standard output: no space left on device: make room" in done.stderr


@pytest.mark.parametrize("kind", ["ndjson", "csv"])
def test_with_standard_output_closed_an_export_says_what_to_do(
    kind: str, filled: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *COVERCARD, "decisions", "export", "--format", kind],
        cwd=ROOT,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "standard output is closed; name a file with --output" in complaint(done, 2)


def test_a_log_on_a_full_disk_is_told_of_as_that(filled: Path, tmp_path: Path) -> None:
    """It was left whole; now SQLite has no room for the files beside it."""
    moves = (
        "mkdir {0} && mount -t tmpfs -o size=4m,mode=755 tmpfs {0} && cp {1} {0} &&"
        " {{ dd if=/dev/zero of={0}/fill bs=1k 2>/dev/null; exec {2}; }}"
    )
    full = tmp_path / "disk"
    script = moves.format(full, filled, shlex.join([*COVERCARD, "db", "check"]))
    done = with_own_mounts(script, tmp_path, database_url=f"sqlite:///{full / filled.name}")
    assert "its disk is full" in complaint(done, 3)


def test_a_device_is_never_replaced_by_a_file(made: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    said = complaint(run(["decisions", "export", "--output", str(pipe)], tmp_path), 2)
    assert f"{pipe}: is no regular file; name a file" in said
    assert pipe.is_fifo()


def test_three_upgrades_at_once_do_it_once(tmp_path: Path) -> None:
    told: Mapping[str, str] = environment(tmp_path)
    upgrades = [
        subprocess.Popen(
            [*COVERCARD, "db", "upgrade"], cwd=ROOT, env=told, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    said = sorted(process.communicate(timeout=120)[0].split(" at ")[0] for process in upgrades)
    assert [process.returncode for process in upgrades] == [0, 0, 0]
    assert said == ["the tables are already", "the tables are already", "the tables are now"]
