"""examples/deploy/systemd: the unit as systemd reads it, held to the program."""

import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from service.errors import ConfigurationError, NotNow
from service.settings import SECRETS
from tests.deploy.examples import FOLDER, SETTINGS, takes
from tests.documents import ROOT, document

UNITS = sorted((FOLDER / "systemd").glob("*.service"))
SERVICE = FOLDER / "systemd" / "covercard.service"
EACH = pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
with_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def directives(unit: Path) -> list[tuple[str, str]]:
    """Name and value of each line, in order."""
    return re.findall(r"^(\w+)=(.*)$", unit.read_text("utf-8"), flags=re.MULTILINE)


def values(unit: Path, name: str) -> list[str]:
    return [value for key, value in directives(unit) if key == name]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)


@with_systemd
@EACH
def test_the_exposure_of_the_unit_is_at_most_two(unit: Path) -> None:
    told = run("systemd-analyze", "security", "--offline=true", "--no-pager", str(unit))
    level = re.search(r"Overall exposure level for \S+: ([\d.]+)", told.stdout)
    assert level is not None, told.stderr
    assert float(level[1]) <= 2.0


@with_systemd
def test_the_documents_command_tells_no_more_exposure_than_it_says() -> None:
    """Versions of systemd weigh a little differently: 1.2 by that of Debian 12, 1.1 by 13's."""
    page = document("docs/operations.md")
    [command] = [c for c in page.commands() if c.startswith("systemd-analyze")]
    told = subprocess.run(
        command.split(), cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    [level] = re.findall(r"level for \S+: ([\d.]+)", told.stdout)
    [said] = re.findall(r"an exposure of ([\d.]+) at most by", page.prose.replace("\n", " "))
    assert float(said) - 0.2 <= float(level) <= float(said)


@with_systemd
def test_a_unit_without_hardening_is_above_two(tmp_path: Path) -> None:
    """So that the test above can fail."""
    bare = tmp_path / "bare.service"
    bare.write_text("[Service]\nExecStart=/bin/true\nUser=covercard\n")
    told = run("systemd-analyze", "security", "--offline=true", "--no-pager", str(bare))
    assert float(re.findall(r"level for \S+: ([\d.]+)", told.stdout)[0]) > 2.0


@with_systemd
@pytest.mark.parametrize(
    "unit", sorted((FOLDER / "systemd").glob("*.*")), ids=lambda unit: str(unit.name)
)
def test_systemd_knows_every_directive(unit: Path, tmp_path: Path) -> None:
    """Its only complaint may be that the program lies where the example says, and not here."""
    for each in (FOLDER / "systemd").iterdir():
        text = re.sub(r"^(Exec\w+=)\S+", r"\1/bin/true", each.read_text("utf-8"), flags=re.M)
        (tmp_path / each.name).write_text(text)
    told = run("systemd-analyze", "verify", "--man=no", str(tmp_path / unit.name))
    own = [line for line in told.stderr.splitlines() if unit.name in line]
    assert own == []
    assert told.returncode == 0, told.stderr


@EACH
def test_each_setting_of_the_unit_exists(unit: Path) -> None:
    named = set(re.findall(r"COVERCARD_\w+", unit.read_text("utf-8")))
    assert named
    assert named - SETTINGS == set()


@EACH
def test_the_units_command_is_one(unit: Path) -> None:
    [command] = values(unit, "ExecStart")
    program, *words = command.split()
    assert program == "/opt/covercard/.venv/bin/covercard"
    assert takes(words)


def test_systemctl_reload_brings_edited_policies_into_force() -> None:
    [command] = values(SERVICE, "ExecReload")
    env, *rest = command.split()
    # The command cannot read a credential of the service, and does not try: also none that an
    # installation adds.
    without = {f"--unset=COVERCARD_{name.upper()}_FILE" for name in SECRETS}
    assert (env, set(rest[: len(without)])) == ("/usr/bin/env", without)
    program, *words = rest[len(without) :]
    assert program == values(SERVICE, "ExecStart")[0].split()[0]
    assert words == ["reload"]
    assert takes(words)


@EACH
def test_no_secret_stands_in_the_unit(unit: Path) -> None:
    """A password comes as a credential, by a file."""
    told = [value.partition("=")[0] for value in values(unit, "Environment")]
    assert {f"COVERCARD_{name.upper()}" for name in SECRETS}.isdisjoint(told)
    credentials = {value.partition(":")[0] for value in values(unit, "LoadCredential")}
    read = set(re.findall(r"%d/([\w-]+)", unit.read_text("utf-8")))
    assert credentials == read == {"database-url"}


def test_the_folders_that_the_service_writes_are_its_own() -> None:
    """Everything else is read-only for it: ProtectSystem=strict."""
    told = dict(value.split("=", 1) for value in values(SERVICE, "Environment"))
    own = {
        f"/var/lib/{values(SERVICE, 'StateDirectory')[0]}",
        f"/var/cache/{values(SERVICE, 'CacheDirectory')[0]}",
    }
    assert values(SERVICE, "ProtectSystem") == ["strict"]
    for setting in ("COVERCARD_RECORDS_DIR", "COVERCARD_CACHE_DIR"):
        assert any(told[setting] == o or told[setting].startswith(f"{o}/") for o in own), setting


def test_the_service_is_one_that_notifies_with_a_watchdog() -> None:
    assert values(SERVICE, "Type") == ["notify"]
    assert values(SERVICE, "NotifyAccess") == ["main"]
    assert int(values(SERVICE, "WatchdogSec")[0]) >= 30
    from service.cli.worker_process import SECONDS_TO_STOP

    assert int(values(SERVICE, "TimeoutStopSec")[0]) > SECONDS_TO_STOP


def test_it_is_started_again_after_what_may_pass_and_not_after_a_wrong_setting() -> None:
    assert values(SERVICE, "Restart") == ["on-failure"]
    [never_again] = values(SERVICE, "RestartPreventExitStatus")
    assert int(never_again) == ConfigurationError.exit_code == click.UsageError.exit_code
    assert NotNow.exit_code != int(never_again)


def test_the_documents_install_commands_put_each_file_where_its_unit_looks(tmp_path: Path) -> None:
    """They are run, with a folder of the test's in place of the machine's root."""
    commands = [
        command
        for command in document("docs/operations.md").commands()
        if command.startswith("install -D")
    ]
    for command in commands:
        words = [f"{tmp_path}{w}" if w.startswith("/") else w for w in command.split()]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    installed = {p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file()}
    units = [p for p in (FOLDER / "systemd").iterdir() if p.suffix]
    assert {Path("etc/systemd/system", p.name) for p in units} <= installed
    assert Path("usr/local/sbin/covercard") in installed
    for unit in UNITS:
        files = [f for f in values(unit, "EnvironmentFile") if f.startswith("/")]
        files += [value.partition(":")[2] for value in values(unit, "LoadCredential")]
        assert {Path(f.lstrip("/")) for f in files} - installed == {
            Path("etc/covercard/database-url")
        }


def test_the_command_of_the_machine_runs_as_the_service_does() -> None:
    script = (FOLDER / "systemd" / "covercard").read_text("utf-8")
    assert subprocess.run(["sh", "-n"], input=script, text=True, check=False).returncode == 0
    told = dict(re.findall(r"--property=(\w+)=(\S+)", script))
    for name, value in told.items():
        assert value in values(SERVICE, name), name
    own = {"User", "Group", "StateDirectory", "WorkingDirectory", "UMask"}
    assert own | {"EnvironmentFile", "LoadCredential"} == set(told)
    for setting in values(SERVICE, "Environment"):
        name, _, value = setting.partition("=")
        plain = value.replace("%d", "$CREDENTIALS_DIRECTORY")
        assert f"{name}={plain}" in script
    (program,) = values(SERVICE, "ExecStart")
    assert program.split()[0] in script
