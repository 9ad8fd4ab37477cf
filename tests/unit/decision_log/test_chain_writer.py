"""Whoever comes first flushes for all who wait; what happens to the file is noticed there."""

import errno
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.decision_log import chain_writer as chain_writer_module
from service.decision_log import segment_file
from service.decision_log.chain_key import ChainKey
from service.decision_log.chain_writer import ChainWriter, decode_head
from service.decision_log.frames import Frame, LogRecordKind, chain_name
from service.decision_log.records_folder import RecordsFolder
from service.decision_log.segment_reader import ChainReader

KEY = ChainKey(b"a key of thirty-two bytes, or so")
CALL = LogRecordKind.CALL


def chains(path: Path) -> dict[int, list[Frame]]:
    """The records of each chain in a folder."""
    folder = RecordsFolder(path)
    found: dict[int, list[Frame]] = {}
    names = folder.segments()
    for chain in dict.fromkeys(name.chain for name in names):
        own = sorted((n for n in names if n.chain == chain), key=lambda n: (n.number, n.began))
        found[chain] = list(ChainReader(folder, chain, KEY.secret).read(own, 10_000, 1 << 30))
    return found


def payloads(path: Path) -> list[bytes]:
    """The payloads of all chains, without the segments' heads."""
    return [
        f.payload
        for frames in chains(path).values()
        for f in frames
        if f.kind != LogRecordKind.HEAD
    ]


def one_segment(path: Path) -> Path:
    (segment,) = path.glob("*.segment")
    return segment


@pytest.fixture
def writer(tmp_path: Path) -> ChainWriter:
    return ChainWriter(RecordsFolder(tmp_path / "records"), lambda: KEY)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "records"


def test_nothing_is_made_before_something_is_kept(writer: ChainWriter, path: Path) -> None:
    writer.check()
    assert not path.exists()


def test_a_record_is_in_its_segment_when_append_returns(writer: ChainWriter, path: Path) -> None:
    writer.append(CALL, b"one")
    writer.append(CALL, b"two")
    ((chain, (head, *_)),) = chains(path).items()
    assert payloads(path) == [b"one", b"two"]
    assert decode_head(head.payload).installation == KEY.id
    assert writer.end is not None
    assert (writer.end.chain, writer.end.sequence) == (chain, 2)


def test_only_its_owner_may_read_it(writer: ChainWriter, path: Path) -> None:
    writer.append(CALL, b"about a patient")
    assert path.stat().st_mode & 0o077 == 0
    assert all(p.stat().st_mode & 0o077 == 0 for p in path.iterdir())


def test_those_who_wait_share_a_flush_and_a_lone_record_costs_no_thread(
    writer: ChainWriter, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    writing, gate = threading.Event(), threading.Event()
    real = os.pwritev

    def slow(*arguments: Any) -> int:
        flushed.append(threading.current_thread().name)
        writing.set()
        assert gate.wait(60)
        return real(*arguments)

    gate.set()
    writer.append(CALL, b"first")
    monkeypatch.setattr(segment_file.os, "pwritev", slow)
    gate.clear()
    writing.clear()
    threads = [threading.Thread(target=writer.append, args=(CALL, b"leads"), name="leader")]
    threads[0].start()
    assert writing.wait(60)
    threads += [
        threading.Thread(target=writer.append, args=(CALL, b"%d" % n), name=f"waits-{n}")
        for n in range(20)
    ]
    for thread in threads[1:]:
        thread.start()
    while len(writer._pending) < 20:
        time.sleep(0.001)
    gate.set()
    for thread in threads:
        thread.join(60)
    assert flushed[0] == "leader"
    assert len(flushed) == 2
    assert flushed[1].startswith("waits-")
    assert sorted(payloads(path)) == sorted([b"first", b"leads", *(b"%d" % n for n in range(20))])


def test_many_threads_lose_nothing_and_nothing_is_there_twice(
    writer: ChainWriter, path: Path
) -> None:
    def append(thread: int) -> None:
        for n in range(50):
            writer.append(CALL, b"%d-%d" % (thread, n))

    threads = [threading.Thread(target=append, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(payloads(path)) == sorted(b"%d-%d" % (t, n) for t in range(16) for n in range(50))


def test_a_full_or_old_segment_is_followed_by_one_whose_head_continues_the_chain(
    writer: ChainWriter, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain_writer_module, "LARGEST_SEGMENT", 500)
    writer.append(CALL, b"x" * 600)
    writer.append(CALL, b"y")
    monkeypatch.setattr(chain_writer_module, "OLDEST_SEGMENT_SECONDS", 0.0)
    writer.append(CALL, b"z")
    assert len(list(path.glob("*.segment"))) == 3
    ((_, frames),) = chains(path).items()
    assert [f.sequence for f in frames] == list(range(6))
    assert [f.before for f in frames[1:]] == [f.hash for f in frames[:-1]]


def test_the_first_segment_of_a_process_names_the_newest_record_of_the_one_before(
    writer: ChainWriter, path: Path
) -> None:
    writer.append(CALL, b"one")
    end = writer.end
    writer.close()
    assert end is not None
    later = ChainWriter(RecordsFolder(path), lambda: KEY)
    later.append(CALL, b"two")
    assert later.end is not None
    head = decode_head(chains(path)[later.end.chain][0].payload)
    assert head.chain_before == chain_name(end.chain)
    assert (head.sequence_before, head.hash_before) == (end.sequence, end.hash)


# What happens to the file ----------------------------------------------------------------------


def delete(segment: Path) -> None:
    segment.unlink()


def delete_folder(segment: Path) -> None:
    shutil.rmtree(segment.parent)


def move(segment: Path) -> None:
    segment.rename(segment.parent.parent / "elsewhere")


def move_folder(segment: Path) -> None:
    segment.parent.rename(segment.parent.parent / "elsewhere")


def replace(segment: Path) -> None:
    copy = segment.with_suffix(".copy")
    shutil.copy(segment, copy)
    copy.rename(segment)


@pytest.mark.parametrize("harm", [delete, delete_folder, move, move_folder, replace])
@pytest.mark.parametrize("noticed_by", ["append", "check"])
def test_a_segment_that_is_gone_is_written_anew_with_all_that_was_answered(
    writer: ChainWriter, path: Path, harm: Callable[[Path], None], noticed_by: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    for n in range(5):
        writer.append(CALL, b"%d" % n)
    harm(one_segment(path))
    if noticed_by == "check":
        writer.check()
    else:
        writer.append(CALL, b"5")
    last = [] if noticed_by == "check" else [b"5"]
    assert payloads(path) == [b"0", b"1", b"2", b"3", b"4", *last]
    assert writer.lost == 0
    assert "a segment was gone, and is written anew" in capsys.readouterr().out
    writer.append(CALL, b"6")
    assert payloads(path)[-1] == b"6"


def test_a_segment_that_is_gone_and_cannot_be_written_anew_refuses_and_is_tried_again(
    writer: ChainWriter, path: Path
) -> None:
    writer.append(CALL, b"answered")
    shutil.rmtree(path)
    path.write_text("a file where the folder should be")
    with pytest.raises(OSError, match=r"exists|directory"):
        writer.append(CALL, b"refused")
    with pytest.raises(OSError, match=r"exists|directory"):
        writer.check()
    path.unlink()
    writer.append(CALL, b"after")
    found = payloads(path)
    assert found.count(b"answered") == 1
    assert found.count(b"after") == 1
    assert writer.lost == 0


@pytest.mark.parametrize("noticed_by", ["append", "check"])
def test_a_segment_that_is_truncated_is_left_and_it_is_said_how_many_are_gone(
    writer: ChainWriter, path: Path, noticed_by: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for n in range(5):
        writer.append(CALL, b"%d" % n)
    segment = one_segment(path)
    os.truncate(segment, segment.stat().st_size - 200)
    if noticed_by == "check":
        writer.check()
        assert writer.lost == 2
    writer.append(CALL, b"after")
    assert writer.lost == 2
    # What came last may be in what is left as well; its id lets it into the rows once.
    assert list(dict.fromkeys(payloads(path))) == [b"0", b"1", b"2", b"after"]
    assert len(chains(path)) == 2
    printed = capsys.readouterr().out
    assert "truncated" in printed
    assert "records_lost=2" in printed


def test_of_a_truncated_segment_what_is_in_the_rows_is_not_gone(tmp_path: Path) -> None:
    writer = ChainWriter(RecordsFolder(tmp_path), lambda: KEY, drained=lambda _: 3)
    for n in range(5):
        writer.append(CALL, b"%d" % n)
    os.truncate(one_segment(tmp_path), 10)
    writer.check()
    assert writer.lost == 2


def test_a_segment_that_another_wrote_to_is_left(writer: ChainWriter, path: Path) -> None:
    writer.append(CALL, b"one")
    with one_segment(path).open("ab") as file:
        file.write(b"not ours")
    writer.append(CALL, b"two")
    assert writer.lost == 0
    assert sorted(payloads(path)) == [b"one", b"two", b"two"] or payloads(path) == [b"one", b"two"]


def test_a_full_disk_refuses_leaves_nothing_behind_and_the_next_record_works(
    writer: ChainWriter, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.append(CALL, b"before")
    size = one_segment(path).stat().st_size
    real = os.pwritev

    def full(descriptor: int, parts: list[bytes], offset: int, flags: int) -> int:
        real(descriptor, [bytes(parts[0])[:50]], offset, flags)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(segment_file.os, "pwritev", full)
    with pytest.raises(OSError, match="No space"):
        writer.append(CALL, b"does not fit")
    monkeypatch.undo()
    assert one_segment(path).stat().st_size == size
    writer.append(CALL, b"after")
    assert payloads(path) == [b"before", b"after"]
    assert len(chains(path)) == 1


def test_after_a_flush_that_fails_a_new_chain_begins_for_the_old_one_may_have_been_read(
    writer: ChainWriter, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.append(CALL, b"before")
    real = os.pwritev
    failures = [OSError(errno.EIO, "Input/output error")]

    def fails(*arguments: Any) -> int:
        written = real(*arguments)
        if failures:
            raise failures.pop()
        return written

    monkeypatch.setattr(segment_file.os, "pwritev", fails)
    with pytest.raises(OSError, match="Input/output"):
        writer.append(CALL, b"refused")
    writer.append(CALL, b"after")
    assert len(chains(path)) == 2
    assert payloads(path) == [b"before", b"after"]
