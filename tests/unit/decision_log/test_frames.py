"""A torn frame is told from a whole one, and damage does not spread."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.decision_log.frames import Damage, count_frames, frame, read_frames

payloads = st.lists(st.binary(max_size=200), max_size=8)


@given(payloads)
def test_what_was_framed_is_read_again(written: list[bytes]) -> None:
    data = b"".join(map(frame, written))
    assert list(read_frames(data)) == written
    assert count_frames(data) == (len(written), len(data))


@given(payloads.filter(bool), st.data())
def test_wherever_the_last_frame_is_cut_all_before_it_are_read_and_it_counts_as_torn(
    written: list[bytes], data: st.DataObject
) -> None:
    *before, last = map(frame, written)
    cut = data.draw(st.integers(1, len(last) - 1))
    *read, torn = read_frames(b"".join(before) + last[:cut])
    assert read == written[:-1]
    assert isinstance(torn, Damage)
    assert torn.torn


@pytest.mark.parametrize("flipped", [0, 5, 9, 14])
def test_a_damaged_frame_is_reported_and_those_after_it_are_still_read(flipped: int) -> None:
    data = bytearray(frame(b"first") + frame(b"second") + frame(b"third"))
    at = len(frame(b"first")) + flipped
    data[at] ^= 0xFF
    first, damage, third = read_frames(bytes(data))
    assert (first, third) == (b"first", b"third")
    assert isinstance(damage, Damage)
    assert not damage.torn


def test_a_payload_that_holds_a_frame_is_one_payload() -> None:
    inner = frame(b"not a record of its own")
    assert list(read_frames(frame(inner))) == [inner]


def test_counting_stops_before_a_frame_that_is_still_being_written() -> None:
    whole, half = frame(b"whole"), frame(b"half")[:-1]
    assert count_frames(whole + half) == (1, len(whole))
