"""A source that fails again and again is left alone for a while, then tried once."""

from __future__ import annotations

import pytest

from service.errors import PayerDataUnavailable
from service.payer_data.port import CIRCUIT_OPEN, source_circuit


class Source:
    """Fails while told to, and counts how often it was asked."""

    def __init__(self) -> None:
        self.now = 0.0
        self.away = True
        self.asked = 0
        self.circuit = source_circuit(lambda: self.now)

    def look(self) -> str:
        self.asked += 1
        if self.away:
            raise PayerDataUnavailable("timeout")
        return "records"

    def ask(self) -> str:
        try:
            return self.circuit.call(self.look)
        except PayerDataUnavailable as error:
            return error.why


def test_after_three_failures_in_a_row_nobody_waits_any_more() -> None:
    source = Source()
    assert [source.ask() for _ in range(5)] == ["timeout"] * 3 + [CIRCUIT_OPEN] * 2
    assert (source.asked, source.circuit.closed) == (3, False)
    assert (source.circuit.called, source.circuit.failed, source.circuit.refused) == (3, 3, 2)


def test_a_success_between_failures_keeps_it_closed() -> None:
    source = Source()
    source.ask(), source.ask()
    source.away = False
    assert source.ask() == "records"
    source.away = True
    assert [source.ask() for _ in range(3)] == ["timeout"] * 3


def test_after_a_while_one_question_tries_and_closes_it() -> None:
    source = Source()
    for _ in range(3):
        source.ask()
    source.now, source.away = 5.1, False
    assert source.ask() == "records"
    assert source.circuit.closed


def test_while_one_question_tries_the_others_are_still_turned_away() -> None:
    source = Source()
    for _ in range(3):
        source.ask()
    source.now = 5.1
    seen: list[str] = []

    def tries() -> str:
        seen.append(source.ask())
        raise PayerDataUnavailable("timeout")

    with pytest.raises(PayerDataUnavailable, match="timeout"):
        source.circuit.call(tries)
    assert seen == [CIRCUIT_OPEN]
    assert source.ask() == CIRCUIT_OPEN


def test_another_error_is_no_failure_of_the_source() -> None:
    circuit = source_circuit()
    for _ in range(5):
        with pytest.raises(ZeroDivisionError):
            circuit.call(lambda: 1 // 0)
    assert circuit.closed
