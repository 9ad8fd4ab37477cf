"""Feedback (CDS Hooks 2.0) read into rows of the log.

An item's id is a hash of its content, so that a repeated item is stored once. Its card may be
unknown: feedback may arrive late, or before its call is in the rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from service.decision_log.instants import microseconds
from service.decision_log.rows import LONGEST_TEXT, FeedbackRow
from service.decision_log.rows import told as as_kept
from service.decision_log.token_removal import without_tokens_in
from service.errors import MalformedRequest
from service.interpreter_lock import giving_way

ACCEPTED = "accepted"
OVERRIDDEN = "overridden"

_LONGEST_COMMENT = 4000
_MOST_ITEMS = 1000
_MOST_SUGGESTIONS = 100
_MOST_PROBLEMS = 20
_YEARS = range(1970, 9999)
"""Years that every time zone can display; the calendar's first and last cannot."""
_json = msgspec.json.Encoder().encode


def told(text: str | None, longest: int = LONGEST_TEXT) -> str | None:
    """A text of a client as it is stored: cut to length, without a token."""
    return as_kept(without_tokens_in(text), longest)


def read_feedback(
    data: object, *, client: str, service_id: str, received_at: datetime
) -> list[FeedbackRow]:
    """The rows of a feedback request's plain data.

    Raises MalformedRequest with the first wrong places; then nothing is stored. Unknown members
    are ignored.
    """
    if not isinstance(data, Mapping) or not isinstance(data.get("feedback"), list):
        raise MalformedRequest("expected an object with a list named feedback", "feedback")
    if len(data["feedback"]) > _MOST_ITEMS:
        raise MalformedRequest(f"expected at most {_MOST_ITEMS} items in a call", "feedback")
    wrong: list[tuple[str, str]] = []
    items: list[_Item] = []
    for n, item in enumerate(giving_way(data["feedback"])):
        items.append(_Item(item, f"feedback[{n}]", wrong))
        if len(wrong) >= _MOST_PROBLEMS:
            break
    if wrong:
        (place, expected), *more = wrong[:_MOST_PROBLEMS]
        raise MalformedRequest(expected, place, *more)
    at = microseconds(received_at)
    return [item.row(client, service_id, at) for item in giving_way(items)]


class _Item:
    """One feedback item; errors are added to `wrong` as (place, expected)."""

    def __init__(self, data: object, place: str, wrong: list[tuple[str, str]]) -> None:
        self._data: Mapping[str, Any] = data if isinstance(data, Mapping) else {}
        self._place = place
        self._wrong = wrong
        if not isinstance(data, Mapping):
            self._complain("expected an object with card, outcome and outcomeTimestamp")
            return
        self.card = self._text("card", "the uuid of a card")
        self.outcome = self._outcome()
        self.outcome_at = self._instant("outcomeTimestamp")
        self.accepted = self._accepted() if self.outcome == ACCEPTED else []
        self.reason, self.comment = self._override()

    def row(self, client: str, service_id: str, received_at: int) -> FeedbackRow:
        accepted = _json(self.accepted).decode()
        said = (
            client,
            service_id,
            self.card,
            self.outcome,
            str(self.outcome_at),
            accepted,
            *(self.reason.get(k) or "" for k in ("system", "code", "display")),
            self.comment or "",
        )
        return FeedbackRow(
            feedback_id=hashlib.sha256(_json(said)).hexdigest(),
            received_at=received_at,
            client=client,
            service_id=service_id,
            card_uuid=told(self.card) or "",
            outcome=self.outcome,
            outcome_at=self.outcome_at,
            accepted_suggestions=accepted,
            reason_system=told(self.reason.get("system")),
            reason_code=told(self.reason.get("code")),
            reason_display=told(self.reason.get("display")),
            comment=told(self.comment, _LONGEST_COMMENT),
        )

    def _outcome(self) -> str:
        outcome = self._data.get("outcome")
        if outcome not in (ACCEPTED, OVERRIDDEN):
            self._complain(f"expected {ACCEPTED} or {OVERRIDDEN}", "outcome")
            return OVERRIDDEN
        return str(outcome)

    def _accepted(self) -> list[str]:
        suggestions = self._data.get("acceptedSuggestions")
        if not isinstance(suggestions, list) or not suggestions:
            self._complain("expected the suggestions that were accepted", "acceptedSuggestions")
            return []
        if len(suggestions) > _MOST_SUGGESTIONS:
            expected = f"expected at most {_MOST_SUGGESTIONS} suggestions of a card"
            self._complain(expected, "acceptedSuggestions")
            return []
        ids: list[str] = []
        for n, suggestion in enumerate(suggestions):
            uuid = suggestion.get("id") if isinstance(suggestion, Mapping) else None
            if isinstance(uuid, str) and uuid:
                ids.append(told(uuid) or "")
            else:
                self._complain("expected the uuid of a suggestion", f"acceptedSuggestions[{n}].id")
        return ids

    def _override(self) -> tuple[Mapping[str, str | None], str | None]:
        """The reason's coding and the user's comment, both optional."""
        override = self._data.get("overrideReason")
        if override is None:
            return {}, None
        if not isinstance(override, Mapping):
            self._complain("expected an object with reason or userComment", "overrideReason")
            return {}, None
        reason, comment = override.get("reason"), override.get("userComment")
        if reason is None and "code" in override:
            reason = override  # the coding itself, as before CDS Hooks 2.0
        if comment is not None and not isinstance(comment, str):
            self._complain("expected a text", "overrideReason.userComment")
            comment = None
        if reason is None:
            return {}, comment
        if not isinstance(reason, Mapping) or not isinstance(reason.get("code"), str):
            self._complain("expected a coding with a code", "overrideReason.reason")
            return {}, comment
        coding = {
            k: v for k in ("system", "code", "display") if isinstance(v := reason.get(k), str)
        }
        return coding, comment

    def _text(self, name: str, expected: str) -> str:
        value = self._data.get(name)
        if isinstance(value, str) and value:
            return value
        self._complain(f"expected {expected}", name)
        return ""

    def _instant(self, name: str) -> int:
        """Microseconds since 1970 UTC. A time zone is required."""
        value = self._data.get(name)
        try:
            at = datetime.fromisoformat(value) if isinstance(value, str) else None
            if at is not None and at.tzinfo is not None and at.year in _YEARS:
                return microseconds(at)
        except (ValueError, OverflowError):
            pass
        self._complain("expected an instant such as 2026-12-01T08:30:00Z", name)
        return 0

    def _complain(self, expected: str, name: str = "") -> None:
        self._wrong.append((f"{self._place}.{name}" if name else self._place, expected))
