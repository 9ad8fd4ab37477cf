"""Importing: whole or delta, in one transaction, and nothing changed that is the same."""

from __future__ import annotations

import re
import sqlite3
import time
from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import select, text

from service.database.engines import database_file, open_engine
from service.errors import ConfigurationError, PayerDataUnavailable
from service.payer_data import staging
from service.payer_data.embedded import sqlite_query
from service.payer_data.importing import import_file
from service.payer_data.payer_tables import imports
from service.payer_data.port import PayerData, Records, Wanted
from service.payer_data.record_files import COLUMNS, RecordReader, Refusal
from service.payer_data.record_rows import KINDS
from service.policies.program_table import load_programs
from tests.conftest import ROOT
from tests.unit.payer_data.conftest import AT, OTHER_PAYER, Import
from tests.unit.payer_data.people import BORN, PAYER

HEADER = "number,program,birth_date,family,given,alternates,starts,ends\n"
ANN = "TEST-MEMBER-0001,medicare_advantage,1951-04-12,Testcase,Ann,1AB2-C3D;77,2022-01-01,\n"
BO = "TEST-MEMBER-0002,original_medicare,1951-04-12,Sampleson,Bo,,2022-01-01,2026-12-31\n"


def ask(
    source: PayerData,
    *numbers: str,
    payer: str = PAYER,
    born: date = BORN,
    **more: frozenset[str],
) -> Records:
    wanted = Wanted(payer, frozenset(numbers), born, **more)
    return source.look_up(wanted, time.monotonic() + 60)


def names(records: Records) -> set[str]:
    return {m.given for m in records.members}


def test_a_member_is_found_by_each_of_its_numbers(put: Import, source: PayerData) -> None:
    report = put("members", HEADER + ANN + BO)
    assert (report.done, report.added, report.refused) == (True, 2, 0)
    for number in ("TESTMEMBER0001", "1AB2C3D", "77"):
        assert names(ask(source, number)) == {"Ann"}
    assert len(ask(source, "TESTMEMBER0001", "77").members) == 1
    assert ask(source, "TESTMEMBER0003") == Records()


def test_ndjson_says_the_same_as_csv(put: Import, source: PayerData) -> None:
    put("members", HEADER + ANN)
    from_csv = ask(source, "77")
    line = (
        '{"number":"TEST-MEMBER-0001","program":"medicare_advantage","birth_date":"1951-04-12",'
        '"family":"Testcase","given":"Ann","alternates":["1AB2-C3D","77"],"starts":"2022-01-01"}\n'
    )
    report = put("members", f"{line}\n", suffix=".ndjson")
    assert (report.added, report.changed, report.removed, report.unchanged) == (0, 0, 0, 1)
    assert ask(source, "77") == from_csv


def test_the_same_file_again_changes_nothing(put: Import, source: PayerData) -> None:
    put("members", HEADER + ANN + BO)
    before = ask(source, "77")
    report = put("members", HEADER + BO + ANN)
    assert (report.added, report.changed, report.removed, report.unchanged) == (0, 0, 0, 2)
    assert ask(source, "77") == before


def test_a_record_has_another_version_once_it_has_changed(put: Import, source: PayerData) -> None:
    put("members", HEADER + ANN)
    (before,) = ask(source, "77").members
    report = put("members", HEADER + ANN.replace("2022-01-01,", "2022-01-01,2026-11-30"))
    (after,) = ask(source, "77").members
    assert (report.added, report.changed, report.removed) == (0, 1, 0)
    assert before.version != after.version


def test_a_whole_file_removes_what_it_no_longer_has(put: Import, source: PayerData) -> None:
    put("members", HEADER + ANN + BO)
    report = put("members", HEADER + ANN.replace(";77", ""))
    assert (report.changed, report.removed) == (1, 1)
    assert ask(source, "TESTMEMBER0002") == ask(source, "77") == Records()
    assert names(ask(source, "1AB2C3D")) == {"Ann"}


def test_a_whole_file_leaves_the_members_of_another_payer(put: Import, source: PayerData) -> None:
    put("members", "payer," + HEADER + f"{OTHER_PAYER},{BO}")
    put("members", "payer," + HEADER + f"example-health-plan,{ANN}")
    assert names(ask(source, "TESTMEMBER0002", payer=OTHER_PAYER)) == {"Bo"}
    assert ask(source, "TESTMEMBER0002") == Records()


def test_a_delta_adds_changes_and_removes_what_it_names(put: Import, source: PayerData) -> None:
    put("members", HEADER + ANN + BO)
    delta = "remove," + HEADER + "true," + BO + "," + ANN.replace("1AB2-C3D;77", "88")
    report = put("members", delta, whole=False)
    assert (report.added, report.changed, report.removed, report.unchanged) == (0, 1, 1, 0)
    assert names(ask(source, "88")) == names(ask(source, "TESTMEMBER0001")) == {"Ann"}
    assert ask(source, "77") == ask(source, "1AB2C3D") == ask(source, "TESTMEMBER0002") == Records()


def test_of_lines_about_one_record_the_last_counts(put: Import, source: PayerData) -> None:
    report = put("members", HEADER + ANN + ANN.replace(",Ann,", ",Anna,"))
    assert (report.added, report.repeated) == (1, 1)
    assert names(ask(source, "77")) == {"Anna"}


def test_of_a_superseded_line_no_number_is_left(put: Import, source: PayerData) -> None:
    report = put("members", HEADER + ANN + BO + ANN.replace(";77", ";88"))
    assert (report.added, report.repeated, report.unchanged) == (2, 1, 0)
    assert ask(source, "77") == Records()
    assert names(ask(source, "88")) == {"Ann"}


@pytest.mark.parametrize("whole", [True, False])
def test_a_corrected_birth_date_changes_the_member_and_leaves_none_behind(
    put: Import, source: PayerData, whole: bool
) -> None:
    put("members", HEADER + ANN + BO)
    corrected = ANN.replace("1951-04-12", "1951-04-21")
    report = put("members", HEADER + corrected + BO, whole=whole)
    assert (report.added, report.changed, report.removed, report.unchanged) == (0, 1, 0, 1)
    assert ask(source, "77") == ask(source, "TESTMEMBER0001") == Records()
    for number in ("77", "TESTMEMBER0001"):
        assert names(ask(source, number, born=date(1951, 4, 21))) == {"Ann"}


def test_a_delta_removes_a_member_by_all_its_numbers(put: Import, source: PayerData) -> None:
    put("members", HEADER + ANN + BO)
    without_numbers = ANN.replace("1AB2-C3D;77", "").replace("1951-04-12", "1950-01-01")
    report = put("members", "remove," + HEADER + "true," + without_numbers, whole=False)
    assert (report.removed, report.added) == (1, 0)
    assert ask(source, "77") == ask(source, "1AB2C3D") == ask(source, "TESTMEMBER0001") == Records()


def test_a_first_delta_adds_what_it_does_not_remove(put: Import, source: PayerData) -> None:
    report = put("members", "remove," + HEADER + "true," + BO + "," + ANN, whole=False)
    assert (report.records, report.added, report.removed) == (2, 1, 0)
    assert names(ask(source, "77", "TESTMEMBER0002")) == {"Ann"}


def test_a_delta_of_another_kind_changes_and_removes_what_it_names(
    put: Import, source: PayerData
) -> None:
    header = "number,member,codes,status\n"
    put("members", HEADER + ANN)
    put("authorizations", header + "A1,77,76390,pending\nA2,77,76390,pending\n")
    put(
        "authorizations",
        f"remove,{header},A1,TEST-MEMBER-0001,76390,approved\n,A2,TEST-MEMBER-0001,76390,pending\n",
    )
    report = put(
        "authorizations",
        f"remove,{header},A1,TEST-MEMBER-0001,76390,denied\ntrue,A2,TEST-MEMBER-0001,76390,pending\n",
        whole=False,
    )
    assert (report.added, report.changed, report.removed) == (0, 1, 1)
    found = ask(source, "77").authorizations
    assert [(a.number, a.status) for a in found] == [("A1", "denied")]


@pytest.mark.parametrize(
    ("kind", "text", "reason"),
    [
        ("members", HEADER + ANN.replace("1951-04-12", "12.4.1951"), "birth_date: expected a day"),
        ("members", HEADER + ANN.replace("medicare_advantage", "hmo"), "program: expected one of"),
        ("members", HEADER + ANN.replace("TEST-MEMBER-0001", "--"), "number: expected a number"),
        ("members", HEADER + ANN.replace("2022-01-01,", "2022-01-01,2021-01-01"), "is before"),
        ("members", HEADER + ANN.replace(",Ann", ""), "7 fields, the header has 8"),
        ("members", "payer," + HEADER + "nobody," + ANN, "payer: expected a payer"),
        ("members", "remove," + HEADER + "true," + ANN, "remove: is for a delta"),
        ("members", HEADER + ANN.replace("Testcase", "Test\0case"), "family: expected text"),
        ("network", "npi\n12345\n", "npi: expected an NPI"),
        ("history", "member,code,day\nM1,MRS,2026-01-01\n", "code: expected a CPT"),
        (
            "authorizations",
            "number,member,codes,status,units\nA1,M1,76390,approved,0\n",
            "units: expected a whole number",
        ),
        ("exemptions", "npi,codes\n9999998310,\n", "codes: is missing"),
    ],
)
def test_a_line_that_is_no_record_is_told_by_line_and_reason(
    put: Import, source: PayerData, kind: str, text: str, reason: str
) -> None:
    report = put(kind, text)
    (refusal,) = report.refusals
    assert refusal.line == 2
    assert reason in refusal.reason
    assert not report.done
    assert ask(source, "TESTMEMBER0001", providers=frozenset({"12345"})) == Records()


def test_a_refused_line_stops_the_import_unless_so_many_may_be(
    put: Import, source: PayerData
) -> None:
    put("members", HEADER + BO)
    text = HEADER + ANN + "x,y\n"
    assert put("members", text).refusals == [Refusal(3, "2 fields, the header has 8")]
    assert names(ask(source, "TESTMEMBER0002")) == {"Bo"}
    report = put("members", text, most_refused=1)
    assert (report.done, report.added, report.refused) == (True, 1, 1)
    assert names(ask(source, "77")) == {"Ann"}


@pytest.mark.parametrize(
    ("text", "suffix", "says"),
    [
        (HEADER, ".csv", "has no record in it"),
        ("numbre,program\n", ".csv", "name each column once"),
        ("{}", ".txt", "expected a .csv"),
    ],
)
def test_a_file_that_is_none_is_refused_and_nothing_is_changed(
    put: Import, source: PayerData, text: str, suffix: str, says: str
) -> None:
    put("members", HEADER + ANN)
    with pytest.raises(ConfigurationError, match=says):
        put("members", text, suffix=suffix)
    assert names(ask(source, "77")) == {"Ann"}


def test_a_file_in_another_encoding_is_refused(url: str, tmp_path: Path) -> None:
    path = tmp_path / "members.csv"
    path.write_bytes((HEADER + ANN.replace("Ann", "Ännchen")).encode("latin-1"))
    with pytest.raises(ConfigurationError, match="expected UTF-8"):
        import_file(
            url,
            path,
            KINDS["members"],
            RecordReader(KINDS["members"], {PAYER: PAYER}, load_programs(), PAYER),
            whole=True,
            most_refused=9,
            at=AT,
        )


def test_what_bears_on_an_order_comes_with_the_member(put: Import, source: PayerData) -> None:
    put("members", HEADER + ANN)
    put(
        "authorizations",
        "number,member,codes,status\nA1,TEST-MEMBER-0001,76390;70551,approved\nA2,M9,76390,denied\n",
    )
    put("history", "member,code,day\nTEST-MEMBER-0001,76390,2026-03-01\nM9,76390,2026-03-02\n")
    put("network", "npi,plan\n9999998310,plan-0001\n9999998328,\n")
    put("exemptions", "npi,codes\n9999998310,72148\n")
    cpt = "http://www.ama-assn.org/go/cpt|"
    found = ask(source, "77", codes=frozenset({f"{cpt}76390"}), providers=frozenset({"9999998310"}))
    assert [a.number for a in found.authorizations] == ["A1"]
    assert found.authorizations[0].codes == (f"{cpt}76390", f"{cpt}70551")
    assert [s.day.isoformat() for s in found.services] == ["2026-03-01"]
    assert [c.plan for c in found.contracts] == ["plan-0001"]
    assert [e.codes for e in found.exemptions] == [(f"{cpt}72148",)]
    assert found.network_known
    assert ask(source, "77", codes=frozenset({f"{cpt}70551"})).services == ()


def test_a_record_that_cannot_be_read_is_trouble_and_is_not_quoted(
    put: Import, url: str, source: PayerData
) -> None:
    put("members", HEADER + ANN)
    with open_engine(url).connect() as connection:
        connection.execute(text("UPDATE payer_member SET record = '{\"number\": 7}'"))
        connection.commit()
    with pytest.raises(PayerDataUnavailable, match=r"^a record is not readable$"):
        ask(source, "77")


@pytest.mark.parametrize("count", [1, 20])
def test_each_table_is_read_by_its_key_however_many_records_it_has(url: str, count: int) -> None:
    values = frozenset(map(str, range(count)))
    statement, parameters = sqlite_query(Wanted(PAYER, values, BORN, values, values))
    connection = sqlite3.connect(database_file(url))
    plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
    connection.close()
    read = [line for (*_, line) in plan if "PRIMARY KEY" in line or "payer_" in line]
    whole = "USING PRIMARY KEY (payer=? AND key=?)"
    assert all(line.startswith("SEARCH") for line in read)
    # The last two ask whether there is any row of the payer.
    assert all(line.endswith(whole) for line in read[:-2])
    assert {line.split()[1] for line in read[:-2]} >= {"payer_member", "payer_network"}
    assert len(read) >= len(KINDS) + 2


def test_a_look_up_of_few_values_makes_no_temporary_table(url: str) -> None:
    values = frozenset({"1", "2"})
    statement, parameters = sqlite_query(Wanted(PAYER, values, BORN, values, values))
    connection = sqlite3.connect(database_file(url))
    steps = connection.execute(f"EXPLAIN {statement}", parameters).fetchall()
    connection.close()
    assert "OpenRead" in {step for _, step, *_ in steps}
    assert "OpenEphemeral" not in {step for _, step, *_ in steps}


def test_who_reads_sees_the_old_state_until_an_import_is_whole(
    put: Import, url: str, source: PayerData, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("members", HEADER + ANN)
    seen: list[set[str]] = []
    merge = staging._Merging.merge

    def while_reading(self: staging._Merging) -> None:
        merge(self)
        seen.append(names(ask(source, "77", "TESTMEMBER0002")))

    monkeypatch.setattr(staging._Merging, "merge", while_reading)
    put("members", HEADER + BO)
    assert seen == [{"Ann"}]
    assert names(ask(source, "77", "TESTMEMBER0002")) == {"Bo"}


def test_an_import_that_breaks_off_leaves_everything_as_it_was(
    put: Import, url: str, source: PayerData, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("members", HEADER + ANN)

    merge = staging._Merging.merge

    def breaks_off(self: staging._Merging) -> None:
        merge(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(staging._Merging, "merge", breaks_off)
    with pytest.raises(KeyboardInterrupt):
        put("members", HEADER + BO)
    assert names(ask(source, "77")) == {"Ann"}
    monkeypatch.undo()
    assert put("members", HEADER + BO).done


def test_each_import_is_on_record_without_a_word_of_a_member(put: Import, url: str) -> None:
    put("members", HEADER + ANN)
    put("members", HEADER + ANN)
    with open_engine(url).connect() as connection:
        rows = connection.execute(select(imports).order_by(imports.c.import_id)).all()
    assert [(row[2], tuple(row[5:])) for row in rows] == [
        ("members", (1, 0, 0, 0)),
        ("members", (0, 0, 0, 0)),
    ]
    assert rows[0][4] == rows[1][4]
    assert "Ann" not in str(rows)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_document_lists_the_columns_of_each_file(kind: str) -> None:
    text = (ROOT / "docs" / "payer-data.md").read_text("utf-8")
    section = text.split(f"### {kind}\n", 1)[1].split("\n#", 1)[0]
    columns = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    expected = [c.name for c in COLUMNS[KINDS[kind].type]]
    everywhere = ["payer", "remove"] if kind == "members" else []
    assert columns == everywhere + expected
