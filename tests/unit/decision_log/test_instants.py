"""Ids that sort by time, and times that survive being kept."""

from datetime import UTC, datetime, timedelta, timezone

from service.decision_log.instants import first_call_id, instant, microseconds, new_call_id

AT = datetime(2026, 11, 22, 15, 30, 0, 123456, tzinfo=UTC)


def test_an_instant_survives_to_the_microsecond_whatever_its_zone() -> None:
    denver = AT.astimezone(timezone(timedelta(hours=-7)))
    assert instant(microseconds(AT)) == AT
    assert microseconds(denver) == microseconds(AT)


def test_ids_sort_by_time_and_never_repeat() -> None:
    later = AT + timedelta(microseconds=1)
    first, second = ([new_call_id(at) for _ in range(1000)] for at in (AT, later))
    assert len({*first, *second}) == 2000
    assert max(first) < min(second)


def test_an_id_is_a_version_7_uuid() -> None:
    call_id = new_call_id(AT)
    assert len(call_id) == 32
    assert call_id[12] == "7"
    assert call_id[16] in "89ab"


def test_the_bound_of_an_instant_parts_earlier_ids_from_later_ones() -> None:
    bound = first_call_id(AT)
    assert new_call_id(AT - timedelta(microseconds=1)) < bound
    assert bound < new_call_id(AT)
