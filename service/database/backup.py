"""Backup of the database with the records that wait for it: consistent, beside a running service.

The folder of records is copied first, the database after it: a record that moves from the one to
the other meanwhile is in both copies, and is taken once when they are restored. A backup is a
folder with a manifest; it has its name when it is complete and on disk.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import msgspec
from sqlalchemy import make_url

from service.database.database_errors import DAMAGED, is_damaged, known_cause, trouble
from service.database.engines import SQLITE_COMPANIONS, database_file, is_there
from service.database.table_revisions import Migrations, TablesFound, revision, tables_at
from service.database.urls import is_sqlite
from service.errors import ConfigurationError, StoreUnavailable
from service.os_errors import with_repair
from service.private_files import (
    make_folder_of,
    make_private_folder,
    open_private,
    partial_name,
    sync_folder,
    written_whole,
)

MANIFEST = "manifest.json"
SQLITE_COPY = "database.sqlite3"
POSTGRES_DUMP = "database.dump"
RECORDS = "records"
_RECORD_FILES = frozenset({".segment", ".seg", ".damaged", ".rejected", ".key"})
_CHUNK = 1024 * 1024


class CopiedFile(msgspec.Struct, frozen=True):
    bytes: int
    sha256: str


class BackupManifest(msgspec.Struct, frozen=True):
    """Content of a backup: its files by name, and by version table what the tables tell of their
    revision and of the oldest whose program may use them.
    """

    made_at: datetime
    covercard: str
    database: str
    revisions: dict[str, str | None]
    files: dict[str, CopiedFile]
    usable_from: dict[str, str | None] = {}


def back_up(
    url: str, records: Path, to: Path, tables: Sequence[Migrations], covercard: str
) -> BackupManifest:
    """Write a backup to a new folder.

    Raises FileExistsError if `to` is there, StoreUnavailable if the database cannot be read,
    ConfigurationError if a copy is not sound, `pg_dump` is missing or `to` cannot be written.
    """
    with _named_when_whole(to) as folder:
        if not is_there(url):
            raise StoreUnavailable(f"there is no database at {database_file(url)}")
        # Before the copy: what an upgrade does meanwhile must not be told of older tables.
        found = {table.version_table: tables_at(url, table) for table in tables}
        make_private_folder(folder / RECORDS)
        for file in record_files(records):
            with suppress(FileNotFoundError):  # moved to the database meanwhile, which comes next
                _copy(file, folder / RECORDS / file.name)
        if is_sqlite(url):
            _copy_sqlite(database_file(url), folder / SQLITE_COPY)
        else:
            _dump_postgres(url, folder / POSTGRES_DUMP)
        manifest = BackupManifest(
            made_at=datetime.now(UTC),
            covercard=covercard,
            database="sqlite" if is_sqlite(url) else "postgresql",
            revisions={name: tables.revision for name, tables in found.items()},
            files={str(p.relative_to(folder)): _copied(p) for p in _files_of(folder)},
            usable_from={name: tables.usable_from for name, tables in found.items()},
        )
        with written_whole(folder / MANIFEST, replace=False) as out:
            out.write(msgspec.json.format(msgspec.json.encode(manifest), indent=2))
        sync_folder(folder / RECORDS)
    return manifest


def read_backup(folder: Path) -> BackupManifest:
    """The manifest of a backup, each of whose files is as it was written.

    Raises ConfigurationError with the first that is not, and for what is no backup.
    """
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=BackupManifest)
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigurationError(
            f"{folder}: is no backup, for it has no readable {MANIFEST}"
        ) from error
    for name, expected in manifest.files.items():
        file = folder / name
        if ".." in Path(name).parts or not file.is_file() or _copied(file) != expected:
            raise ConfigurationError(f"{file}: is missing, or not as the backup wrote it")
    for suffix in SQLITE_COMPANIONS:
        beside = folder / f"{SQLITE_COPY}{suffix}"
        if beside.exists():
            raise ConfigurationError(
                f"{beside}: is of another database, or the backup was opened as a database; a"
                " backup is whole without it: move it away"
            )
    return manifest


def restore(folder: Path, url: str, records: Path, tables: Sequence[Migrations]) -> BackupManifest:
    """Put a backup in the place of a database that is not there, and of its records.

    Raises ConfigurationError if something is there, or the backup is not whole, of another kind of
    database or of a newer version.
    """
    manifest = read_backup(folder)
    kind = "sqlite" if is_sqlite(url) else "postgresql"
    if manifest.database != kind:
        raise ConfigurationError(
            f"{folder}: is of {manifest.database}, and COVERCARD_DATABASE_URL names {kind}"
        )
    for table in tables:
        name = table.version_table
        of_backup = TablesFound(manifest.revisions.get(name), manifest.usable_from.get(name))
        misfit = of_backup.misfit(table)
        if misfit is not None and (of_backup.revision or "") > table.revision:
            raise ConfigurationError(f"{folder}: its tables are {misfit}")
    _nothing_is_there(url, records, tables, manifest)
    make_private_folder(records)
    for name in manifest.files:
        if Path(name).parent.name == RECORDS:
            _copy(folder / name, records / Path(name).name)
    sync_folder(records)
    if is_sqlite(url):
        _place_sqlite(folder / SQLITE_COPY, database_file(url))
    else:
        _load_postgres(url, folder / POSTGRES_DUMP)
    return manifest


def record_files(folder: Path) -> list[Path]:
    """The files of a folder of records that are worth keeping, sorted."""
    try:
        return sorted(
            p
            for p in folder.iterdir()
            if p.suffix in _RECORD_FILES and not p.name.startswith(".") and not p.is_symlink()
        )
    except (FileNotFoundError, NotADirectoryError):
        return []


def unsound_sqlite(file: Path) -> str | None:
    """The first finding of SQLite's own check of a database; None if it is sound."""
    try:
        with closing(sqlite3.connect(_existing(file), uri=True, timeout=10)) as connection:
            (told,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.Error as error:
        return str(getattr(error, "sqlite_errorname", type(error).__name__))
    return None if told == "ok" else str(told)


@contextmanager
def _named_when_whole(to: Path) -> Iterator[Path]:
    """A new private folder that gets its name when its content is on disk."""
    if to.exists() or to.is_symlink():
        raise FileExistsError(f"{to} is there already")
    partial = partial_name(to)
    try:
        make_folder_of(to)
        make_private_folder(partial)
    except OSError as error:
        raise ConfigurationError(f"no backup is written; {with_repair(error)}") from error
    try:
        yield partial
        sync_folder(partial)
        partial.rename(to)  # fails where a folder with files has the name meanwhile
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        # By its own name what was to be copied; the new files have their names later.
        named = Path(error.filename) if isinstance(error.filename, str) else partial
        place = to if partial in (named, *named.parents) else named
        raise ConfigurationError(f"no backup is written; {with_repair(error, place)}") from error
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    sync_folder(to.parent)


def _copy_sqlite(source: Path, to: Path) -> None:
    """Copy a database with all that is committed, its `-wal` file included, in one snapshot."""
    os.close(open_private(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    try:
        with (
            closing(sqlite3.connect(_existing(source), uri=True, timeout=10)) as database,
            closing(sqlite3.connect(to)) as copy,
        ):
            database.backup(copy, pages=-1)
            # Whole in one file, without the need of another beside it.
            copy.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as error:
        if is_damaged(error):
            raise ConfigurationError(f"the database, {source}: {DAMAGED}") from error
        raise StoreUnavailable(f"{source}: {trouble(error)}") from error
    unsound = unsound_sqlite(to)
    if unsound is not None:
        raise ConfigurationError(f"{source}: its copy is not sound ({unsound}); check the disk")
    _sync(to)


def _existing(file: Path) -> str:
    """The URI of an SQLite file that is not created where it is missing."""
    return f"file:{quote(str(file.absolute()))}?mode=rw"


def _place_sqlite(copy: Path, to: Path) -> None:
    with written_whole(to, replace=False) as out, copy.open("rb") as source:
        shutil.copyfileobj(source, out, _CHUNK)


def _nothing_is_there(
    url: str, records: Path, tables: Sequence[Migrations], manifest: BackupManifest
) -> None:
    if is_sqlite(url):
        file = database_file(url)
        if file.exists() or file.is_symlink():
            raise ConfigurationError(f"{file}: is there already; move it away, with its -wal file")
        for suffix in SQLITE_COMPANIONS:
            beside = file.with_name(file.name + suffix)
            if beside.exists() or beside.is_symlink():
                raise ConfigurationError(
                    f"{beside}: was left by another database, and would be played into the restored"
                    " one; move it away"
                )
    else:
        for table in tables:
            if revision(url, table) is not None:
                raise ConfigurationError(
                    "COVERCARD_DATABASE_URL: the database has tables already; name an empty one"
                )
    # Records as the backup has them are what a restore that was cut off has left.
    there = [
        file.name
        for file in record_files(records)
        if manifest.files.get(f"{RECORDS}/{file.name}") != _copied(file)
    ]
    if there:
        raise ConfigurationError(
            f"{records}: holds records already ({there[0]}); stop the service and move them away"
        )


def _dump_postgres(url: str, to: Path) -> None:
    """One snapshot by PostgreSQL's own program, which must be as new as the server."""
    os.close(open_private(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    _run_postgres("pg_dump", url, "--format=custom", "--no-owner", f"--file={to}")
    _sync(to)


def _load_postgres(url: str, dump: Path) -> None:
    _run_postgres(
        "pg_restore", url, "--no-owner", "--exit-on-error", "--single-transaction", str(dump)
    )


def _run_postgres(program: str, url: str, *arguments: str) -> None:
    if shutil.which(program) is None:
        raise ConfigurationError(
            f"{program} is not installed here; install PostgreSQL's client programs, or use your"
            " usual backup of the server together with the folder of records"
        )
    place, password = _libpq_words(url)
    environment = dict(os.environ)
    if password:  # not among the arguments, which others can see
        environment["PGPASSWORD"] = password
    done = subprocess.run(  # noqa: S603  the program's name is this module's
        [program, f"--dbname={place}", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        # Its messages name tables and files; values are in none of them.
        last = (done.stderr.strip().splitlines() or ["failed"])[-1].strip()
        raise StoreUnavailable(f"{program}: {known_cause(done.stderr) or last}")


def _libpq_words(url: str) -> tuple[str, str | None]:
    """A URL as libpq reads it, all its hosts and options (TLS) included; and the password."""
    from psycopg.conninfo import make_conninfo

    parsed = make_url(url)
    _, words = parsed.get_dialect()().create_connect_args(parsed)
    password = words.pop("password", None)
    return make_conninfo(**words), password


def _copy(source: Path, to: Path) -> None:
    """Copy a file's present content, on disk on return. Raises FileNotFoundError if it is gone."""
    descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as opened, written_whole(to, replace=True) as out:
        shutil.copyfileobj(opened, out, _CHUNK)


def _files_of(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file())


def _copied(file: Path) -> CopiedFile:
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return CopiedFile(file.stat().st_size, digest)


def _sync(file: Path) -> None:
    descriptor = open_private(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
