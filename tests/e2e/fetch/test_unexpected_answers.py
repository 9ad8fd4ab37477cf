"""Whatever an EHR answers, byte by byte: the call is answered, and says what was not read."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator

import pytest

from service.ehr.fetch_report import Outcome
from tests.contract.answer_rules import check_answer
from tests.e2e.fetch.conftest import Ask, bare
from tests.e2e.unexpected_answers import answering, unexpected

MOST_MEMORY = 20 * 1_048_576
"""Bytes: ten times what may be read for a call, a fifth of what these answers hold."""
SIGN = "order-sign/mrs-original-medicare"
COVERAGE = "Coverage?patient&status&_include"
GOOD = json.dumps({"resourceType": "Bundle", "type": "searchset", "entry": []}).encode()
ANSWERS = unexpected(GOOD)
STILL_READ = {"length of letters"}
"""What HTTP libraries take for an answer that ends with its connection; it holds no coverage."""


@pytest.fixture(scope="module")
def ehrs() -> Iterator[str]:
    with answering(ANSWERS) as base:
        yield base


@pytest.mark.threat("hostile-ehr")
@pytest.mark.parametrize("name", ANSWERS)
def test_an_unexpected_answer_of_an_ehr_is_said_and_breaks_nothing(
    ehrs: str, ask: Ask, name: str
) -> None:
    number = list(ANSWERS).index(name)
    asked = ask(bare(SIGN, f"{ehrs}/{number}", "patient", "encounter"), fetch_budget_ms=5000)
    check_answer(asked.answer)
    assert asked.statements == {}
    outcome = asked.outcomes[COVERAGE]
    assert outcome in set(Outcome)
    if name not in STILL_READ:
        assert outcome not in (Outcome.FETCHED, Outcome.NOT_FOUND)
        assert "could not be read from the EHR" in asked.answer["cards"][0]["detail"]


@pytest.mark.threat("hostile-ehr")
@pytest.mark.parametrize("name", [n for n in ANSWERS if "bomb" in n or "100 MB" in n])
def test_an_answer_that_is_too_large_takes_no_memory(ehrs: str, ask: Ask, name: str) -> None:
    number = list(ANSWERS).index(name)
    tracemalloc.start()
    try:
        ask(bare(SIGN, f"{ehrs}/{number}", "patient", "encounter"), fetch_budget_ms=20_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MOST_MEMORY
