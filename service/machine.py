"""Resources that this process may use: cores and memory, within the limits of its control groups.

Control groups are Linux' limits of containers and services (cgroups(7)); version 2 is read.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

BYTES_A_WORKER = 256 * 1024 * 1024
"""Memory that a worker may come to need: forty megabytes of its own at first, and more with large
calls at a time (docs/performance.md#sizing).
"""


def workers_for_this_machine(most: int = 64, root: Path = Path("/")) -> int:
    """One worker for each core, as many as there is memory for; at least one."""
    return max(1, min(cores(root), memory_bytes(root) // BYTES_A_WORKER, most))


def cores(root: Path = Path("/")) -> int:
    """Cores that this process may run on; a share of a core counts as one."""
    # Where the system does not tell which ones, all.
    tell = getattr(os, "sched_getaffinity", None)
    allowed = len(tell(0)) if tell else os.cpu_count() or 1
    for group in _groups(root):
        with contextlib.suppress(OSError, ValueError):
            quota, period = (group / "cpu.max").read_text().split()
            if quota != "max":
                allowed = min(allowed, -(-int(quota) // int(period)))
    return max(1, allowed)


def memory_bytes(root: Path = Path("/")) -> int:
    """Memory that this process may use."""
    allowed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for group in _groups(root):
        with contextlib.suppress(OSError, ValueError):
            most = (group / "memory.max").read_text().strip()
            if most != "max":
                allowed = min(allowed, int(most))
    return allowed


def _groups(root: Path) -> Iterator[Path]:
    """The folders of this process's control group and of those around it."""
    with contextlib.suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            number, _, path = line.split(":", 2)
            if number == "0":
                hierarchy = root / "sys/fs/cgroup"
                own = hierarchy / path.lstrip("/")
                yield own
                yield from (p for p in own.parents if p.is_relative_to(hierarchy))
