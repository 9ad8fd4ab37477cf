"""Finding decisions again, and how one replaced another."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from service.decision.coverage_assertion import replaced_assertion
from service.decision.order import ExistingCoverageInformation
from service.decision_log import decision_detail, queries
from service.decision_log.access_log import accesses
from service.decision_log.display import body_text
from service.decision_log.opening import open_recorder
from service.decision_log.queries import TimeSpan
from service.decision_log.recall import recall
from service.decision_log.recorder import RecordsPlace
from tests.unit.decision_log.builders import AT, call, determination

Log = Callable[..., None]
HOUR = timedelta(hours=1)
OURS, OLDER = "cc" + "1" * 30, "cc" + "2" * 30


@pytest.mark.requirement("crd-2.0.1:78")
def test_a_decision_is_found_by_its_assertion_id_newest_first(log: Log, engine: Engine) -> None:
    log(call(), call(at=AT + HOUR), call(assertion_id="cc-other"))
    with engine.connect() as connection:
        found = queries.by_assertion(connection, "cc-1", 10)
    assert [d.received_at for d in found] == [AT + HOUR, AT]
    assert found[0].determination.covered == "conditional"


def test_a_decision_can_be_looked_up_among_those_of_one_client(log: Log, engine: Engine) -> None:
    log(call(client="clinic"), call(client="hospital", at=AT + HOUR))
    with engine.connect() as connection:
        for client in ("clinic", "hospital"):
            (by_id,) = queries.by_assertion(connection, "cc-1", 10, client)
            (found,) = queries.find(connection, client=client, most=10)
            detail = decision_detail.by_assertion(connection, "cc-1", client)
            assert by_id.client == found.client == client
            assert detail is not None
            assert detail.call.row.client == client
            assert detail.same_id_elsewhere == ()
        assert queries.by_assertion(connection, "cc-1", 10, "nobody") == []


@pytest.mark.threat("mixed-clients")
def test_another_clients_assertion_replaces_nothing(log: Log, engine: Engine) -> None:
    """Two clients whose EHRs do not tell their address may have the same ids."""
    log(
        call(assertion_id="cc-1"),
        call(assertion_id="cc-2", at=AT + HOUR, client="hospital"),
        call(assertion_id="cc-3", at=AT + 2 * HOUR),
    )
    with engine.connect() as connection:
        first, second, third = (
            decision_detail.by_assertion(connection, f"cc-{n}") for n in (1, 2, 3)
        )
    assert first and second and third
    assert (first.replaces, first.replaced_by) == (None, "cc-3")
    assert (second.replaces, second.replaced_by) == (None, None)
    assert (third.replaces, third.replaced_by) == ("cc-1", None)


def test_decisions_are_found_by_patient_order_and_time(log: Log, engine: Engine) -> None:
    log(
        call(patient="Patient/ann", order="ServiceRequest/1"),
        call(patient="Patient/ann", order="ServiceRequest/2", at=AT + HOUR),
        call(patient="Patient/ben", order="ServiceRequest/1", at=AT + 2 * HOUR),
    )
    with engine.connect() as connection:

        def found(**by: object) -> list[tuple[str | None, str]]:
            decisions = queries.find(connection, most=10, **by)  # type: ignore[arg-type]
            return [(d.patient, d.determination.order_ref) for d in decisions]

        ann_2, ann_1 = ("Patient/ann", "ServiceRequest/2"), ("Patient/ann", "ServiceRequest/1")
        ben_1 = ("Patient/ben", "ServiceRequest/1")
        assert found(patient="Patient/ann") == [ann_2, ann_1]
        assert found(orders=["ServiceRequest/1"]) == [ben_1, ann_1]
        assert found(span=TimeSpan(since=AT + HOUR)) == [ben_1, ann_2]
        assert found(span=TimeSpan(until=AT + HOUR)) == [ann_1]
        assert found(patient="Patient/nobody") == []


def test_a_call_comes_back_as_it_was_kept(log: Log, engine: Engine) -> None:
    record = call(request=b'{"hook":"order-sign","n":1.00}')
    log(record)
    with engine.connect() as connection:
        found = queries.one_call(connection, record.id)
        assert queries.one_call(connection, "0" * 32) is None
    assert found is not None
    assert found.kept.request == record.request
    assert found.received_at == AT
    assert [d.order_ref for d in found.determinations] == ["ServiceRequest/mrs"]


def test_all_calls_come_oldest_first_in_however_many_chunks(
    log: Log, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "_CHUNK", 3)
    records = [call(at=AT + n * HOUR, patient=f"Patient/{n}") for n in range(10)]
    log(*reversed(records))
    with engine.connect() as connection:
        found = list(queries.all_calls(connection, TimeSpan(since=AT + HOUR)))
        assert queries.count_calls(connection, TimeSpan(since=AT + HOUR)) == 9
    assert [f.row.call_id for f in found] == [r.id for r in records[1:]]
    assert all(len(f.determinations) == 1 for f in found)


@pytest.mark.requirement("crd-2.2.1:found-11")
def test_the_log_tells_which_assertion_another_replaced(log: Log, engine: Engine) -> None:
    log(
        call(assertion_id="cc-old"),
        call(assertion_id="cc-old", at=AT + HOUR),
        call(assertion_id="cc-new", at=AT + 2 * HOUR),
        call(assertion_id="cc-new", at=AT + 3 * HOUR),
    )
    with engine.connect() as connection:
        new, old = (queries.by_assertion(connection, i, 1)[0] for i in ("cc-new", "cc-old"))
        assert queries.replaced_by_log(connection, new) == "cc-old"
        assert queries.replacement(connection, old) == "cc-new"
        assert queries.replaced_by_log(connection, old) is None
        assert queries.replacement(connection, new) is None


@pytest.mark.parametrize(
    "other",
    [
        {"order": "ServiceRequest/other"},
        {"coverage": "Coverage/other"},
        {"patient": "Patient/other"},
    ],
)
def test_an_assertion_on_something_else_is_not_replaced(
    log: Log, engine: Engine, other: dict[str, str]
) -> None:
    log(call(assertion_id="cc-old", **other), call(assertion_id="cc-new", at=AT + HOUR))
    with engine.connect() as connection:
        (new,) = queries.by_assertion(connection, "cc-new", 1)
        assert queries.replaced_by_log(connection, new) is None


def test_an_order_that_carries_older_coverage_information_of_ours_tells_what_is_replaced() -> None:
    order = determination().order
    carried = [
        ExistingCoverageInformation("Coverage/b", "covered", OURS),
        ExistingCoverageInformation("Coverage/a", "not-covered", "another payer's id"),
        ExistingCoverageInformation("Coverage/a", "not-covered", OLDER),
    ]
    order = replace(order, coverage_information=tuple(carried))
    assert replaced_assertion(order, "Coverage/a", OURS) == OLDER
    assert replaced_assertion(order, "Coverage/a", OLDER) is None
    assert replaced_assertion(order, "Coverage/c", OURS) is None


def test_a_call_is_recalled_by_what_it_asserted_for_its_own_client_only(log: Log, url: str) -> None:
    log(call(client="clinic", request=b'{"call":1}'))
    found = recall(url, "cc-1", "clinic")
    assert found is not None
    assert (found.service_id, found.order) == ("order-sign-crd", "ServiceRequest/mrs")
    assert found.request == b'{"call":1}'
    assert recall(url, "cc-1", "hospital") is None
    assert recall(url, "cc-unknown", "clinic") is None


def test_before_anything_is_recorded_nothing_is_recalled(tmp_path: object) -> None:
    assert recall(f"sqlite:///{tmp_path}/none.sqlite3", "cc-1", "clinic") is None


@pytest.mark.requirement("crd-2.0.1:80")
def test_reading_is_logged_with_who_when_and_what(url: str, engine: Engine, tmp_path: Path) -> None:
    recorder = open_recorder(url, RecordsPlace(tmp_path / "records"))
    recorder.record_access("clerk", "show", '{"assertion_id":"cc-1"}', AT)
    recorder.record_access("clerk", "find", '{"patient":"Patient/ann"}', AT + HOUR)
    assert recorder.settle(60)
    recorder.stop()
    with engine.connect() as connection:
        found = list(accesses(connection, None, 10))
        since = list(accesses(connection, AT + HOUR, 10))
    assert [(a.what, a.detail) for a in found] == [
        ("find", {"patient": "Patient/ann"}),
        ("show", {"assertion_id": "cc-1"}),
    ]
    assert {a.who for a in found} == {"clerk"}
    assert [a.at for a in since] == [AT + HOUR]


def test_a_decision_is_looked_up_by_the_place_where_it_was_made(log: Log, engine: Engine) -> None:
    first, again = call(), call(at=AT + HOUR)
    log(first, again)
    with engine.connect() as connection:
        found = decision_detail.by_place(connection, first.id, 0)
        assert decision_detail.by_place(connection, first.id, 1) is None
        newest = decision_detail.by_assertion(connection, "cc-1")
    assert found is not None and newest is not None
    assert (found.call.row.call_id, [d.call_id for d in found.others]) == (first.id, [again.id])
    assert (newest.call.row.call_id, [d.call_id for d in newest.others]) == (again.id, [first.id])
    assert found.trace == [("date", "2026-12-01", "occurrenceDateTime")]


def test_what_asserts_nothing_is_looked_up_too_and_has_no_neighbors(
    log: Log, engine: Engine
) -> None:
    silent = call(assertion_id=None)
    log(call(), silent, call(at=AT + HOUR))
    with engine.connect() as connection:
        found = decision_detail.by_place(connection, silent.id, 0)
    assert found is not None
    assert (found.replaces, found.replaced_by, found.others) == (None, None, ())


def test_a_kept_body_is_shown_with_its_digits_and_without_marks_that_reorder_it() -> None:
    shown = body_text('{"n":1.00,"name":"\u202eabc"}'.encode())
    assert '"n": 1.00' in shown
    assert "\\u202eabc" in shown
    assert body_text(None) == "{}"
