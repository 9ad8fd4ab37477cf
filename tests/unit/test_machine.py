"""Workers follow the cores and the memory that a machine, a container or a service has."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from service.machine import BYTES_A_WORKER, cores, memory_bytes, workers_for_this_machine

ALL_CORES = len(os.sched_getaffinity(0))


def machine(root: Path, **limits: str) -> Path:
    """A root whose process is in the group /app/service, with limits as `app__cpu_max`."""
    (root / "proc" / "self").mkdir(parents=True)
    (root / "proc" / "self" / "cgroup").write_text("1:name=systemd:/\n0::/app/service\n")
    hierarchy = root / "sys" / "fs" / "cgroup"
    (hierarchy / "app" / "service").mkdir(parents=True)
    for where, limit in limits.items():
        *groups, name = where.split("__")
        (hierarchy.joinpath(*groups) / name.replace("_", ".")).write_text(limit + "\n")
    return root


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, ALL_CORES),
        ({"app__service__cpu_max": "max 100000"}, ALL_CORES),
        ({"app__service__cpu_max": "100000 100000"}, 1),
        ({"app__service__cpu_max": "50000 100000"}, 1),
        ({"app__service__cpu_max": "max 100000", "app__cpu_max": "100000 100000"}, 1),
        ({"cpu_max": "100000 100000"}, 1),
        ({"app__service__cpu_max": "nonsense"}, ALL_CORES),
    ],
)
def test_cores_are_those_of_the_narrowest_limit(
    limits: dict[str, str], expected: int, tmp_path: Path
) -> None:
    assert cores(machine(tmp_path, **limits)) == expected


def test_memory_is_the_narrowest_limit(tmp_path: Path) -> None:
    limits = {"app__service__memory_max": "max", "app__memory_max": "300000000"}
    assert memory_bytes(machine(tmp_path, **limits)) == 300_000_000


def test_without_control_groups_the_machine_itself_counts(tmp_path: Path) -> None:
    assert cores(tmp_path) == ALL_CORES
    assert memory_bytes(tmp_path) > 100_000_000


@pytest.mark.parametrize(
    ("memory", "most_workers"), [(BYTES_A_WORKER // 2, 1), (BYTES_A_WORKER * 2 - 1, 1)]
)
def test_workers_are_as_many_as_there_is_memory_for(
    memory: int, most_workers: int, tmp_path: Path
) -> None:
    root = machine(tmp_path, app__service__memory_max=str(memory))
    assert workers_for_this_machine(root=root) == most_workers


def test_workers_follow_the_cores(tmp_path: Path) -> None:
    assert workers_for_this_machine(root=machine(tmp_path)) in range(1, ALL_CORES + 1)
    assert workers_for_this_machine(most=1) == 1
