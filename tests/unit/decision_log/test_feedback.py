"""Feedback as clients send it: kept once, whole or not at all, and told what is wrong with it."""

from datetime import UTC, datetime
from typing import Any

import pytest

from service.decision_log.feedback_rows import read_feedback
from service.decision_log.rows import FeedbackRow
from service.errors import MalformedRequest

AT = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
ACCEPTED = {
    "card": "4e0a3a1e",
    "outcome": "accepted",
    "acceptedSuggestions": [{"id": "e56e1945"}],
    "outcomeTimestamp": "2026-12-01T08:30:00Z",
}
OVERRIDDEN = {
    "card": "9368d37b",
    "outcome": "overridden",
    "overrideReason": {
        "reason": {"code": "d7ecf885", "system": "https://example.org/reasons"},
        "userComment": "=the plan has agreed already",
    },
    "outcomeTimestamp": "2026-12-01T08:31:00.5-07:00",
}

FIRST_OF_ALL = "0001-01-01T00:00:00+14:00"
LAST_OF_ALL = "9999-12-31T23:59:59-14:00"
"""Instants that no other time zone has a date for: whoever shows them would stumble."""


def read(*items: Any, client: str = "clinic", at: datetime = AT) -> list[FeedbackRow]:
    return read_feedback(
        {"feedback": list(items)}, client=client, service_id="order-sign-crd", received_at=at
    )


def test_an_accepted_card_is_read_with_its_suggestions() -> None:
    (row,) = read(ACCEPTED)
    assert (row.card_uuid, row.outcome) == ("4e0a3a1e", "accepted")
    assert row.accepted_suggestions == '["e56e1945"]'
    assert (row.client, row.service_id) == ("clinic", "order-sign-crd")


def test_an_overridden_card_is_read_with_reason_and_comment() -> None:
    (row,) = read(OVERRIDDEN)
    assert (row.reason_code, row.reason_system) == ("d7ecf885", "https://example.org/reasons")
    assert row.comment == "=the plan has agreed already"


def test_a_card_may_be_overridden_without_a_reason() -> None:
    (row,) = read({k: v for k, v in OVERRIDDEN.items() if k != "overrideReason"})
    assert (row.outcome, row.reason_code, row.comment) == ("overridden", None, None)


def test_several_at_once_are_all_read() -> None:
    assert [r.outcome for r in read(ACCEPTED, OVERRIDDEN)] == ["accepted", "overridden"]


def test_none_at_all_is_fine() -> None:
    assert read() == []


def test_the_same_twice_has_the_same_id_whenever_it_comes() -> None:
    (first,) = read(ACCEPTED)
    (again,) = read(dict(reversed(ACCEPTED.items())), at=datetime(2027, 1, 1, tzinfo=UTC))
    assert first.feedback_id == again.feedback_id


@pytest.mark.parametrize(
    "other",
    [
        {"card": "another"},
        {"outcomeTimestamp": "2026-12-01T08:30:01Z"},
        {"acceptedSuggestions": [{"id": "another"}]},
        {"outcome": "overridden"},
    ],
)
def test_anything_else_has_another_id(other: dict[str, Any]) -> None:
    (first,), (second,) = read(ACCEPTED), read({**ACCEPTED, **other})
    assert first.feedback_id != second.feedback_id


def test_the_same_from_another_client_is_another() -> None:
    (first,), (second,) = read(ACCEPTED), read(ACCEPTED, client="hospital")
    assert first.feedback_id != second.feedback_id


def test_members_that_nobody_knows_are_ignored() -> None:
    (row,) = read({**ACCEPTED, "extension": {"x": 1}, "somethingNew": []})
    assert row.card_uuid == "4e0a3a1e"


@pytest.mark.threat("unreadable-record")
@pytest.mark.parametrize(
    ("item", "place"),
    [
        ("text", "feedback[0]"),
        ({**ACCEPTED, "card": None}, "feedback[0].card"),
        ({**ACCEPTED, "card": ""}, "feedback[0].card"),
        ({**ACCEPTED, "outcome": "ignored"}, "feedback[0].outcome"),
        ({**ACCEPTED, "outcome": ["accepted"]}, "feedback[0].outcome"),
        ({**ACCEPTED, "acceptedSuggestions": []}, "feedback[0].acceptedSuggestions"),
        ({**ACCEPTED, "acceptedSuggestions": ["x"]}, "feedback[0].acceptedSuggestions[0].id"),
        ({**ACCEPTED, "outcomeTimestamp": "yesterday"}, "feedback[0].outcomeTimestamp"),
        ({**ACCEPTED, "outcomeTimestamp": "2026-12-01T08:30:00"}, "feedback[0].outcomeTimestamp"),
        ({**ACCEPTED, "outcomeTimestamp": 1}, "feedback[0].outcomeTimestamp"),
        ({**ACCEPTED, "outcomeTimestamp": FIRST_OF_ALL}, "feedback[0].outcomeTimestamp"),
        ({**ACCEPTED, "outcomeTimestamp": LAST_OF_ALL}, "feedback[0].outcomeTimestamp"),
        (
            {**ACCEPTED, "acceptedSuggestions": [{"id": "x"}] * 101},
            "feedback[0].acceptedSuggestions",
        ),
        ({**OVERRIDDEN, "overrideReason": "no"}, "feedback[0].overrideReason"),
        ({**OVERRIDDEN, "overrideReason": {"reason": {}}}, "feedback[0].overrideReason.reason"),
        (
            {**OVERRIDDEN, "overrideReason": {"userComment": 7}},
            "feedback[0].overrideReason.userComment",
        ),
    ],
)
def test_what_is_wrong_is_told_by_its_place(item: Any, place: str) -> None:
    with pytest.raises(MalformedRequest) as caught:
        read(item)
    assert [where for where, _ in caught.value.problems] == [place]


@pytest.mark.threat("feedback-flood")
@pytest.mark.parametrize(
    "items", [[{}] * 1000, [{**ACCEPTED, "acceptedSuggestions": [0] * 100}] * 1000]
)
def test_of_masses_of_wrong_places_the_first_are_told(items: list[Any]) -> None:
    with pytest.raises(MalformedRequest) as caught:
        read(*items)
    assert len(caught.value.problems) == 20


def test_everything_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(MalformedRequest) as caught:
        read({}, ACCEPTED, {**OVERRIDDEN, "outcome": "x"})
    assert [where for where, _ in caught.value.problems] == [
        "feedback[0].card",
        "feedback[0].outcome",
        "feedback[0].outcomeTimestamp",
        "feedback[2].outcome",
    ]


@pytest.mark.parametrize("data", [None, [], {}, {"feedback": None}, {"feedback": {}}, "text"])
def test_without_a_list_there_is_no_feedback(data: object) -> None:
    with pytest.raises(MalformedRequest, match="a list named feedback"):
        read_feedback(data, client="c", service_id="s", received_at=AT)


@pytest.mark.threat("feedback-flood")
def test_more_items_than_a_clinician_could_have_seen_are_refused_at_once() -> None:
    assert len(read(*[ACCEPTED] * 1000)) == 1000
    with pytest.raises(MalformedRequest, match="at most 1000"):
        read(*[ACCEPTED] * 1001)


def test_the_id_of_a_suggestion_is_kept_no_longer_than_an_id_can_be() -> None:
    (row,) = read({**ACCEPTED, "acceptedSuggestions": [{"id": "x" * 100_000}]})
    assert len(row.accepted_suggestions) < 1000
