"""What grows with what: cost by orders and by policies, memory by calls, the log by calls.

Costs are processor time of this process, so that a busy machine does not count.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median

from service.bootstrap.app import Library, wire_review
from service.decision.order import Code
from service.decision.policy import PolicyService, PolicyVersion
from service.policies.policy_store import PolicyStore
from service.review.order_review import OrderReview
from service.settings import Settings
from tests.bench.bodies import call_with_orders, order_sign_bodies
from tests.bench.log_growth import log_growth, look_up

SERVICE = "order-sign-crd"
ORDERS = (1, 10, 100)
ORDERS_OF_ONE_POLICY = (1, 2, 10, 50)
MOST_OF_A_FURTHER_ORDER = 0.1
POLICIES = (1, 100, 1_000, 10_000)
CODES_A_POLICY = 100


def growth(work: Path, *, curves: bool, soak_calls: int, rows: int) -> Iterator[str]:
    """The lines of the measurements that were asked for."""
    if curves:
        yield from by_orders()
        yield from by_orders_of_one_policy()
        yield from by_policies()
        yield from log_growth(work)
    if soak_calls:
        yield from soak(soak_calls)
    if rows:
        yield from look_up(work, rows)


def processor_microseconds(act: Callable[[], object], times: int) -> float:
    """The median over five runs of what one act costs, warm."""
    act()
    runs = []
    for _ in range(5):
        began = time.process_time()
        for _ in range(times):
            act()
        runs.append((time.process_time() - began) / times * 1e6)
    return median(runs)


def answering(review: OrderReview, body: bytes) -> Callable[[], bytes]:
    return lambda: review.review(SERVICE, body).answer


def by_orders() -> Iterator[str]:
    settings = Settings()
    review = wire_review(settings, Library(settings))
    for count in ORDERS:
        act = answering(review, call_with_orders(count))
        cost = processor_microseconds(act, max(1, 400 // count))
        yield f"GROWTH orders {count}: {cost:.0f} us a call, {cost / count:.0f} us an order"


def by_orders_of_one_policy() -> Iterator[str]:
    """What each further order of the same policy costs, of what the first costs."""
    settings = Settings()
    review = wire_review(settings, Library(settings))
    costs = {}
    for count in ORDERS_OF_ONE_POLICY:
        act = answering(review, call_with_orders(count, of_one_policy=True))
        costs[count] = processor_microseconds(act, max(20, 400 // count))
        yield f"GROWTH orders of one policy {count}: {costs[count]:.0f} us a call"
    most = max(costs)
    further = (costs[most] - costs[1]) / (most - 1) / costs[1]
    yield f"RATIO a further order of one policy/the first {further:.2f}"
    verdict = "reached" if further <= MOST_OF_A_FURTHER_ORDER else "NOT REACHED"
    yield (f"TARGET a further order of one policy at most {MOST_OF_A_FURTHER_ORDER}: {verdict}")


def by_policies() -> Iterator[str]:
    settings = Settings()
    library = Library(settings)
    real = list(library.policies)
    body = order_sign_bodies()[0]
    for count in POLICIES:
        began = time.process_time()
        library.policies = PolicyStore([*real, *synthetic_policies(real[0], count)])
        built = time.process_time() - began
        cost = processor_microseconds(answering(wire_review(settings, library), body), 400)
        yield (
            f"GROWTH policies {count} of {CODES_A_POLICY} codes: {cost:.0f} us a call, "
            f"built and indexed in {built:.2f} s"
        )


def synthetic_policies(like: PolicyVersion, count: int) -> Iterator[PolicyVersion]:
    """Policies that differ in id and codes; no real code system is named."""
    for p in range(count):
        services = tuple(
            PolicyService(
                Code("http://example.org/codes", f"{p}-{c}"), "synthetic", "g", "synthetic"
            )
            for c in range(CODES_A_POLICY)
        )
        yield replace(like, id=f"synthetic-{p}", services=services)


def soak(calls: int) -> Iterator[str]:
    """Resident memory while calls that differ in their ids go through, in ten stretches."""
    settings = Settings()
    review = wire_review(settings, Library(settings))
    bodies = order_sign_bodies(256)
    for body in bodies:
        answering(review, body)()
    first = resident_megabytes()
    for tenth in range(1, 11):
        for i in range(calls // 10):
            answering(review, bodies[i % len(bodies)])()
        now = resident_megabytes()
        yield f"SOAK {calls // 10 * tenth} calls: {now:.1f} MB ({now - first:+.1f})"


def resident_megabytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6
