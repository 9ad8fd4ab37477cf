"""A frame is of its place in its chain, whole and authentic, or it is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.decision_log.frames import (
    START,
    DamagedFrame,
    Frame,
    LogRecordKind,
    authentication,
    next_frame,
    read_frame,
    record_hash,
    seal,
)

KEY = b"a key of thirty-two bytes, or so"
CHAIN = 7


def framed(payload: bytes, sequence: int = 0, before: bytes = START, key: bytes = KEY) -> bytes:
    head, _ = seal(payload, LogRecordKind.CALL, CHAIN, sequence, 1_000, before, key)
    return head + payload


def in_a_row(*payloads: bytes) -> bytes:
    data, before = b"", START
    for n, payload in enumerate(payloads):
        head, before = seal(payload, LogRecordKind.CALL, CHAIN, n, 1_000 + n, before, KEY)
        data += head + payload
    return data


def read(data: bytes, key: bytes | None = KEY) -> list[Frame]:
    found, at = [], 0
    while (frame := read_frame(data, at, CHAIN, key)) is not None:
        found.append(frame)
        at += frame.size
    return found


@given(st.lists(st.binary(max_size=200), max_size=8))
def test_what_was_framed_is_read_again_each_linked_to_the_one_before(written: list[bytes]) -> None:
    found = read(in_a_row(*written))
    assert [f.payload for f in found] == written
    assert [f.sequence for f in found] == list(range(len(written)))
    assert [f.before for f in found] == [START, *(f.hash for f in found)][: len(found)]


@given(st.binary(max_size=80), st.data())
def test_a_frame_that_is_cut_anywhere_is_no_frame(payload: bytes, data: st.DataObject) -> None:
    whole = framed(payload)
    cut = data.draw(st.integers(0, len(whole) - 1))
    assert read_frame(whole[:cut], 0, CHAIN, KEY) is None


@given(st.binary(min_size=1, max_size=80), st.data())
def test_a_byte_that_is_changed_anywhere_is_noticed(payload: bytes, data: st.DataObject) -> None:
    whole = bytearray(framed(payload) + framed(b"behind"))
    at = data.draw(st.integers(0, len(framed(payload)) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    try:
        frame = read_frame(bytes(whole), 0, CHAIN, KEY)
    except DamagedFrame:
        return
    # A changed length may promise more than there is: then it is cut short.
    assert frame is None


def test_a_frame_with_another_key_is_forged_and_one_of_another_chain_is_changed() -> None:
    with pytest.raises(DamagedFrame, match="forged"):
        read_frame(framed(b"x", key=b"another"), 0, CHAIN, KEY)
    with pytest.raises(DamagedFrame, match="changed"):
        read_frame(framed(b"x"), 0, CHAIN + 1, KEY)
    frame = read_frame(framed(b"x", key=b"another"), 0, CHAIN, None)
    assert frame is not None
    assert frame.payload == b"x"


def test_after_damage_the_next_whole_frame_is_found() -> None:
    data = bytearray(in_a_row(b"first", b"second", b"third"))
    data[len(framed(b"first")) + 125] ^= 1
    found = next_frame(bytes(data), len(framed(b"first")) + 1, CHAIN, KEY)
    assert found is not None
    frame = read_frame(bytes(data), found, CHAIN, KEY)
    assert frame is not None
    assert frame.payload == b"third"


def test_a_payload_that_holds_a_frame_is_one_payload() -> None:
    inner = framed(b"not a record of its own")
    assert [f.payload for f in read(framed(inner))] == [inner]


def test_a_rows_hash_is_its_frames() -> None:
    (frame,) = read(framed(b"payload"))
    own = record_hash(
        CHAIN, frame.kind, frame.form, frame.sequence, frame.at, len(frame.payload), frame.before,
        frame.content,
    )  # fmt: skip
    assert own == frame.hash
    assert authentication(KEY, own) == frame.mac
