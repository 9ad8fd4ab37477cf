"""What rules over facts cost: a call under 20 conditions, and beside large value sets.

Costs of a call are processor time of this process, so that a busy machine does not count; the runs
of what is compared take turns. Other processes help with a start: it is told as it is waited for,
and in processor time of all of them, the least of a few.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from service.bootstrap.app import Library, wire_review
from service.policies.library import load_library
from service.policies.reading_cache import ReadingCache
from service.settings import Settings, load_settings
from tests.bench.growth import answering
from tests.conftest import FIXTURES, fixture_text_today

ROUNDS = 15
STARTS = 5
CALLS = 60
POLICIES = 2_000
CODES = 50_000
CONDITIONS = 20
_EXAMPLES = Path(__file__).parents[2] / "examples" / "policies"
_SHIPPED = Path(__file__).parents[2] / "service" / "policies"


def rule_costs(work: Path) -> Iterator[str]:
    """The lines of this measurement."""
    shipped = answering_by(load_settings(), _call())
    many, started, again = _with_many(work / "many")
    beside = answering_by(many, _call())
    bare = answering_by(_ruled(work / "bare", 0), _call("82270"))
    ruled = answering_by(_ruled(work / "ruled", CONDITIONS), _call("82270"))
    cost = medians({"shipped": shipped, "beside": beside, "bare": bare, "ruled": ruled})
    share = 100 * (cost["beside"] / cost["shipped"] - 1)
    yield f"shipped policy: {cost['shipped']:.0f} µs a call"
    yield (
        f"the same beside {POLICIES} policies and {CODES} codes: {cost['beside']:.0f} µs "
        f"({share:+.1f} %)"
    )
    yield f"the first start with them: {started} more; the next one: {again} more"
    more = cost["ruled"] - cost["bare"]
    yield f"a policy with {CONDITIONS} conditions: {more:.0f} µs more than without"


def answering_by(settings: Settings, body: bytes) -> Callable[[], bytes]:
    """One call, answered by the files of these settings."""
    return answering(wire_review(settings, Library(settings)), body)


def medians(acts: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Microseconds of processor time for each act: the median over rounds in turn."""
    runs: dict[str, list[float]] = {name: [] for name in acts}
    for act in acts.values():
        act()
    for _ in range(ROUNDS):
        for name, act in acts.items():
            began = time.process_time()
            for _ in range(CALLS):
                act()
            runs[name].append((time.process_time() - began) / CALLS * 1e6)
    return {name: median(found) for name, found in runs.items()}


def _call(code: str | None = None) -> bytes:
    request: dict[str, Any] = json.loads(
        fixture_text_today(FIXTURES / "order-sign" / "mrs-medicare-advantage.json")
    )
    if code is not None:
        (entry,) = request["context"]["draftOrders"]["entry"]
        entry["resource"]["code"]["coding"][0]["code"] = code
    del request["fhirServer"], request["fhirAuthorization"]
    return json.dumps(request).encode()


class _Start(NamedTuple):
    """Seconds that reading a library takes: waited for, and of processors."""

    waited: float
    processors: float

    def __sub__(self, other: _Start) -> _Start:
        return _Start(self.waited - other.waited, self.processors - other.processors)

    def __str__(self) -> str:
        return f"{self.waited:.2f} s ({self.processors:.2f} s of processor time)"


def _with_many(folder: Path) -> tuple[Settings, _Start, _Start]:
    """The shipped library with many policies and a large value set.

    With what it takes more to be read for the first time, and when it was read before.
    """
    shutil.copytree(_SHIPPED / "library", folder)
    template = (_EXAMPLES / "screening-test" / "2026-01-01.yaml").read_text("utf-8")
    for n in range(POLICIES):
        made = template.replace("screening-test", f"p{n}").replace('"82270"', f'"{n:04}Z"')
        (folder / f"p{n}").mkdir()
        (folder / f"p{n}" / "2026-01-01.yaml").write_text(made, "utf-8")
    rows = "".join(f"icd10,A{n:05}\n" for n in range(CODES))
    sets = folder / "_value_sets" / "large"
    sets.mkdir(parents=True)
    (sets / "2026-01-01.csv").write_text("system,code\n" + rows, "utf-8")
    rule = "when: {fact: order.reason, in: [large]}"
    large = template.replace("screening-test", "large").replace('"82270"', '"9999Z"')
    large = large.replace("when: {fact: patient.age, below: 45}", rule)
    (folder / "large").mkdir()
    (folder / "large" / "2026-01-01.yaml").write_text(large, "utf-8")
    payers = _SHIPPED / "payers.yaml"
    load_library(_SHIPPED / "library", payers)
    cache = folder.parent / "cache"
    # As the server reads, before it has any other thread: only then do helpers read as well.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as server:
        without = server.submit(_reading, _SHIPPED / "library", folder.parent / "plain").result()
        first = server.submit(_reading, folder, cache, kept=False).result() - without
        again = server.submit(_reading, folder, cache).result() - without
    settings = load_settings(policies_dir=folder, payers_file=payers, cache_dir=cache)
    return settings, first, again


def _reading(library: Path, cache: Path, kept: bool = True) -> _Start:
    """Reading a library as a start of the service does; the least of a few times."""
    found = []
    for _ in range(STARTS):
        if not kept:
            shutil.rmtree(cache, ignore_errors=True)
        began, processors = time.perf_counter(), _processor_time()
        load_library(library, _SHIPPED / "payers.yaml", cache=ReadingCache(cache, library))
        found.append(_Start(time.perf_counter() - began, _processor_time() - processors))
    return _Start(min(f.waited for f in found), min(f.processors for f in found))


def _processor_time() -> float:
    """Seconds of this process and of the ended ones that it began."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def _ruled(folder: Path, conditions: int) -> Settings:
    """The example of a screening test with so many conditions in a rule that is never true."""
    shutil.copytree(_EXAMPLES / "_value_sets", folder / "_value_sets")
    (folder / "screening-test").mkdir()
    text = (_EXAMPLES / "screening-test" / "2026-01-01.yaml").read_text("utf-8")
    rules, rest = text.index("rules:\n"), text.index("open:\n")
    if conditions:
        kinds = (
            "{{fact: patient.age, below: {n}}}",
            '{{fact: order.reason, in: ["icd10|Z{n}*"]}}',
            "{{fact: order.priority, is: stat}}",
            "{{fact: encounter.class, is: emergency}}",
            "{{fact: patient.gender, is: male}}",
        )
        listed = [kinds[i % len(kinds)].format(n=10 + i) for i in range(conditions)]
        all_of = "".join(f"          - {one}\n" for one in listed)
        start = text.index("    when: {fact: patient.age, below: 45}")
        end = text.index("  - id: too-soon")
        then = text[text.index("    then:", start) : end]
        text = text[:start] + f"    when:\n      all:\n{all_of}" + then + text[rest:]
    else:
        end = text.index("determinations:\n")
        text = text[:rules] + text[end:]
    (folder / "screening-test" / "2026-01-01.yaml").write_text(text, "utf-8")
    payers = (_EXAMPLES / "payers.yaml").read_text("utf-8")
    kept = [line for line in payers.splitlines() if "- id: " not in line or "screening" in line]
    (folder / "payers.yaml").write_text("\n".join(kept) + "\n", "utf-8")
    return load_settings(policies_dir=folder)
