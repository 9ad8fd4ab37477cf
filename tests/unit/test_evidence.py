"""The threat model and the rules of the forms are held to the tests that claim their rows."""

import re

import pytest

from tests.evidence import DOCUMENTS, FORM_RULES, THREATS, Document, claims

BOTH = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.path.name)


@BOTH
def test_every_row_is_claimed_by_a_test(document: Document) -> None:
    claimed = {claim.row for claim in claims(document.marker)}
    assert [row for row in document.rows() if row not in claimed] == []


@BOTH
def test_every_claim_is_of_a_row(document: Document) -> None:
    rows = document.rows()
    assert [c for c in claims(document.marker) if c.row not in rows] == []


@BOTH
def test_no_two_rows_share_an_id(document: Document) -> None:
    rows = document.rows()
    assert len(set(rows)) == len(rows) >= 30


@BOTH
def test_the_list_of_tests_is_the_one_that_the_markers_make(document: Document) -> None:
    assert document.as_written() == document.as_claimed(), "run: make documents"


@BOTH
def test_every_row_has_its_text(document: Document) -> None:
    text = document.path.read_text("utf-8")
    cells = [re.split(r" \| ", line.strip("| ")) for line in text.splitlines() if "| `" in line]
    assert cells
    assert [row for row in cells if not all(cell.strip(" |") for cell in row)] == []


def test_the_six_risks_of_cds_hooks_come_first() -> None:
    text = THREATS.path.read_text("utf-8")
    table = text.split("## Risks named by CDS Hooks", 1)[1].split("\n## ", 1)[0]
    assert re.findall(r"^\| `([a-z-]+)`", table, flags=re.MULTILINE) == THREATS.rows()[:6]
    assert len(re.findall(r"^\| `", table, flags=re.MULTILINE)) == 6


def test_the_rules_name_their_specification() -> None:
    assert {row.split("-")[0] for row in FORM_RULES.rows()} == {"sdc", "dtr", "crd"}
