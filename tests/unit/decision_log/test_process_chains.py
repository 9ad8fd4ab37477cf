"""Large records are written beside small ones, and hold them up no longer."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from service.decision_log import segment_file
from service.decision_log.chain_key import ChainKey
from service.decision_log.chain_writer import ChainWriter
from service.decision_log.frames import LogRecordKind
from service.decision_log.process_chains import LARGE_BYTES, ProcessChains
from service.decision_log.records_folder import RecordsFolder

KEY = ChainKey(b"k" * 32)
LARGE, SMALL = b"l" * (LARGE_BYTES + 1), b"s" * LARGE_BYTES


@pytest.fixture
def folder(tmp_path: Path) -> RecordsFolder:
    return RecordsFolder(tmp_path / "records")


@pytest.fixture
def chains(folder: RecordsFolder) -> ProcessChains:
    return ProcessChains(lambda: ChainWriter(folder, lambda: KEY))


@pytest.mark.threat("client-share")
def test_a_small_record_waits_for_no_large_one(
    chains: ProcessChains, monkeypatch: pytest.MonkeyPatch
) -> None:
    chains.append(LogRecordKind.CALL, SMALL)
    written, begun, goes_on = os.pwritev, threading.Event(), threading.Event()

    def slow_disk(descriptor: int, buffers: list[memoryview], at: int, flags: int) -> int:
        if len(buffers[0]) > LARGE_BYTES + 1000:
            begun.set()
            assert goes_on.wait(30)
        return written(descriptor, buffers, at, flags)

    monkeypatch.setattr(segment_file.os, "pwritev", slow_disk)
    large = threading.Thread(target=chains.append, args=(LogRecordKind.CALL, 3 * LARGE))
    large.start()
    assert begun.wait(30)
    small = threading.Thread(target=chains.append, args=(LogRecordKind.CALL, SMALL[:1000]))
    small.start()
    small.join(30)
    assert not small.is_alive()
    assert large.is_alive()
    goes_on.set()
    large.join(30)
    assert [end.sequence for end in chains.ends] == [2, 1]


def test_without_a_large_record_there_is_one_chain(
    chains: ProcessChains, folder: RecordsFolder
) -> None:
    for _ in range(3):
        chains.append(LogRecordKind.CALL, SMALL)
    chains.check()
    assert len(folder.segments()) == len(chains.ends) == 1
    chains.append(LogRecordKind.CALL, LARGE)
    assert len(folder.segments()) == len(chains.ends) == 2
    chains.close()
    assert chains.lost == 0
