"""Covercard of another commit as a server to measure: its own tree, packages and settings."""

from __future__ import annotations

import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

from tests.bench.servers import ROOT, Contender, covercard_environment, free_port

_SERVE = ("-c", "from service.cli import main; main()", "serve")
_FORMER = {"COVERCARD_RECORDS_DIR": "COVERCARD_SPOOL_DIR"}
"""Settings that had another name."""


def of_commit(commit: str, workers: int, data: Path, folder: Path) -> Contender:
    """The commit as its operators started it. Raises RuntimeError if it cannot be had.

    Trees and environments are kept below `folder`, for a later run.
    """
    name = _output("git", "rev-parse", "--short=10", f"{commit}^{{commit}}")
    tree = folder.absolute() / name
    python = _installed(name, tree)
    port = free_port()
    settings = covercard_environment(port, workers, data)
    known = (tree / "service/settings.py").read_text("utf-8")
    environment = {n: v for n, v in settings.items() if _is_known(n, known)}
    environment |= {f: settings[n] for n, f in _FORMER.items() if n not in environment}
    return Contender(
        "base", f"Covercard at {name}", (str(python), *_SERVE), port, environment, folder=tree
    )


def _installed(name: str, tree: Path) -> Path:
    python = tree / ".venv/bin/python"
    done = tree / ".installed"
    if not done.exists():
        packed = subprocess.run(
            ["git", "archive", "--format=tar", name], cwd=ROOT, check=True, capture_output=True
        ).stdout
        with tarfile.open(fileobj=BytesIO(packed)) as archive:
            archive.extractall(tree, filter="data")
        print(f"Installing what {name} needs: about a minute, once.", flush=True)
        made = subprocess.run(["make", ".venv/.run"], cwd=tree, capture_output=True, text=True)
        if made.returncode:
            raise RuntimeError(f"{name} cannot be installed:\n{made.stderr.strip()[-1000:]}")
        done.touch()
    return python


def _is_known(variable: str, settings_source: str) -> bool:
    return variable.removeprefix("COVERCARD_").lower() in settings_source


def _output(*command: str) -> str:
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if ended.returncode:
        raise RuntimeError(f"{' '.join(command)}: {ended.stderr.strip()}")
    return ended.stdout.strip()
