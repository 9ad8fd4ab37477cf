"""The bench's arithmetic: what is printed as a ratio is what was measured."""

from __future__ import annotations

import time
from xml.etree import ElementTree

import pytest

from service.bootstrap.app import Library, wire_review
from service.settings import Settings
from tests.bench.bodies import BODY_BYTES, call_with_orders, order_sign_bodies
from tests.bench.growth import ORDERS, ORDERS_OF_ONE_POLICY, SERVICE
from tests.bench.load import Load
from tests.bench.machine import Beside, Watch, machine_lines, read_ticks
from tests.bench.plot import svg
from tests.bench.report import (
    Measured,
    Target,
    markdown,
    median_load,
    other_ratios,
    ratio_of_rounds,
    target_lines,
    targets,
)


def load(rate: float, p99: float = 10.0, cpu: float = 100.0) -> Load:
    return Load(rate=rate, p50=1.0, p95=5.0, p99=p99, cpu=cpu)


def measured(
    name: str, rates: list[float], p99: float, memory: list[float], cpu: float = 100.0
) -> Measured:
    loads = {c: [load(r, p99, cpu) for r in rates] for c in (16, 64)}
    return Measured(name, name.title(), loads, memory, [1.5])


@pytest.fixture
def three() -> dict[str, Measured]:
    return {
        "floor": measured("floor", [1000, 2000, 4000], 10, [50, 52]),
        "complete": measured("complete", [400, 800, 1000], 25, [100, 104]),
        "healthchain": measured("healthchain", [200, 500, 400], 90, [90, 90]),
    }


def test_a_disturbed_round_moves_no_median() -> None:
    rounds = [load(1000, p99=10), load(50, p99=900), load(1100, p99=12)]
    middle = median_load(rounds)
    assert (middle.rate, middle.p99) == (1000, 12)


def test_a_ratio_compares_what_was_measured_in_the_same_round() -> None:
    ours, theirs = [load(100), load(10), load(300)], [load(200), load(20), load(300)]
    assert ratio_of_rounds(ours, theirs, "rate") == 0.5


def test_rounds_without_a_counterpart_are_no_ratio() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratio_of_rounds([load(1), load(2)], [load(1)], "rate")


def test_every_target_is_a_line_with_its_value_and_verdict(three: dict[str, Measured]) -> None:
    three["base"] = measured("base", [100, 100, 100], 30, [80], cpu=160)
    assert list(target_lines(three)) == [
        "RATIO CPU time complete/base at 16 0.62",
        "TARGET CPU time complete/base at 16 at most 0.5: NOT REACHED",
        "RATIO complete at 64/at 16 1.00",
        "TARGET complete at 64/at 16 at least 1: reached",
        "RATIO complete/floor at 16 0.40",
        "TARGET complete/floor at 16 at least 0.28: reached",
        "RATIO p99 complete/floor at 16 2.50",
        "TARGET p99 complete/floor at 16 at most 2: NOT REACHED",
        "MEMORY complete-floor MB a worker 51.00",
        "TARGET MEMORY complete-floor MB a worker at most 60: reached",
        "START complete seconds 1.50",
        "TARGET START complete seconds at most 2: reached",
    ]


def test_what_was_not_measured_has_no_target(three: dict[str, Measured]) -> None:
    assert not any("base" in t.what for t in targets(three))
    del three["floor"]
    assert [t.what for t in targets(three)] == ["RATIO complete at 64/at 16"]


def test_a_peer_is_compared_by_rate_and_by_processor_time(three: dict[str, Measured]) -> None:
    three["healthchain"] = measured("healthchain", [200, 500, 400], 90, [90, 90], cpu=250)
    lines = list(other_ratios(three))
    assert "RATIO complete/healthchain 2.00" in lines
    assert "RATIO complete/healthchain by CPU time 2.50" in lines


def test_a_bound_itself_is_reached() -> None:
    assert Target("x", 0.35, 0.35, True).reached
    assert Target("x", 2.0, 2.0, False).reached


def test_every_server_is_held_against_the_floor(three: dict[str, Measured]) -> None:
    lines = list(other_ratios(three))
    assert "RATIO complete/floor at 64 0.40" in lines
    assert "RATIO complete/floor by CPU time at 64 1.00" in lines
    assert not any(line.startswith("RATIO floor/") for line in lines)


def test_the_table_has_a_row_for_each_server_and_number_of_connections(
    three: dict[str, Measured],
) -> None:
    rows = markdown(list(three.values())).splitlines()
    assert len(rows) == 2 + 3 * 2
    assert rows[2] == "| Floor | 16 | 2000 | 1.0 | 5.0 | 10.0 | 100 | 51 | 1.50 |"
    assert {row.count("|") for row in rows} == {10}


def test_the_plot_is_one_picture_with_a_line_for_each_server(three: dict[str, Measured]) -> None:
    picture = ElementTree.fromstring(svg(list(three.values())))
    lines = picture.findall("{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == 3


def test_the_bench_asks_about_as_many_orders_as_a_call_may_have_and_no_more(
    settings: Settings,
) -> None:
    review = wire_review(settings, Library(settings))
    for count in {*ORDERS, *ORDERS_OF_ONE_POLICY}:
        assert review.review(SERVICE, call_with_orders(count)).cards
    assert max(ORDERS) == settings.max_orders


def test_bodies_have_the_size_asked_for_and_an_instance_each() -> None:
    bodies = order_sign_bodies(3)
    assert {len(b) for b in bodies} == {BODY_BYTES}
    assert len(set(bodies)) == 3


def test_orders_of_one_policy_are_all_decided_by_it(client) -> None:
    body = call_with_orders(3, of_one_policy=True)
    reply = client.post("/cds-services/order-sign-crd", data=body, content_type="application/json")
    assert reply.get_data().count(b'"not-covered"') == 3


STAT = "cpu  1000 200 300 9000 50 70 80 {steal} 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n"


def test_interrupts_and_idle_time_are_nobodys_work() -> None:
    busy, stolen = read_ticks(STAT.format(steal=40))
    assert busy / stolen == 1500 / 40


def test_a_run_beside_a_fifth_of_a_core_of_others_does_not_count() -> None:
    (quiet,) = machine_lines([Beside(0.05, 0.01), Beside(0.1, 0.0)])
    assert quiet == "MACHINE others 0.10 cores, stolen 0.01 cores at most: this run counts"
    (loud,) = machine_lines([Beside(0.05, 0.0), Beside(0.15, 0.1)])
    assert "DOES NOT COUNT: 1 of 2 measurements" in loud


def test_the_work_of_another_process_is_seen_and_our_own_is_not() -> None:
    watch = Watch.begin(lambda: 0.0)
    busy_until = time.process_time() + 0.2
    while time.process_time() < busy_until:
        pass
    ours = watch.end()
    seen = Watch(lambda: 0.0, watch.began, watch.busy, watch.stolen, watch.own + 0.2).end()
    assert seen.others > ours.others


def test_the_growth_bodies_hold_as_many_orders_as_asked_for(client) -> None:
    body = call_with_orders(20)
    reply = client.post("/cds-services/order-sign-crd", data=body, content_type="application/json")
    updated = [a["resource"]["id"] for a in reply.get_json()["systemActions"]]
    assert reply.status_code == 200
    assert len(set(updated)) == 20
