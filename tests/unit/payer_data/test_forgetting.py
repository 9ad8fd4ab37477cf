"""A member who is forgotten is gone by every number, and nobody else is."""

from __future__ import annotations

import time
from pathlib import Path

from service.database.engines import database_file
from service.payer_data.embedded import open_embedded
from service.payer_data.forgetting import Forgotten, forget
from service.payer_data.port import PayerData, Wanted
from tests.unit.payer_data.conftest import OTHER_PAYER, Import
from tests.unit.payer_data.people import BORN, PAYER

MEMBERS = """number,person,program,birth_date,family,given,alternates,starts,ends
M1,ann,medicare_advantage,1951-04-12,Testcase,Ann,SHARED;MBI1,2022-01-01,2025-12-31
M2,ann,medicare_advantage,1951-04-12,Testcase,Ann,SHARED;MBI1,2026-01-01,
M4,ann,medicare_advantage,1951-04-12,Testcase,Ann,,2020-01-01,2021-12-31
M3,al,medicare_advantage,1951-04-12,Testcase,Al,SHARED,2022-01-01,
"""
AUTHORIZATIONS = "number,member,codes,status\nA1,M1,76390,approved\nA3,M3,76390,approved\n"
HISTORY = "member,code,day\nM2,76390,2026-03-01\nM2,70551,2026-03-01\nM3,76390,2026-03-01\n"


def known(url: str, number: str) -> set[str]:
    source = open_embedded(url)
    codes = frozenset({"http://www.ama-assn.org/go/cpt|76390"})
    found = source.look_up(Wanted(PAYER, frozenset({number}), BORN, codes), time.monotonic() + 60)
    source.close()
    own = {a.number for a in found.authorizations} | {str(s.day) for s in found.services}
    return {m.number for m in found.members} | own


def test_all_numbers_of_the_person_go_and_what_is_under_them(url: str, put: Import) -> None:
    put("members", MEMBERS)
    put("authorizations", AUTHORIZATIONS)
    put("history", HISTORY)
    assert forget(url, "m-2", [PAYER, OTHER_PAYER]) == Forgotten(3, 1, 2)
    assert known(url, "M1") == known(url, "M2") == known(url, "MBI1") == set()
    assert known(url, "M4") == set()
    assert known(url, "SHARED") == {"M3", "A3", "2026-03-01"}


def test_nothing_of_the_member_is_left_in_the_file(url: str, put: Import, tmp_path: Path) -> None:
    put("members", MEMBERS)
    assert b"MBI1" in contents(tmp_path)
    forget(url, "M1", [PAYER])
    assert b"MBI1" not in contents(tmp_path)
    assert database_file(url).exists()


def test_nothing_of_a_member_who_left_is_in_the_file_after_the_next_import(
    put: Import, source: PayerData, tmp_path: Path
) -> None:
    put("members", MEMBERS)
    # A reader keeps the write-ahead log from being removed.
    source.look_up(Wanted(PAYER, frozenset({"M1"}), BORN), time.monotonic() + 60)
    others = "".join(line for line in MEMBERS.splitlines(True) if "MBI1" not in line)
    assert put("members", others).removed == 2
    assert b"MBI1" not in contents(tmp_path)


def contents(folder: Path) -> bytes:
    return b"".join(f.read_bytes() for f in folder.glob("payer-data.sqlite3*"))


def test_a_number_of_nobody_forgets_nothing(url: str, put: Import) -> None:
    put("members", MEMBERS)
    assert forget(url, "M9", [PAYER]) == Forgotten(0, 0, 0)
    assert known(url, "M1") != set()
