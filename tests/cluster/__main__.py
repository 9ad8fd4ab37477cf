"""`python -m tests.cluster`: builds Kubernetes' own programs, for the tests on a cluster.

They come as Go modules, each by the hash in go.sum, and are built in build/cluster: a quarter of an
hour on two cores, the first time only. Ends with 3 where Go or its modules cannot be had.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

HERE = Path(__file__).parent
HOME = ROOT / "build" / "cluster"
_VERSION = "k8s.io/component-base/version.gitVersion=v1.34.4"
PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet")


def missing() -> list[str]:
    """The programs that are not built yet."""
    return [name for name in PROGRAMS if not (HOME / name).is_file()]


def main() -> int:
    if missing() and shutil.which("go") is None:
        print("CLUSTER NOT BUILT: this machine lacks go 1.24 or later", flush=True)
        return 3
    HOME.mkdir(parents=True, exist_ok=True)
    for name in missing():
        print(f"cluster: {name} is being built", flush=True)
        package = f"k8s.io/kubernetes/cmd/{name}"
        built = subprocess.run(
            ["go", "build", f"-ldflags=-s -w -X {_VERSION}", "-o", HOME / name, package],
            cwd=HERE,
            env={**os.environ, "CGO_ENABLED": "0"},
            check=False,
        )
        if built.returncode != 0:
            print(f"CLUSTER NOT BUILT: go build {package} ends with {built.returncode}", flush=True)
            return 3
    print(f"cluster: {', '.join(PROGRAMS)} are in {HOME.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
