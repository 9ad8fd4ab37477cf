"""Private files: for their owner only, through no link, whole or not there."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from pathlib import Path

import pytest

from service import private_files
from service.database.engines import open_engine, open_pool
from service.errors import ConfigurationError
from service.private_files import (
    check_private,
    make_private_file,
    make_private_folder,
    open_private,
    written_whole,
)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def any_umask() -> object:
    before = os.umask(0)
    yield None
    os.umask(before)


@pytest.mark.threat("files-at-rest")
def test_what_is_created_is_for_its_owner_only_whatever_the_umask(
    tmp_path: Path, any_umask: object
) -> None:
    make_private_file(tmp_path / "a" / "b" / "file")
    make_private_folder(tmp_path / "c" / "d")
    assert mode(tmp_path / "a" / "b" / "file") == 0o600
    assert [mode(tmp_path / name) for name in ("a", "a/b", "c", "c/d")] == [0o700] * 4


@pytest.mark.threat("files-at-rest")
def test_what_others_may_read_is_closed_and_the_log_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, folder = tmp_path / "file", tmp_path / "folder"
    file.touch(mode=0o644)
    file.chmod(0o644)
    folder.mkdir()
    folder.chmod(0o755)
    make_private_file(file)
    make_private_folder(folder)
    assert (mode(file), mode(folder)) == (0o600, 0o700)
    told = capsys.readouterr().out
    assert told.count("was open to other users") == 2
    assert str(file) in told


@pytest.mark.threat("files-at-rest")
def test_a_link_is_refused_and_what_it_leads_to_stays_as_it_was(tmp_path: Path) -> None:
    other, folder = tmp_path / "other", tmp_path / "folder"
    other.write_text("another's")
    other.chmod(0o644)
    folder.mkdir()
    folder.chmod(0o755)
    (tmp_path / "file-link").symlink_to(other)
    (tmp_path / "folder-link").symlink_to(folder)
    (tmp_path / "nowhere").symlink_to(tmp_path / "absent")
    for name in ("file-link", "nowhere"):
        with pytest.raises(ConfigurationError, match="is a link"):
            make_private_file(tmp_path / name)
    with pytest.raises(ConfigurationError, match="is a link"):
        make_private_folder(tmp_path / "folder-link")
    assert not (tmp_path / "absent").exists()
    assert (other.read_text(), mode(other), mode(folder)) == ("another's", 0o644, 0o755)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigurationError, match="no regular file"):
        open_private(tmp_path / "pipe", os.O_RDWR)


def test_another_users_file_is_refused_with_the_repair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(private_files.os, "geteuid", lambda: 12345)
    with pytest.raises(ConfigurationError, match="chown 12345"):
        check_private(tmp_path / "file")


def test_the_administrator_may_work_on_the_services_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch(mode=0o600)
    monkeypatch.setattr(private_files.os, "geteuid", lambda: 0)
    check_private(tmp_path / "file")


@pytest.mark.threat("files-at-rest")
def test_a_folder_in_which_anybody_may_replace_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(ConfigurationError, match="chmod o-w"):
        make_private_file(tmp_path / "open" / "file")
    assert not (tmp_path / "open" / "file").exists()


def test_a_file_has_its_name_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "export"
    with written_whole(target, replace=False) as file:
        file.write(b"half")
        assert not target.exists()
        file.write(b" and half")
    assert target.read_bytes() == b"half and half"
    assert mode(target) == 0o600
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("replace", [False, True])
def test_after_an_error_nothing_is_left_and_what_was_there_stays(
    tmp_path: Path, replace: bool
) -> None:
    target = tmp_path / "export"
    if replace:
        target.write_bytes(b"yesterday's")
    with pytest.raises(RuntimeError), written_whole(target, replace=replace) as file:
        file.write(b"half")
        raise RuntimeError("full")
    assert [p.read_bytes() for p in tmp_path.iterdir()] == ([b"yesterday's"] if replace else [])


def test_a_name_that_is_taken_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "evidence"
    with pytest.raises(FileExistsError), written_whole(target, replace=False) as file:
        file.write(b"mine")
        target.write_bytes(b"another's")
    assert target.read_bytes() == b"another's"
    assert list(tmp_path.iterdir()) == [target]


def test_a_link_of_that_name_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"another's")
    target = tmp_path / "export"
    target.symlink_to(tmp_path / "other")
    with pytest.raises(FileExistsError), written_whole(target, replace=False):
        pass
    with written_whole(target, replace=True) as file:
        file.write(b"mine")
    assert not target.is_symlink()
    assert (tmp_path / "other").read_bytes() == b"another's"


@pytest.mark.threat("files-at-rest")
def test_a_database_and_what_sqlite_keeps_beside_it_are_closed(
    tmp_path: Path, any_umask: object
) -> None:
    file = tmp_path / "log.sqlite3"
    with sqlite3.connect(file) as writer:
        writer.execute("PRAGMA journal_mode=WAL")
        writer.execute("CREATE TABLE t (n)")
        before = sorted(p.name for p in tmp_path.iterdir() if mode(p) & 0o077)
        assert before == ["log.sqlite3", "log.sqlite3-shm", "log.sqlite3-wal"]
        with open_engine(f"sqlite:///{file}").connect():
            assert [mode(p) for p in tmp_path.iterdir()] == [0o600] * 3
    writer.close()


@pytest.mark.threat("files-at-rest")
@pytest.mark.parametrize("companion", ["", "-wal", "-shm"])
def test_a_database_behind_a_link_is_not_opened(tmp_path: Path, companion: str) -> None:
    (tmp_path / "elsewhere").touch()
    (tmp_path / f"log.sqlite3{companion}").symlink_to(tmp_path / "elsewhere")
    for opened in (open_engine, lambda url: open_pool(url, 1)):
        with pytest.raises(ConfigurationError, match="is a link"):
            opened(f"sqlite:///{tmp_path}/log.sqlite3")
    assert (tmp_path / "elsewhere").read_bytes() == b""


@pytest.mark.parametrize("removed_before", range(3))
def test_a_folder_in_the_place_of_a_removed_database_is_told(
    tmp_path: Path, removed_before: int
) -> None:
    """A file system gives the number of a removed file to the next one, here a folder."""
    file = tmp_path / f"{removed_before}.sqlite3"
    with open_engine(f"sqlite:///{file}").connect():
        pass
    for found in tmp_path.iterdir():
        found.unlink()
    file.mkdir()
    with pytest.raises(IsADirectoryError):
        open_engine(f"sqlite:///{file}")


def test_threads_that_create_the_same_folder_do_not_disturb_each_other(tmp_path: Path) -> None:
    wrong: list[Exception] = []

    def make() -> None:
        try:
            make_private_file(tmp_path / "a" / "b" / "file")
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_volume_that_the_administrator_has_mounted_keeps_its_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Volumes belong to root, and are entered by a group of the service's own."""
    volume = tmp_path / "volume"
    volume.mkdir()
    volume.chmod(0o775)
    if os.geteuid() != 0:
        pytest.skip("a folder of root's can only be made by root")
    monkeypatch.setattr(private_files.os, "geteuid", lambda: 12345)
    make_private_folder(volume)
    assert mode(volume) == 0o775
    volume.chmod(0o777)
    with pytest.raises(ConfigurationError, match="chmod o-w"):
        make_private_folder(volume)
    os.chown(volume, 54321, -1)
    with pytest.raises(ConfigurationError, match="belongs to another user"):
        make_private_folder(volume)
