"""Prometheus' rules and Grafana's dashboard, held to the metrics that the service has."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.bootstrap.app import RECORDER, create_app
from service.decision_log.recorder import Health
from service.ehr.fetch_report import Outcome
from service.payer_data.record_rows import KINDS
from service.web.metrics import CheckFigures, Metrics
from tests.conftest import in_folder
from tests.deploy.examples import FOLDER, documents
from tests.documents import ROOT, Document

RULES = FOLDER / "prometheus" / "covercard.rules.yaml"
DASHBOARD = FOLDER / "grafana" / "covercard.json"

PROMETHEUS_OWN = {"up": {"job", "instance"}}
"""A metric that Prometheus makes for each target."""
TARGET = {"job", "instance"}
"""Labels that Prometheus adds to each sample."""
FUNCTIONS = {"rate", "sum", "count", "max", "histogram_quantile", "absent"}
WORDS = {"by", "and"}


def group_rules() -> Iterator[dict[str, Any]]:
    for group in documents(RULES)[0]["groups"]:
        yield from group["rules"]


RECORDED = {rule["record"] for rule in group_rules() if "record" in rule}
ALERTS = [rule for rule in group_rules() if "alert" in rule]
PANELS = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
QUERIES = [
    *(pytest.param(r["expr"], id=r.get("alert") or r["record"]) for r in group_rules()),
    *(
        pytest.param(target["expr"], id=f"{panel['title']} {target['refId']}")
        for panel in PANELS
        for target in panel["targets"]
    ),
]


@pytest.fixture(scope="module")
def samples() -> dict[str, set[str]]:
    """Each sample that /metrics has, with the names of its labels; each metric was used once."""
    metrics = Metrics()
    metrics.call("order-sign", "2.2", "an-ehr", "answered", 0.1)
    metrics.most(open=1)
    metrics.places(1, 1)
    metrics.count("open", 1)
    metrics.refusal("an-ehr", "calls a minute")
    metrics.not_kept("an-ehr")
    metrics.card("mr-spectroscopy", "coverage")
    metrics.feedback("accepted")
    metrics.form_error("abn")
    metrics.fetch("fetched")
    metrics.payer_data("answered", 0.1)
    metrics.payer_finding("known")
    checks = {"policies": CheckFigures(0, 0)}
    digests = {"policies": "a1", "access": "b2"}
    text = metrics.exposition(Health, checks, digests, ages={"members": 60.0}).decode()
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        assert family.samples, family.name
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def selectors(query: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Each metric of a query, with its matchers: label → value or expression."""
    rest = re.sub(r"\bby\s*\([^)]*\)", "", query)
    for name, inside in re.findall(r'([a-z_:][\w:]*)(?:\{((?:[^}"]|"[^"]*")*)\})?', _bare(rest)):
        if name not in FUNCTIONS | WORDS:
            yield name, dict(re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"', inside))


def _bare(query: str) -> str:
    """The query without its ranges of time."""
    return re.sub(r"\[(\d+[smhd]|\$__rate_interval)\]", "", query)


def grouped(query: str) -> set[str]:
    return {
        label.strip()
        for inside in re.findall(r"\bby\s*\(([^)]*)\)", query)
        for label in inside.split(",")
    }


def labels_of(name: str, samples: Mapping[str, set[str]]) -> set[str]:
    return {**samples, **PROMETHEUS_OWN}[name] | TARGET


@pytest.mark.parametrize("query", QUERIES)
def test_each_metric_and_label_of_a_query_exists(query: str, samples: dict[str, set[str]]) -> None:
    used = list(selectors(query))
    assert used
    unknown = [n for n, _ in used if n not in samples and n not in RECORDED | {*PROMETHEUS_OWN}]
    assert unknown == []
    known = [name for name, _ in used if name not in RECORDED]
    for name, matchers in used:
        if name not in RECORDED:
            assert set(matchers) - labels_of(name, samples) == set(), name
    for name in known:
        assert grouped(query) - labels_of(name, samples) == set(), name


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_is_whole(query: str) -> None:
    for opening, closing in ("()", "[]", "{}"):
        assert query.count(opening) == query.count(closing)
    # A counter is read by its rate, and a rate has its range.
    assert query.count("rate(") == query.count("[")
    for counter in re.findall(r"(\w*)\bcovercard_\w+_(?:total|bucket|count)\b", query):
        assert counter == ""
    assert len(re.findall(r"covercard_\w+_(?:total|bucket|count)\b", query)) == query.count("rate(")


def test_a_metric_that_there_is_not_is_found_out(samples: dict[str, set[str]]) -> None:
    query = 'sum by (hook) (rate(covercard_no_such_total{color="red"}[5m]))'
    assert list(selectors(query)) == [("covercard_no_such_total", {"color": "red"})]
    assert "covercard_no_such_total" not in samples
    assert grouped(query) == {"hook"}


KNOWN_VALUES = {
    "covercard_calls_total": {"outcome": {"answered", "refused", "failed", "unavailable"}},
    "covercard_in_flight": {"state": {"open", "checking", "working", "waiting"}},
    "covercard_places": {"state": {"open", "checking", "working", "waiting"}},
    "covercard_fetches_total": {"outcome": {outcome.value for outcome in Outcome}},
    "covercard_payer_data_seconds_count": {"outcome": {"answered", "unreachable"}},
    "covercard_payer_data_age_seconds": {"kind": {*KINDS}},
}


def test_each_value_that_a_query_looks_for_is_one_that_the_service_tells(tmp_path: Path) -> None:
    app = create_app(in_folder(tmp_path))
    checks = set(app.test_client().get("/readyz").get_json()["checks"])
    app.extensions[RECORDER].stop()
    known = {
        **KNOWN_VALUES,
        "covercard_check_state": {"check": checks},
        "covercard_check_warnings": {"check": checks},
    }
    looked_at = 0
    for query in (q.values[0] for q in QUERIES):
        for name, matchers in selectors(str(query)):
            for label, value in matchers.items():
                if label in known.get(name, {}):
                    looked_at += 1
                    assert set(value.split("|")) <= known[name][label], (name, label, value)
    assert looked_at > 10


def test_refusals_are_looked_for_by_the_reasons_that_the_runbook_lists() -> None:
    [row] = [
        row
        for row in Document(ROOT / "docs" / "operations.md").rows("metric")
        if row[0] == "`covercard_refusals_total`"
    ]
    reasons = re.findall(r"`([^`]+)`", row[1])
    for query in (str(q.values[0]) for q in QUERIES):
        for name, matchers in selectors(query):
            if name == "covercard_refusals_total" and "reason" in matchers:
                pattern = matchers["reason"]
                every = [f"{reason}, all" for reason in reasons]
                assert any(re.fullmatch(pattern, r) for r in [*reasons, *every])


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_says_what_is_wrong_and_where_its_row_of_the_runbook_is(
    alert: dict[str, Any],
) -> None:
    assert alert["labels"]["severity"] in {"page", "ticket"}
    summary = alert["annotations"]["summary"]
    assert summary.endswith(".")
    named = set(re.findall(r"\$labels\.(\w+)", summary))
    by = grouped(alert["expr"])
    aggregated = re.search(r"\b(sum|max)\b|covercard:", alert["expr"]) is not None
    assert named <= (by if aggregated else TARGET)
    file, _, anchor = alert["annotations"]["runbook"].partition("#")
    assert anchor in Document(ROOT / file).anchors


@pytest.mark.parametrize(
    ("of", "metric"),
    [
        ("availability", "covercard:calls_unanswered:ratio_1h"),
        ("99th percentile", "covercard:call_seconds:p99_5m"),
        ("undrained age", "covercard_waiting_seconds"),
        ("review overdue", "covercard_check_warnings"),
        ("payer data", "covercard_payer_data_seconds_count"),
        ("payer data stale", "covercard_payer_data_age_seconds"),
        ("records lost", "covercard_records_lost"),
    ],
)
def test_there_is_an_alert_of(of: str, metric: str) -> None:
    assert any(metric in [n for n, _ in selectors(alert["expr"])] for alert in ALERTS), of


def test_a_threshold_on_a_duration_is_a_bucket_of_its_histogram(
    samples: dict[str, set[str]],
) -> None:
    """Between two buckets a percentile is a guess; the objective stands on one."""
    from service.web.metrics import _SECONDS

    [slow] = [a for a in ALERTS if a["alert"] == "CovercardAnswersSlowly"]
    assert float(slow["expr"].rpartition(">")[2]) in _SECONDS


def test_each_name_is_given_once_and_each_recorded_one_is_used() -> None:
    names = [r.get("alert") or r["record"] for r in group_rules()]
    assert len(names) == len(set(names))
    used = {name for q in QUERIES for name, _ in selectors(str(q.values[0]))}
    assert RECORDED - used == set()


def test_the_panels_do_not_overlap_and_have_ids_of_their_own() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    squares = [
        (x, y)
        for panel in PANELS
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(squares) == len(set(squares))
    assert max(x for x, _ in squares) < 24


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_takes_the_rules() -> None:
    told = subprocess.run(
        ["promtool", "check", "rules", str(RULES)], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr + told.stdout


Series = dict[str, str]
"""Series → its values as promtool writes them, a minute apart: begin, step, number of steps."""

HOURS = 8


def series(name: str, *values: str, **labels: str) -> Series:
    """A series of two instances, each with these values."""
    found = {}
    for instance, value in zip(("a", "b"), values * 2, strict=False):
        told = {"job": "covercard", "instance": instance, **labels}
        inside = ",".join(f'{k}="{v}"' for k, v in told.items())
        found[f"{name}{{{inside}}}"] = f"{value}x{60 * HOURS}"
    return found


def checked(state: str, **checks: str) -> Series:
    each = dict.fromkeys(("records", "clock", "policies", "snapshot", "clients"), state) | checks
    return {
        k: v
        for name, value in each.items()
        for k, v in series("covercard_check_state", value, check=name).items()
    }


def answered_within(second: str, more: str) -> Series:
    """Calls by their seconds: those of at most one, and all."""
    return {
        **series("covercard_call_seconds_bucket", second, le="1.0"),
        **series("covercard_call_seconds_bucket", more, le="2.5"),
        **series("covercard_call_seconds_bucket", more, le="+Inf"),
    }


HEALTHY: Series = {
    **series("up", "1+0"),
    **series("covercard_calls_total", "0+100", outcome="answered"),
    **series("covercard_calls_total", "0+0", outcome="failed"),
    **answered_within("0+100", "0+100"),
    **series("covercard_in_flight", "3+0", state="open"),
    **series("covercard_places", "100+0", state="open"),
    **series("covercard_refusals_total", "0+1", client="ehr", reason="calls a minute"),
    **series("covercard_refusals_total", "0+0", client="", reason="tokens at a time, all"),
    **series("covercard_segments_written", "1+0"),
    **series("covercard_records_lost", "0+0"),
    **series("covercard_store_up", "1+0"),
    **series("covercard_waiting_seconds", "0.5+0"),
    **series("covercard_records_set_aside", "0+0"),
    **checked("0+0"),
    **series("covercard_check_warnings", "0+0", check="policies"),
    **series("covercard_payer_data_seconds_count", "0+100", outcome="answered"),
    **series("covercard_payer_data_seconds_count", "0+1", outcome="unreachable"),
    **series("covercard_payer_data_age_seconds", "3600+0", kind="members"),
    **series("covercard_snapshot", "1+0", policies="p1", access="a1"),
    **series("covercard_fetches_total", "0+100", outcome="fetched"),
    **series("covercard_fetches_total", "0+1", outcome="timeout"),
}

FAST, SLOW = "CovercardAvailabilityBurnsFast", "CovercardAvailabilityBurnsSlowly"
FIRING: dict[str, tuple[Series, set[str]]] = {
    "CovercardDown": (series("up", "1+0", "0+0"), set()),
    "CovercardNotScraped": (dict.fromkeys(series("up", "1+0"), "_"), set()),
    FAST: (series("covercard_calls_total", "0+2", outcome="failed"), {SLOW}),
    SLOW: (series("covercard_calls_total", "0+1", outcome="failed"), set()),
    "CovercardAnswersSlowly": (answered_within("0+98", "0+100"), set()),
    "CovercardIsFull": (series("covercard_in_flight", "3+0", "100+0", state="open"), set()),
    "CovercardRefusesEverybody": (
        series("covercard_refusals_total", "0+1", client="", reason="tokens at a time, all"),
        set(),
    ),
    "CovercardRefusesAClient": (
        series("covercard_refusals_total", "0+6", client="ehr", reason="calls a minute"),
        set(),
    ),
    "CovercardRecordsUnwritable": (series("covercard_segments_written", "1+0", "0+0"), set()),
    "CovercardRecordsLost": (series("covercard_records_lost", "0+0", "2+0"), set()),
    "CovercardStoreAway": (series("covercard_store_up", "1+0", "0+0"), set()),
    "CovercardRecordsUndrained": (series("covercard_waiting_seconds", "0.5+0", "0+60"), set()),
    "CovercardRecordsSetAside": (series("covercard_records_set_aside", "0+0", "1+0"), set()),
    "CovercardNoPolicyInForce": (checked("0+0", policies="2+0"), set()),
    "CovercardReviewOverdue": (
        series("covercard_check_warnings", "1+0", check="policies"),
        set(),
    ),
    "CovercardPayerDataAway": (
        series("covercard_payer_data_seconds_count", "0+10", outcome="unreachable"),
        set(),
    ),
    "CovercardPayerDataStale": (
        series("covercard_payer_data_age_seconds", "170000+60", kind="members"),
        set(),
    ),
    "CovercardClockIsWrong": (checked("0+0", clock="1+0"), set()),
    "CovercardKeysAway": (checked("0+0", clients="1+0"), set()),
    "CovercardFilesNotInForce": (checked("0+0", snapshot="1+0"), set()),
    "CovercardInstancesDiffer": (
        {
            **series("covercard_snapshot", "_", "1+0", policies="p1", access="a1"),
            **series("covercard_snapshot", "1+0", "_", policies="p1", access="a2"),
        },
        set(),
    ),
    "CovercardFetchesFail": (series("covercard_fetches_total", "0+20", outcome="timeout"), set()),
}
"""Each alert with the series that are otherwise than HEALTHY, and the alerts that come with it."""


def test_each_alert_has_a_state_in_which_it_must_fire() -> None:
    assert FIRING.keys() == {alert["alert"] for alert in ALERTS}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_each_alert_fires_for_what_it_names_and_none_else_does(tmp_path: Path) -> None:
    tests = []
    for name, (otherwise, with_it) in {"": ({}, set()), **FIRING}.items():
        expected = sorted({name, *with_it} - {""})
        tests.append(
            {
                "name": name or "healthy",
                "interval": "1m",
                "input_series": [
                    {"series": k, "values": v} for k, v in (HEALTHY | otherwise).items()
                ],
                "promql_expr_test": [
                    {
                        "expr": 'max by (alertname) (ALERTS{alertstate="firing"})',
                        "eval_time": f"{60 * HOURS - 1}m",
                        "exp_samples": [
                            {"labels": f'{{alertname="{each}"}}', "value": 1} for each in expected
                        ],
                    }
                ],
            }
        )
    file = tmp_path / "alerts.json"
    file.write_text(json.dumps({"rule_files": [str(RULES)], "tests": tests}), "utf-8")
    told = subprocess.run(
        ["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr + told.stdout
