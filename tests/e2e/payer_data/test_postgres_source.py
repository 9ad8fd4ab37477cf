"""The embedded source on PostgreSQL: the same as on SQLite, and what only a server can do to us."""

from __future__ import annotations

import functools
import signal
import threading
import time
from pathlib import Path

import psycopg
import pytest

from service.database.table_revisions import upgrade
from service.errors import PayerDataUnavailable
from service.payer_data import embedded
from service.payer_data.embedded import PostgresSource, open_embedded
from service.payer_data.payer_tables import MIGRATIONS
from service.payer_data.port import CIRCUIT_OPEN, PayerData, Wanted, source_circuit
from tests.e2e.decision_log.postgres import Postgres
from tests.e2e.payer_data.wire import counted
from tests.e2e.processes import without_threads
from tests.unit.payer_data.conftest import Import, importer
from tests.unit.payer_data.people import BORN, PAYER
from tests.unit.payer_data.test_forgetting import (  # noqa: F401
    test_a_number_of_nobody_forgets_nothing,
    test_all_numbers_of_the_person_go_and_what_is_under_them,
)
from tests.unit.payer_data.test_importing import (  # noqa: F401
    ANN,
    BO,
    HEADER,
    ask,
    names,
    test_a_corrected_birth_date_changes_the_member_and_leaves_none_behind,
    test_a_delta_adds_changes_and_removes_what_it_names,
    test_a_delta_of_another_kind_changes_and_removes_what_it_names,
    test_a_delta_removes_a_member_by_all_its_numbers,
    test_a_file_in_another_encoding_is_refused,
    test_a_file_that_is_none_is_refused_and_nothing_is_changed,
    test_a_first_delta_adds_what_it_does_not_remove,
    test_a_member_is_found_by_each_of_its_numbers,
    test_a_record_has_another_version_once_it_has_changed,
    test_a_refused_line_stops_the_import_unless_so_many_may_be,
    test_a_whole_file_leaves_the_members_of_another_payer,
    test_a_whole_file_removes_what_it_no_longer_has,
    test_an_import_that_breaks_off_leaves_everything_as_it_was,
    test_each_import_is_on_record_without_a_word_of_a_member,
    test_ndjson_says_the_same_as_csv,
    test_of_a_superseded_line_no_number_is_left,
    test_of_lines_about_one_record_the_last_counts,
    test_the_same_file_again_changes_nothing,
    test_what_bears_on_an_order_comes_with_the_member,
    test_who_reads_sees_the_old_state_until_an_import_is_whole,
)
from tests.unit.payer_data.test_schema import (  # noqa: F401
    test_both_rooms_tables_may_be_in_one_database_each_at_its_own_revision,
    test_members_of_an_earlier_revision_are_found_by_number_and_birth_date,
    test_the_migrations_make_the_tables_that_the_code_expects,
)

ODD = 'M1,medicare_advantage,1951-04-12,"Back\\slash	tab\nline",Ann "A",,2022-01-01,\n'


def test_what_is_odd_in_a_name_comes_through_copy(put: Import, source: PayerData) -> None:
    put("members", HEADER + ODD)
    (member,) = ask(source, "M1").members
    assert (member.family, member.given) == ("Back\\slash\ttab\nline", 'Ann "A"')


SOMEBODYS = "TEST-MEMBER-0003,medicare_advantage,1948-09-30,Placeholder,Cy,,2022-01-01,\n"
OPTIONS = "sslmode=disable&gssencmode=disable"


@pytest.mark.threat("member-enumeration")
def test_a_look_up_is_one_round_trip_whoever_has_the_number(
    put: Import, server: Postgres, url: str
) -> None:
    put("members", HEADER + ANN + SOMEBODYS)
    with counted(server.port) as wire:
        source = open_embedded(f"{url.replace(str(server.port), str(wire.port))}?{OPTIONS}")
        assert names(ask(source, "77")) == {"Ann"}  # connects and prepares the statement
        for number, found in (("77", {"Ann"}), ("NOBODYS", set()), ("TESTMEMBER0003", set())):
            before = wire.round_trips
            assert names(ask(source, number)) == found
            assert wire.round_trips - before == 1
        assert wire.connections == 1
        source.close()


@pytest.mark.threat("member-enumeration")
def test_the_server_does_the_same_for_a_number_of_nobody_and_one_of_somebody_else(
    put: Import, server: Postgres
) -> None:
    put("members", HEADER + ANN + SOMEBODYS)
    put("authorizations", "number,member,codes,status\nA1,TEST-MEMBER-0003,76390,approved\n")

    def work(number: str) -> list[str]:
        """The nodes of the plan, each with the rows that it has read."""
        explain = f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) {embedded.POSTGRES}"
        wanted = Wanted(PAYER, frozenset({number}), BORN, frozenset({"x|76390"}))
        with server.connect("payer") as connection:
            rows = connection.execute(explain, embedded.parameters(wanted)).fetchall()
        return [row[0].replace(number, "NUMBER") for row in rows]

    assert work("TESTMEMBER0003") == work("TESTMEMBER0009") != work("77")


def test_each_table_is_read_by_its_key_however_many_records_it_has(
    put: Import, server: Postgres
) -> None:
    put("members", HEADER + "".join(BO.replace("0002", f"{n:04}") for n in range(2000)))
    wanted = Wanted(PAYER, frozenset({"77"}), BORN, frozenset({"x|76390"}), frozenset({"1"}))
    names_of = ("payer", "numbers", "codes", "providers")
    places = {f"%({name})s": f"${i}" for i, name in enumerate(names_of, 1)}
    statement = functools.reduce(lambda s, p: s.replace(*p), places.items(), embedded.POSTGRES)
    values = embedded.parameters(wanted)
    with server.connect("payer") as connection:
        connection.execute("SET plan_cache_mode = force_generic_plan")
        # The other tables are so small that the planner would read them whole.
        connection.execute("SET enable_seqscan = off")
        connection.execute("SET enable_bitmapscan = off")
        connection.execute(f"PREPARE look_up(text, text[], text[], text[]) AS {statement}")
        # An EXECUTE takes no parameters of the protocol's.
        explained = (
            psycopg.ClientCursor(connection)
            .execute(
                "EXPLAIN (COSTS OFF) EXECUTE look_up(%s, %s, %s, %s)",
                [values[name] for name in names_of],
            )
            .fetchall()
        )
    plan = [line.strip(" ->") for (line,) in explained]
    scans = [line for line in plan if " on payer_" in line]
    assert len(scans) == 7
    assert all(line.startswith(("Index Scan using", "Index Only Scan using")) for line in scans)
    conditions = [line for line in plan if line.startswith("Index Cond")]
    assert sum("(key = ANY" in line for line in conditions) == 5


def test_a_server_that_hangs_costs_no_more_than_the_deadline_and_opens_the_circuit(
    put: Import, server: Postgres, url: str
) -> None:
    put("members", HEADER + ANN)
    source = open_embedded(url)
    assert names(ask(source, "77")) == {"Ann"}
    server.signal(signal.SIGSTOP)
    try:
        for _ in range(3):
            with pytest.raises(PayerDataUnavailable, match="timeout"):
                look(source, 0.05)
        with pytest.raises(PayerDataUnavailable, match=CIRCUIT_OPEN):
            look(source, 5)
        assert not source.health().up
    finally:
        server.signal(signal.SIGCONT)
    deadline = time.monotonic() + 60
    while not source.health().up and time.monotonic() < deadline:
        time.sleep(0.5)
        try:
            ask(source, "77")
        except PayerDataUnavailable:
            continue
    assert names(ask(source, "77")) == {"Ann"}
    source.close()


def look(source: PayerData, seconds: float) -> None:
    source.look_up(Wanted(PAYER, frozenset({"77"}), BORN), time.monotonic() + seconds)


def test_a_connection_that_the_server_has_closed_is_made_anew(
    put: Import,
    server: Postgres,
    source: PayerData,
) -> None:
    put("members", HEADER + ANN)
    ask(source, "77")
    with server.connect("postgres") as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = 'payer' AND pid <> pg_backend_pid()"
        )
    assert names(ask(source, "77")) == {"Ann"}


def test_many_ask_at_once_on_few_connections(put: Import, source: PayerData) -> None:
    put("members", HEADER + ANN + BO)
    answers: list[set[str]] = []
    threads = [
        threading.Thread(target=lambda: answers.append(names(ask(source, "77")))) for _ in range(40)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == [{"Ann"}] * 40


def test_a_server_that_is_not_there_is_away() -> None:
    source = open_embedded("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    with pytest.raises(PayerDataUnavailable, match="nothing listens there"):
        look(source, 5)
    source.close()


def test_a_machine_without_threads_takes_no_connection_for_good() -> None:
    url = "postgresql+psycopg://nobody@127.0.0.1:1/nothing"
    source = PostgresSource(url, source_circuit(), connections=1)
    with without_threads("payer-data"), pytest.raises(PayerDataUnavailable, match="no more"):
        look(source, 5)
    with pytest.raises(PayerDataUnavailable, match="nothing listens there"):
        look(source, 30)
    source.close()


def test_a_database_that_sorts_as_a_language_does_forgets_the_same(
    server: Postgres, tmp_path: Path
) -> None:
    with server.connect("postgres") as connection:
        connection.execute("DROP DATABASE IF EXISTS english WITH (FORCE)")
        connection.execute(
            "CREATE DATABASE english TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'"
        )
    url = server.url_of("english")
    upgrade(url, MIGRATIONS)
    put = importer(url, tmp_path)
    source = open_embedded(url)
    test_a_corrected_birth_date_changes_the_member_and_leaves_none_behind(put, source, whole=False)
    test_all_numbers_of_the_person_go_and_what_is_under_them(url, put)
    source.close()
