"""The spool keeps what it took, whoever dies, and gives it up only once it is safe elsewhere."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.decision_log import spool as spool_module
from service.decision_log.spool import Spool
from tests.conftest import ROOT


def waiting(folder: Path) -> list[bytes]:
    """Everything that can be claimed now."""
    found: list[bytes] = []
    for segment in Spool(folder).claim():
        with segment:
            found.extend(segment.payloads())
    return found


def in_another_process(folder: Path, script: str) -> subprocess.Popen[bytes]:
    """A process that has the spool `s` and runs a script; it says "ready" when it has."""
    lines = [
        "import os, signal, sys, time",
        "from pathlib import Path",
        "from service.decision_log.spool import Spool",
        f"s = Spool(Path({str(folder)!r}))",
        script,
        "print('ready', flush=True)",
        "time.sleep(60)",
    ]
    process = subprocess.Popen(
        [sys.executable, "-c", "\n".join(lines)], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def test_nothing_is_made_before_something_is_kept(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    assert spool.depth().records == 0
    assert list(spool.claim()) == []
    assert not (tmp_path / "spool").exists()


def test_what_is_kept_can_be_claimed_once_its_segment_is_sealed(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append(b"one")
    spool.append(b"two")
    assert waiting(tmp_path) == []
    spool.seal()
    assert waiting(tmp_path) == [b"one", b"two"]


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.append(b"about a patient")
    assert (tmp_path / "spool").stat().st_mode & 0o077 == 0
    assert all(p.stat().st_mode & 0o077 == 0 for p in (tmp_path / "spool").iterdir())


def test_after_a_segment_is_sealed_the_next_record_goes_to_a_new_one(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append(b"one")
    spool.seal()
    spool.append(b"two")
    assert waiting(tmp_path) == [b"one"]
    assert spool.depth().records == 2


def test_a_full_segment_is_followed_by_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "_LARGEST_SEGMENT", 100)
    spool = Spool(tmp_path)
    for _ in range(4):
        spool.append(b"x" * 80)
    assert len(list(tmp_path.glob("*.seg"))) == 2
    assert spool.depth().records == 4


def test_a_segment_that_a_live_process_writes_to_is_left_to_it(tmp_path: Path) -> None:
    process = in_another_process(tmp_path, "s.append(b'its own')")
    try:
        assert waiting(tmp_path) == []
        assert Spool(tmp_path).depth().records == 1
    finally:
        process.kill()
        process.wait()


def test_what_a_killed_process_kept_can_be_claimed(tmp_path: Path) -> None:
    process = in_another_process(tmp_path, "s.append(b'one'); s.append(b'two')")
    process.kill()
    process.wait()
    assert waiting(tmp_path) == [b"one", b"two"]


def test_of_two_processes_only_one_gets_a_segment(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append(b"one")
    spool.seal()
    (mine,) = list(spool.claim())
    with mine:
        assert waiting(tmp_path) == []
    assert waiting(tmp_path) == [b"one"]


def test_a_frame_that_was_cut_by_death_is_left_out_and_its_segment_can_be_discarded(
    tmp_path: Path,
) -> None:
    spool = Spool(tmp_path)
    spool.append(b"whole")
    spool.append(b"cut")
    spool.seal()
    (segment,) = tmp_path.glob("*.seg")
    os.truncate(segment, segment.stat().st_size - 1)
    (claimed,) = list(spool.claim())
    with claimed:
        assert list(claimed.payloads()) == [b"whole"]
        claimed.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_segment_is_set_aside_after_its_whole_frames_were_read(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append(b"damaged")
    spool.append(b"whole")
    spool.seal()
    (segment,) = tmp_path.glob("*.seg")
    data = bytearray(segment.read_bytes())
    data[15] ^= 0xFF
    segment.write_bytes(data)
    (claimed,) = list(spool.claim())
    with claimed:
        assert list(claimed.payloads()) == [b"whole"]
        claimed.discard()
    assert spool.depth().set_aside == 1
    assert waiting(tmp_path) == []


def test_an_append_that_fails_leaves_nothing_behind_and_the_next_one_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path)
    spool.append(b"before")
    real = os.write

    def full(descriptor: int, data: bytes) -> int:
        real(descriptor, bytes(data)[:6])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(spool_module.os, "write", full)
    with pytest.raises(OSError, match="No space"):
        spool.append(b"does not fit")
    monkeypatch.undo()
    spool.append(b"after")
    spool.seal()
    assert waiting(tmp_path) == [b"before", b"after"]


def test_depth_counts_the_records_of_all_processes_and_forgets_what_is_gone(
    tmp_path: Path,
) -> None:
    spool, other = Spool(tmp_path), Spool(tmp_path)
    spool.append(b"one")
    assert other.depth().records == 1
    spool.append(b"two")
    assert other.depth().records == 2
    spool.seal()
    (claimed,) = list(other.claim())
    with claimed:
        claimed.discard()
    assert other.depth().records == 0


def test_a_folder_that_cannot_be_written_is_told_by_its_probe(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError):
        Spool(tmp_path / "file").probe()
    Spool(tmp_path).probe()
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
