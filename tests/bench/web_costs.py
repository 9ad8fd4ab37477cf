"""Function calls of a hook call outside of its review, beside those of a bare Flask view.

They are counted, not timed: the same on each machine. The line in the log is left out.
"""

from __future__ import annotations

import cProfile
import io
import logging
import os
import pstats
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import structlog
from flask import Flask
from werkzeug.test import EnvironBuilder

from service.bootstrap.app import RECORDER, create_app
from service.review.order_review import OrderReview, Review
from service.settings import Settings
from tests.bench import floor_app
from tests.bench.bodies import order_sign_bodies

_CALLS = 200
_URL = "/cds-services/order-sign-crd"
_PARTS = (
    "decision_log",
    "service/web",
    "service/auth",
    "service/",
    "werkzeug",
    "flask",
    "structlog",
)


def web_costs(work: Path) -> Iterator[str]:
    """A line for the bare view, one for a call whose review is known, and one for each part."""
    bodies = order_sign_bodies(64)
    (work / "answer.json").write_bytes(b"[" + b'"x",' * 2_500 + b"0]")
    os.environ["BENCH_ANSWER"] = str(work / "answer.json")
    bare = _counted(floor_app.wsgi_app(), bodies)
    yield f"WEB bare Flask view: {bare.total()} function calls"
    settings = Settings(
        database_url=f"sqlite:///{work}/web.sqlite3",
        records_dir=work / "web-records",
        calls_per_minute=1_000_000,
        bytes_per_minute=2**34,
    )
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    review = OrderReview.review
    known: dict[bytes, Review] = {}

    def once(self: OrderReview, service_id: str, body: bytes, *rest: Any) -> Review:
        if body not in known:
            known[body] = review(self, service_id, body, *rest)
        return known[body]

    OrderReview.review = once  # type: ignore[method-assign]
    app = create_app(settings)
    try:
        found = _counted(app, bodies)
    finally:
        OrderReview.review = review  # type: ignore[method-assign]
        app.extensions[RECORDER].stop()
    yield f"WEB a call without its review: {found.total()} function calls"
    yield from (f"WEB of it in {part}: {count}" for part, count in found.most_common())


def _counted(app: Flask, bodies: list[bytes]) -> Counter[str]:
    """The function calls of a request by part; built-in functions count for their callers."""
    environ = EnvironBuilder(
        path=_URL, method="POST", content_type="application/json"
    ).get_environ()
    environ["REMOTE_ADDR"] = "127.0.0.1"
    for body in bodies:
        _fire(app, environ, body)
    profile = cProfile.Profile()
    profile.enable()
    for n in range(_CALLS):
        _fire(app, environ, bodies[n % len(bodies)])
    profile.disable()
    found: Counter[str] = Counter()
    stats: dict[tuple[str, int, str], Any] = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    for (file, _, _), (_, calls, _, _, callers) in stats.items():
        if file == "~":
            for (caller, _, _), (_, of_caller, *_) in callers.items():
                found[_part(caller)] += of_caller
        else:
            found[_part(file)] += calls
    return Counter({part: round(count / _CALLS) for part, count in found.items()})


def _fire(app: Callable[..., Any], environ: dict[str, Any], body: bytes) -> None:
    told: list[str] = []
    environ = {**environ, "wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
    answer = app(environ, lambda status, *_: told.append(status))
    b"".join(answer)
    if hasattr(answer, "close"):
        answer.close()
    if not told[0].startswith("200"):
        raise RuntimeError(told[0])


def _part(file: str) -> str:
    return next((part for part in _PARTS if part in file), "other libraries")
