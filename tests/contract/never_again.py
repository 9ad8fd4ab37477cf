"""What no answer may say, whatever was asked; and how short a card must be."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from cards.brevity import WORDS_AT_A_GLANCE, words_before_more
from tests.contract.answer_rules import stated

NEVER_SAID = (
    # Telling a member so is itself an organization determination, with a notice of its own.
    r"tell the patient that the plan does not cover",
    r"advance-notice-record",
    # Only with a valid ABN, or with the plan's written decision.
    r"may have to pay(?! only if)",
    r"tener que pagar(?! solo si)",
    # No modifier before the outcome of a notice is known; GZ never.
    r"\bGZ\b",
    r"likely (not )?to (deny|pay)",
    r"not enough evidence",
    r"no (coverage|insurance) (that )?is active",
    r"in force since",
    r"programme",
)
OF_MEDICARE_ADVANTAGE = r"Evidence of Coverage"


def check_never_again(answer: Mapping[str, Any]) -> None:
    """Assert that nothing of it is said in a card, a button or coverage information."""
    written = json.dumps([answer["cards"], list(stated(answer))], ensure_ascii=False)
    for never in NEVER_SAID:
        assert not re.search(never, written, re.IGNORECASE), never
    for card in answer["cards"]:
        check_card(card)
    for statement in stated(answer):
        said = json.dumps(statement)
        if "no-auth" in said:
            assert "ask the plan" not in said.lower()


def check_page(words: str) -> None:
    """Assert that nothing of it stands on a policy's page, given without its tags."""
    for never in NEVER_SAID:
        assert not re.search(never, words, re.IGNORECASE), never


def check_card(card: Mapping[str, Any]) -> None:
    detail = card["detail"]
    assert words_before_more(detail) <= WORDS_AT_A_GLANCE, detail
    assert not re.search(r"\bG[AXY]\b", detail) or "**Advance notice:**" in detail
    if card["summary"].startswith("Medicare may not pay"):
        assert OF_MEDICARE_ADVANTAGE not in detail
