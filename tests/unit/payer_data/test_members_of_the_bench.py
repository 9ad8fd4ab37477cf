"""The bench's members are records, and one of them is the patient of its calls."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from service.payer_data.embedded import open_embedded
from service.payer_data.port import Wanted
from tests.bench.bodies import order_sign_bodies
from tests.bench.member_growth import PAYER, imported, written


def test_every_member_of_the_bench_is_imported(url: str, tmp_path: Path) -> None:
    imported(url, written(tmp_path / "members.csv", 12))
    source = open_embedded(url)
    for told, born, number in (
        ("TESTMEMBER0001", date(1951, 4, 12), "TESTMEMBER0001"),
        ("SYNTHETIC000000", date(1930, 1, 1), "SYNTHETIC000000"),
        ("ALT000000010", date(1940, 11, 11), "SYNTHETIC000010"),
    ):
        found = source.look_up(Wanted(PAYER, frozenset({told}), born), float("inf")).members
        assert [m.number for m in found] == [number]
    source.close()
    assert all(b"TEST-MEMBER-0001" in body for body in order_sign_bodies(2))
