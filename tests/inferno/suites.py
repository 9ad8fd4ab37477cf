"""Runs of Inferno's suites through its API, and their verdicts."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

Json = dict[str, Any]
_LONGEST_RUN = 540


@dataclass(frozen=True)
class Verdict:
    """One test's: `id` is the number that the suite shows ("3.2.05"), `result` Inferno's word."""

    id: str
    title: str
    optional: bool
    result: str
    said: str
    errors: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return self.result == "pass"


@dataclass(frozen=True)
class Outcome:
    """All verdicts of a run, in the suite's order."""

    verdicts: tuple[Verdict, ...]

    def line(self, name: str) -> str:
        """`INFERNO name required a/b all c/d`."""
        required = [v for v in self.verdicts if not v.optional]
        passed = [v for v in self.verdicts if v.passed]
        return (
            f"INFERNO {name} required {sum(v.passed for v in required)}/{len(required)}"
            f" all {len(passed)}/{len(self.verdicts)}"
        )


def preset(file: Path, base: str) -> dict[str, object]:
    """A preset's inputs by name; the kits' templates ask for the address of Inferno only."""
    text = re.sub(r"<%=.*?%>", base, file.read_text("utf-8"))
    return {i["name"]: i.get("value") for i in json.loads(text)["inputs"]}


def run(base: str, suite: str, inputs: Mapping[str, object]) -> Outcome:
    """Run a suite with these inputs; the rest gets the suite's own defaults."""
    session = _call("POST", f"{base}/api/test_sessions", {"test_suite_id": suite})
    told = []
    for known in session["test_suite"]["inputs"]:
        value = inputs.get(known["name"], known.get("default", known.get("value")))
        text = value if value is None or isinstance(value, str) else json.dumps(value)
        told.append({"name": known["name"], "type": known.get("type"), "value": text})
    started = _call(
        "POST",
        f"{base}/api/test_runs",
        {"test_session_id": session["id"], "test_suite_id": suite, "inputs": told},
    )
    deadline = time.monotonic() + _LONGEST_RUN
    while (state := _call("GET", f"{base}/api/test_runs/{started['id']}")["status"]) not in (
        "done",
        "error",
        "cancelled",
    ):
        if time.monotonic() > deadline:
            raise RuntimeError(f"{suite} is still {state} after {_LONGEST_RUN} s")
        time.sleep(0.5)
    results = {
        r["test_id"]: r
        for r in _call("GET", f"{base}/api/test_sessions/{session['id']}/results")
        if r.get("test_id")
    }
    return Outcome(tuple(_verdict(t, results) for t in _tests(session["test_suite"])))


def _tests(group: Json) -> Iterator[Json]:
    yield from group.get("tests", ())
    for inner in group.get("test_groups", ()):
        yield from _tests(inner)


def _verdict(test: Json, results: Mapping[str, Json]) -> Verdict:
    result = results.get(test["id"], {})
    messages = result.get("messages") or ()
    return Verdict(
        id=test["short_id"],
        title=test["title"],
        optional=bool(test.get("optional")),
        result=result.get("result", "none"),
        said=result.get("result_message") or "",
        errors=tuple(m["message"] for m in messages if m["type"] == "error"),
    )


def _call(method: str, url: str, body: Json | None = None) -> Any:
    reply = requests.request(method, url, json=body, timeout=120)
    if not reply.ok:
        raise RuntimeError(f"{method} {url}: {reply.status_code} {reply.text[:600]}")
    return reply.json() if reply.content else None
