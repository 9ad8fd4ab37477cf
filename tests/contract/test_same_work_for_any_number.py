"""Somebody else's number is as much work as a number of nobody: there is no time to learn from.

Work is compared line by line and statement by statement. A timing would prove nothing here.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from service.bootstrap.app import Library, wire_review
from service.payer_data import embedded
from service.review.order_review import OrderReview
from tests.conftest import NOW, in_folder
from tests.contract.calls import Json
from tests.contract.payer_records import Plan, call, plan, records_database
from tests.contract.test_payer_records import MEMBERS

OWN, SOMEBODYS, NOBODYS = "TEST-MEMBER-0001", "TEST-MEMBER-0002", "TEST-MEMBER-0009"
FILES = {
    "authorizations": f"number,member,codes,status\nA2,{SOMEBODYS},76390,approved\n",
    "history": f"member,code,day\n{SOMEBODYS},76390,2026-03-02\n",
}


class Watched:
    """A review whose work is written down: lines, and SQLite's statements with steps and rows."""

    def __init__(self, review: OrderReview, monkeypatch: pytest.MonkeyPatch) -> None:
        self._review = review
        self._steps = 0
        self._statements: list[str] = []
        look_up = embedded.SqliteSource._look_up

        def watching(source: embedded.SqliteSource, wanted: Any) -> Any:
            connection = source._taken()
            source._idle.append(connection)
            connection.set_trace_callback(self._statements.append)
            connection.set_progress_handler(self._count, 1)
            return look_up(source, wanted)

        monkeypatch.setattr(embedded.SqliteSource, "_look_up", watching)

    def _count(self) -> int:
        self._steps += 1
        return 0

    def work(self, request: Json, number: str) -> tuple[list[tuple[str, int]], int, list[str]]:
        """Each line of the service that is run, SQLite's steps, and its statements."""
        body = json.dumps(request).encode()
        lines: list[tuple[str, int]] = []

        def line(frame: FrameType, event: str, _argument: Any) -> Any:
            if "/service/" not in frame.f_code.co_filename:
                return None
            if event == "line":
                lines.append((frame.f_code.co_filename, frame.f_lineno))
            return line

        self._steps = 0
        self._statements.clear()
        before = sys.gettrace()
        sys.settrace(line)
        try:
            self._review.review("order-sign-crd", body)
        finally:
            sys.settrace(before)
        said = [s.replace(number.replace("-", ""), "NUMBER") for s in self._statements]
        return lines, self._steps, said


@pytest.fixture
def payer(tmp_path: Path) -> Iterator[Plan]:
    """A payer that knows Ann, and Bo with an authorization and a history."""
    url = records_database(tmp_path)
    with plan(url, tmp_path) as payer:
        payer.put("members", MEMBERS)
        for kind, text in FILES.items():
            payer.put(kind, text)
        yield payer


@pytest.fixture
def watched(payer: Plan, monkeypatch: pytest.MonkeyPatch) -> Watched:
    """The review of that payer's service, with everything in place that first calls make."""
    settings = in_folder(payer.folder, payer_data=payer.url)
    review = wire_review(settings, Library(settings), clock=lambda: NOW)
    watched = Watched(review, monkeypatch)
    for number in (OWN, SOMEBODYS, NOBODYS) * 2:
        for version in ("2.0", "2.2"):
            watched.work(call(version, number=number), number)
        watched.work(call("2.2", patient_number=number), number)
    return watched


@pytest.mark.threat("member-enumeration")
@pytest.mark.parametrize("version", ["2.0", "2.2"])
def test_the_same_lines_and_statements_are_run_for_somebodys_number_as_for_nobodys(
    watched: Watched, version: str
) -> None:
    somebodys = watched.work(call(version, number=SOMEBODYS), SOMEBODYS)
    nobodys = watched.work(call(version, number=NOBODYS), NOBODYS)
    assert somebodys == nobodys
    lines, steps, statements = somebodys
    assert (len(statements), steps > 0, len(lines) > 0) == (1, True, True)


@pytest.mark.threat("member-enumeration")
def test_the_same_is_run_for_a_member_number_of_the_patient_whosever_it_is(
    watched: Watched,
) -> None:
    somebodys, nobodys = (
        watched.work(call("2.2", patient_number=number), number) for number in (SOMEBODYS, NOBODYS)
    )
    assert somebodys == nobodys


@pytest.mark.threat("member-enumeration")
def test_the_callers_own_number_is_more_work_so_that_a_difference_would_show(
    watched: Watched,
) -> None:
    own = watched.work(call("2.2", number=OWN), OWN)
    nobodys = watched.work(call("2.2", number=NOBODYS), NOBODYS)
    assert own[0] != nobodys[0]
    assert own[1] > nobodys[1]
