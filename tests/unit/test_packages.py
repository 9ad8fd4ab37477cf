"""`.ci/packages`: what a Debian lacks is installed, once, and what cannot be is named."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.documents import document

SCRIPT = ROOT / ".ci" / "packages"
NEEDED = ("bash", "cat", "mkdir", "sh")
"""Programs of every Debian that the script itself uses."""


def said_on(folder: Path, has: tuple[str, ...], root: bool = True, apt: str = "exit 0") -> str:
    """What it says where there are these programs and no others, each of which ends with 0.

    `apt` is what apt-get does after it has written down its words into the file `asked`.
    """
    programs = folder / "bin"
    programs.mkdir()
    for name in NEEDED:
        (programs / name).symlink_to(str(shutil.which(name)))
    made = dict.fromkeys(has, "exit 0")
    made["id"] = f"echo {0 if root else 1000}"
    if apt:
        made["apt-get"] = f'echo "$*" >>{folder}/asked\n{apt}'
    for name, does in made.items():
        (programs / name).write_text(f"#!/bin/sh\n{does}\n")
        (programs / name).chmod(0o755)
    # Its own additions to PATH are this machine's: the programs there are not to be found.
    script = SCRIPT.read_text("utf-8").replace('PATH="$PATH:/usr/sbin:/sbin"', "")
    script = script.replace("/etc/postgresql-common", f"{folder}/etc")
    script = script.replace("/usr/lib/postgresql", f"{folder}/lib/postgresql")
    done = subprocess.run(
        ["bash", "-c", script],
        env={"PATH": str(programs)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def listed() -> list[str]:
    done = subprocess.run([SCRIPT, "--list"], capture_output=True, text=True, check=True)
    return done.stdout.split()


def asked(folder: Path) -> list[str]:
    file = folder / "asked"
    return file.read_text().splitlines() if file.exists() else []


def test_on_a_bare_debian_everything_on_its_list_is_installed(tmp_path: Path) -> None:
    said = said_on(tmp_path, has=())
    words = asked(tmp_path)
    assert words[0].startswith("update")
    assert [line.split()[-1] for line in words[1:]] == listed()
    assert all("--no-install-recommends" in line for line in words[1:])
    assert re.findall(r"ci: (\S+) installed", said) == listed()


def test_a_server_of_postgresqls_own_is_not_made(tmp_path: Path) -> None:
    assert "postgresql installed" in said_on(tmp_path, has=())
    written = (tmp_path / "etc" / "createcluster.conf").read_text()
    assert written == "create_main_cluster = false\n"


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    said = said_on(tmp_path, has=("make", "curl", "python3"))
    installed = [line.split()[-1] for line in asked(tmp_path)[1:]]
    assert set(installed) == set(listed()) - {"make", "curl", "python3-venv"}
    assert "ci: make" not in said


@pytest.mark.parametrize(
    ("root", "apt"), [(False, "exit 0"), (True, ""), (True, "exit 100")], ids=str
)
def test_what_cannot_be_installed_is_named_with_what_becomes_of_it(
    tmp_path: Path, root: bool, apt: str
) -> None:
    said = said_on(tmp_path, has=("make",), root=root, apt=apt)
    named = re.findall(
        r"^ci: (\S+) is not installed and cannot be \(apt-get install \1\): .", said, flags=re.M
    )
    assert named == [name for name in listed() if name != "make"]
    assert "installed\n" not in said
    assert len(asked(tmp_path)) <= 1, "a mirror that is away is asked once"


def test_the_readme_names_the_packages_that_its_commands_and_the_tests_need() -> None:
    text = document("README.md").text
    [command] = re.findall(r"`apt-get install ([\w -]+)`", text)
    assert command.split() == ["git", "make", "python3-venv"]
    assert set(command.split()) - {"git"} < set(listed())
    for name in re.findall(r"`(lib\w+)` for the tests", text):
        assert name in listed()


def test_continuous_integration_begins_with_it() -> None:
    lines = (ROOT / ".ci" / "run").read_text("utf-8").splitlines()
    commands = [line for line in lines if line and not line.startswith("#")]
    assert commands[:3] == ["set -euo pipefail", 'cd "$(dirname "$0")/.."', ".ci/packages"]
