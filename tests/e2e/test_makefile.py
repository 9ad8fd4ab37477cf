"""`make` sets up its virtual environment once, however many of it run at the same time."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import IO

import pytest

from tests.conftest import ROOT
from tests.e2e.decision_log.instances import until

PYTHON = r"""#!/bin/sh
# A Python that makes a virtual environment of a pip that notes when it begins and ends, and of a
# Python that has it.
case "$1 $2" in
    "-m venv")
        echo "venv" >>log
        mkdir -p "$3/bin"
        cat >"$3/bin/pip" <<'PIP'
#!/bin/sh
echo "pip begins" >>log
while [ -e hold ]; do sleep 0.05; done
case "$*" in *requirements.lock*) [ ! -e broken ] || exit 1 ;; esac
echo "pip ends" >>log
PIP
        printf '#!/bin/sh\n' >"$3/bin/python"
        chmod +x "$3/bin/pip" "$3/bin/python" ;;
esac
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1_000_000_000, 1_000_000_000))
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    return tmp_path


def start(project: Path, out: IO[str] | int = subprocess.PIPE) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["make", "PYTHON=./python", ".venv/.run"],
        cwd=project,
        stdout=out,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_three_at_once_install_once_and_the_others_wait(project: Path) -> None:
    if shutil.which("flock") is None:
        pytest.skip("flock is not installed here")
    hold = project / "hold"
    hold.touch()
    places = [project / f"said-{n}" for n in range(3)]
    makes = []
    for place in places:
        with place.open("w") as out:
            makes.append(start(project, out))
    # The one that installs goes on once another one has met it.
    waits = "Another make is installing into .venv: waiting for it."
    until(lambda: any(waits in place.read_text() for place in places), "one waits for another")
    hold.unlink()
    for make in makes:
        make.wait(timeout=60)
    said = [place.read_text() for place in places]
    assert [make.returncode for make in makes] == [0, 0, 0], said
    assert (project / "log").read_text().splitlines() == ["venv", *["pip begins", "pip ends"] * 2]
    assert "".join(said).count("about a minute, this time only") == 1


def test_what_is_installed_is_not_installed_again(project: Path) -> None:
    for _ in range(2):
        make = start(project)
        make.communicate(timeout=60)
        assert make.returncode == 0
    assert (project / "log").read_text().count("pip begins") == 2
    os.utime(project / "requirements.lock")
    make = start(project)
    make.communicate(timeout=60)
    assert (project / "log").read_text().count("pip begins") == 4


@pytest.mark.parametrize("now", ["gone", "another one, without its packages"])
def test_an_environment_whose_python_is_not_what_it_was_is_made_anew(
    project: Path, now: str
) -> None:
    """As after an upgrade of the machine."""
    start(project).communicate(timeout=60)
    python = project / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/nowhere/python3" if now == "gone" else "/bin/false")
    make = start(project)
    said, _ = make.communicate(timeout=60)
    assert make.returncode == 0, said
    assert "The Python of .venv is gone, or is another one now: it is made anew." in said
    log = (project / "log").read_text().splitlines()
    assert log == ["venv", *["pip begins", "pip ends"] * 2] * 2
    assert not python.is_symlink()
    said, _ = start(project).communicate(timeout=60)
    assert "made anew" not in said


def test_an_installation_that_failed_is_done_again(project: Path) -> None:
    (project / "broken").touch()
    make = start(project)
    make.communicate(timeout=60)
    assert make.returncode != 0
    assert not (project / ".venv" / ".run").exists()
    (project / "broken").unlink()
    make = start(project)
    make.communicate(timeout=60)
    assert make.returncode == 0
