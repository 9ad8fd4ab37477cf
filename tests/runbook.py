"""docs/operations.md as what somebody types: its commands, and which test runs those of each part.

A command that stands under a heading without a test here makes a test fail (`test_runbook.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tests.documents import Document, document

PAGE = document("docs/operations.md")
ON_A_FOLDER = "tests/e2e/test_runbook.py"
UNDER_SYSTEMD = "tests/e2e/test_runbook_under_systemd.py"
IN_CONTAINERS = "tests/e2e/test_runbook_in_containers.py"
ON_A_CLUSTER = "tests/e2e/test_runbook_on_a_cluster.py"
WITH_KEYS = "tests/unit/test_bundle.py"

RUN_BY: Mapping[str, tuple[str, ...]] = {
    "Production set-up": (ON_A_FOLDER,),
    "systemd": (UNDER_SYSTEMD,),
    "Containers": (IN_CONTAINERS,),
    "Kubernetes": (ON_A_CLUSTER,),
    "Policy snapshot": (ON_A_FOLDER, UNDER_SYSTEMD),
    "Bundles": (WITH_KEYS,),
} | dict.fromkeys(
    (
        "Runbook",
        "Start",
        "Stop",
        "Upgrade",
        "Roll back",
        "Back up and restore",
        "The disk is full",
        "The database is away",
        "Records are not drained",
        "Payer data is stale",
        "A policy review is overdue",
        "Revoke a client",
        "A dispute",
        "A segment is corrupt",
    ),
    (ON_A_FOLDER, UNDER_SYSTEMD),
)
"""Heading → the tests that run each command under it, as it is written."""


@dataclass(frozen=True)
class Typed:
    """A command, and the heading that it stands under."""

    heading: str
    command: str


def _typed(page: Document) -> Iterator[Typed]:
    """Each command of the page in its order; continued lines are one."""
    parts = re.split(r"^#+ +(.*)$", page.text, flags=re.MULTILINE)
    for heading, text in zip(parts[1::2], parts[2::2], strict=True):
        for block in re.findall(r"^```sh\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                if line.strip():
                    yield Typed(heading, line.strip())


COMMANDS = tuple(_typed(PAGE))


def run_by(test: str) -> tuple[Typed, ...]:
    """The commands that are this test's to run, in the order of the page."""
    return tuple(typed for typed in COMMANDS if test in RUN_BY.get(typed.heading, ()))


def in_prose(beginning: str) -> list[str]:
    """The commands in the page's sentences that begin like this."""
    quoted = re.findall(r"`([^`]+)`", PAGE.prose)
    return [" ".join(code.split()) for code in quoted if code.startswith(beginning)]
