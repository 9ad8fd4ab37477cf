"""What is counted, and what is removed when its time has come."""

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from service.database.engines import database_file
from service.decision_log import retention as pruning
from service.decision_log.feedback_rows import read_feedback
from service.decision_log.policy_stats import PolicyStats, policy_stats
from service.decision_log.queries import TimeSpan
from service.decision_log.retention import planned, prune
from service.decision_log.rows import FeedbackRow
from tests.unit.decision_log.builders import AT, call, shown

Log = Callable[..., None]
HOUR = timedelta(hours=1)


def said(
    card: str, outcome: str, *, reason: str | None = None, at: datetime = AT, client: str = "clinic"
) -> FeedbackRow:
    item: dict[str, Any] = {"card": card, "outcome": outcome, "outcomeTimestamp": at.isoformat()}
    if outcome == "accepted":
        item["acceptedSuggestions"] = [{"id": "s"}]
    if reason:
        item["overrideReason"] = {"reason": {"code": reason, "system": "s"}}
    (row,) = read_feedback({"feedback": [item]}, client=client, service_id="s", received_at=at)
    return row


def stats(engine: Engine, span: TimeSpan | None = None) -> dict[str | None, PolicyStats]:
    with engine.connect() as connection:
        return {s.policy_id: s for s in policy_stats(connection, span or TimeSpan())}


def rows(url: str, *tables: str) -> dict[str, int]:
    names = tables or ("call", "determination", "card", "feedback", "access_log")
    with sqlite3.connect(database_file(url)) as log:
        return {n: log.execute(f"SELECT count(*) FROM {n}").fetchone()[0] for n in names}


def test_calls_orders_and_answers_are_counted_by_policy(log: Log, engine: Engine) -> None:
    log(call(), call(at=AT + HOUR))
    (nothing,) = stats(engine).values()
    assert (nothing.policy_id, nothing.calls, nothing.orders) == (None, 2, 2)
    assert nothing.covered == {"conditional": 2}


def test_cards_count_by_the_last_that_was_said_of_them(log: Log, engine: Engine) -> None:
    log(
        call(cards=[shown("one"), shown("two"), shown("three"), shown("silent")]),
        said("one", "accepted"),
        said("two", "overridden", reason="urgent"),
        said("three", "overridden", reason="urgent"),
        said("three", "accepted", at=AT + HOUR),
    )
    found = stats(engine)["mr-spectroscopy"]
    assert (found.cards, found.accepted, found.unanswered) == (4, 2, 1)
    assert found.overridden == {"urgent": 1}


def test_forms_are_counted_as_offered_and_as_started(log: Log, engine: Engine) -> None:
    log(
        call(cards=[shown("a", form=True), shown("b", form=True), shown("c")]),
        said("a", "accepted"),
        said("b", "overridden"),
        said("c", "accepted"),
    )
    found = stats(engine)["mr-spectroscopy"]
    assert (found.forms_offered, found.forms_started) == (2, 1)
    assert found.overridden == {"(no reason)": 1}


def test_feedback_on_another_clients_card_or_on_none_of_ours_counts_for_nothing(
    log: Log, engine: Engine
) -> None:
    log(
        call(client="clinic", cards=[shown("one")]),
        said("one", "accepted", client="hospital"),
        said("unknown", "accepted"),
    )
    assert stats(engine)["mr-spectroscopy"].unanswered == 1


def test_feedback_that_came_before_its_call_is_tied_to_it(log: Log, engine: Engine) -> None:
    log(said("one", "accepted"))
    log(call(cards=[shown("one")]))
    assert stats(engine)["mr-spectroscopy"].accepted == 1


SECOND = timedelta(seconds=1)


def test_a_call_that_a_proxy_repeated_counts_once_by_the_answer_that_came(
    log: Log, engine: Engine
) -> None:
    log(
        call(cards=[shown("lost", "former", form=True)]),
        call(at=AT + 4 * SECOND, repeated=True, cards=[shown("lost too")]),
        call(at=AT + 9 * SECOND, repeated=True, cards=[shown("came", form=True)]),
        said("came", "accepted"),
    )
    found = stats(engine)
    assert (found[None].calls, found[None].orders) == (1, 1)
    assert found[None].covered == {"conditional": 1}
    assert set(found) == {None, "mr-spectroscopy"}
    of_policy = found["mr-spectroscopy"]
    assert (of_policy.cards, of_policy.forms_offered) == (1, 1)
    assert (of_policy.accepted, of_policy.unanswered) == (1, 0)


def test_a_repetition_counts_where_its_first_attempt_left_no_record(
    log: Log, engine: Engine
) -> None:
    log(call(repeated=True))
    assert stats(engine)[None].calls == 1


def test_calls_beside_a_repetition_are_other_calls(log: Log, engine: Engine) -> None:
    log(
        call(repeated=True),
        call(at=AT - SECOND, hook_instance="another"),
        call(at=AT - SECOND, client="hospital"),
        call(at=AT - HOUR),
        call(at=AT + HOUR),
    )
    assert stats(engine)[None].calls == 5


def test_periods_side_by_side_count_a_repeated_call_once(log: Log, engine: Engine) -> None:
    log(call(at=AT - SECOND), call(at=AT + SECOND, repeated=True))
    assert stats(engine, TimeSpan(until=AT)) == {}
    assert stats(engine, TimeSpan(since=AT))[None].calls == 1


def test_repetitions_are_found_by_an_index(engine: Engine) -> None:
    """Their mark stands behind the call's content, of which a scan would read it all."""
    with engine.connect() as connection:
        plan = connection.execute(
            text("EXPLAIN QUERY PLAN SELECT call_id FROM call WHERE repeated IS NOT NULL")
        ).all()
    assert "call_repeated" in str(plan)


def test_statistics_can_be_of_a_stretch_of_time(log: Log, engine: Engine) -> None:
    log(call(cards=[shown("one")]), call(at=AT + 2 * HOUR, cards=[shown("two", "other")]))
    found = stats(engine, TimeSpan(since=AT + HOUR))
    assert found[None].calls == 1
    assert set(found) == {None, "other"}


@pytest.mark.requirement("crd-2.2.1:sec-6", "crd-2.0.1:94")
def test_what_is_past_its_retention_is_removed_with_all_that_belongs_to_it(
    log: Log, engine: Engine, url: str
) -> None:
    log(
        call(cards=[shown("old")]),
        said("old", "accepted", at=AT + 2 * HOUR),
        said("unknown", "accepted"),
        call(at=AT + HOUR, cards=[shown("new")]),
        said("new", "accepted", at=AT + HOUR),
    )
    assert prune(engine, AT + HOUR) == 1
    left = {"call": 1, "determination": 1, "card": 1, "feedback": 1, "access_log": 0}
    assert rows(url) == left
    assert prune(engine, AT + HOUR) == 0
    assert rows(url) == left


def test_pruning_goes_in_batches_and_tells_of_each(
    log: Log, engine: Engine, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "_BATCH", 3)
    log(*(call(at=AT + n * HOUR, cards=[shown(f"card-{n}")]) for n in range(10)))
    told: list[int] = []
    with engine.connect() as connection:
        removal = planned(connection, AT + 8 * HOUR)
    assert (removal.calls, removal.oldest, removal.newest) == (8, AT, AT + 7 * HOUR)
    assert prune(engine, AT + 8 * HOUR, told.append) == 8
    assert [n for n in told if n] == [3, 3, 2]
    assert rows(url, "call", "card") == {"call": 2, "card": 2}


def test_what_was_pruned_is_overwritten_on_the_disk(log: Log, engine: Engine, url: str) -> None:
    log(call(patient="Patient/unmistakable-name"))
    prune(engine, datetime.now(UTC) + HOUR)
    with sqlite3.connect(database_file(url)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert b"unmistakable-name" not in database_file(url).read_bytes()
