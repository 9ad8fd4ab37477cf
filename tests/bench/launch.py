"""Serve another application just as `covercard serve` serves ours.

    python -m tests.bench.launch MODULE:FACTORY

The command itself is run, so that no setting of the server can differ; only what it serves does.
Its start takes longer than need be, for it looks at Covercard's files too.
"""

from __future__ import annotations

import sys
from typing import Any

from service.cli import server_process
from service.cli.serve import serve

FACTORY = sys.argv[-1]


class Launched(server_process.ServerProcess):
    """The server process with the factory that was asked for."""

    def __init__(self, _factory: str, **options: Any) -> None:
        super().__init__(FACTORY, **options)


if __name__ == "__main__":
    server_process.ServerProcess = Launched  # type: ignore[misc]
    serve.main([], standalone_mode=False)
