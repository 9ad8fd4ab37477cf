"""The floor: what the same server and Flask do with a call whose answer is known beforehand."""

from __future__ import annotations

import json
import os
from pathlib import Path

from flask import Flask, Response, request


def wsgi_app() -> Flask:
    """JSON in, the bytes of the file BENCH_ANSWER out."""
    app = Flask("floor", static_folder=None)
    answer = Path(os.environ["BENCH_ANSWER"]).read_bytes()

    @app.post("/cds-services/<service_id>")
    def call(service_id: str) -> Response:
        json.loads(request.get_data(cache=False))
        return Response(answer, content_type="application/json")

    return app
