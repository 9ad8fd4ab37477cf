"""A machine with systemd: this one's files under systemd-nspawn, each change in memory.

What is done there stays there: its files are an overlay of a folder (usually `/`), its processes,
users, clock of boot and network are its own, and when it ends nothing of it is left. Made by root
where systemd-nspawn is; `why_not` says what is missing elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import ROOT

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SYSTEMD = Path("/usr/lib/systemd/systemd")
_SECONDS_TO_START = 90


def why_not() -> str | None:
    """What keeps this machine from having another one inside, or None."""
    if os.geteuid() != 0:
        return "only root starts a machine under systemd-nspawn"
    if shutil.which("systemd-nspawn", path=PATH) is None:
        return "systemd-nspawn is not installed: apt-get install systemd-container"
    if not SYSTEMD.exists() or shutil.which("dbus-daemon", path=PATH) is None:
        return "systemd is not installed: apt-get install systemd dbus"
    return None


with_nspawn = pytest.mark.skipif(why_not() is not None, reason=f"SKIPPED: {why_not()}")


@dataclass
class Machine:
    """A machine that has booted. `leader` is its first process as it is seen from here."""

    nspawn: subprocess.Popen[bytes]
    leader: int
    console: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    def words(self, command: str, cwd: str = "/") -> list[str]:
        """The command by bash there, as root after a login."""
        variables = {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", **self.variables}
        told = [f"{name}={value}" for name, value in variables.items()]
        enter = ["nsenter", "--target", str(self.leader), "--all"]
        return [
            *enter,
            "/usr/bin/env",
            "-i",
            *told,
            "bash",
            "-o",
            "pipefail",
            "-c",
            f"cd {cwd} && {command}",
        ]

    def run(
        self, command: str, cwd: str = "/", given: bytes = b"", seconds: float = 120
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.words(command, cwd), input=given, capture_output=True, timeout=seconds, check=False
        )
        out, err = (said.decode("utf-8", "replace") for said in (done.stdout, done.stderr))
        return subprocess.CompletedProcess(done.args, done.returncode, out, err)

    def does(self, command: str, cwd: str = "/", given: bytes = b"", seconds: float = 120) -> str:
        """What it prints; an AssertionError with all of it where it does not end with 0."""
        done = self.run(command, cwd, given, seconds)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def writes(self, file: str, content: bytes | str, mode: int = 0o644) -> None:
        data = content.encode() if isinstance(content, str) else content
        place = shlex.quote(file)
        self.does(
            f"mkdir -p $(dirname {place}) && cat >{place} && chmod {mode:o} {place}", given=data
        )

    def reads(self, file: str) -> str:
        return self.does(f"cat {shlex.quote(file)}")


@contextlib.contextmanager
def booted(
    folder: Path,
    base: Path = Path("/"),
    prepared_by: str = "",
    shown: Mapping[Path, str] | None = None,
    options: Sequence[str] = (),
    variables: Mapping[str, str] | None = None,
) -> Iterator[Machine]:
    """A machine on the files of `base`, until the block ends.

    `prepared_by` is run by bash before it boots, in its files, with this machine's network and the
    variables of this process; afterwards it has loopback alone. `shown` are folders of here that
    are seen there, read-only then: here → there. Skips the test where `prepared_by` ends with 77,
    by its last line.
    """
    (folder / "machine").mkdir()
    place = shlex.quote(str(folder / "machine"))
    binds = [f"--bind-ro={here}:{there}" for here, there in (shown or {}).items()]
    shows = "\n".join(  # while it is prepared
        f"mkdir -p {place}/root{there}; mount --bind {shlex.quote(str(here))} {place}/root{there}"
        for here, there in (shown or {}).items()
    )
    nspawn = shlex.join(
        [
            "systemd-nspawn",
            "--quiet",
            "--register=no",
            "--keep-unit",
            "--link-journal=no",
            "--private-network",
            "--console=read-only",
            f"--machine={folder.name.replace('_', '-')[:40].strip('-') or 'machine'}",
            *binds,
            *options,
        ]
    )
    # The mounts are in a namespace of their own, and so gone when the machine is; and so is the
    # machine when this process ends, however it does.
    steps = f"""
        set -eu
        mount --make-rprivate /
        mount -t tmpfs -o mode=755 tmpfs {place}
        mkdir {place}/above {place}/work {place}/root
        mount -t overlay -o lowerdir={shlex.quote(str(base))} \
            -o upperdir={place}/above,workdir={place}/work overlay {place}/root
        rm -rf {place}/root/etc/machine-id {place}/root/etc/systemd/system/*.wants
        tr -d - </proc/sys/kernel/random/uuid >{place}/root/etc/machine-id
        if [ -n "$PREPARED_BY" ]; then
            mkdir -p {place}/root/dev {place}/root/proc
            mount --rbind /dev {place}/root/dev
            mount -t proc proc {place}/root/proc
            {shows}
            for file in /etc/resolv.conf {shlex.join(certificates())}; do
                mkdir -p "$(dirname "{place}/root$file")"
                cp --dereference --remove-destination "$file" "{place}/root$file"
            done
            PATH={PATH} chroot {place}/root /bin/bash -euc "$PREPARED_BY"
            umount -l {place}/root/dev {place}/root/proc
        fi
        exec {nspawn} --directory={place}/root --boot
    """
    console = folder / "console"
    with console.open("wb") as out:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "bash", "-c", steps],
            env={**os.environ, "PREPARED_BY": prepared_by, "UNIFIED_CGROUP_HIERARCHY": "1"},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        yield _when_it_is_up(process, console, variables or {})
    finally:
        process.terminate()
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def project_files(to: Path) -> Path:
    """The project as it lies here, less what git ignores."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout
    with tarfile.open(to, "w") as archive:
        for name in listed.decode().split("\0"):
            if name and (ROOT / name).is_file():
                archive.add(ROOT / name, name)
    return to


def certificates() -> list[str]:
    """The files of authorities that this process's variables name for package indexes."""
    named = {v for k, v in os.environ.items() if k.endswith(("_CERT", "_CERT_FILE", "_BUNDLE"))}
    return sorted(file for file in named if Path(file).is_file())


def _when_it_is_up(
    process: subprocess.Popen[bytes], console: Path, variables: Mapping[str, str]
) -> Machine:
    until = None
    while process.poll() is None:
        leader = _first_process(process.pid)
        if leader is not None:
            until = until or time.monotonic() + _SECONDS_TO_START
            machine = Machine(process, leader, console, variables)
            state = machine.run("systemctl is-system-running").stdout.strip()
            if state in ("running", "degraded"):
                return machine
            assert time.monotonic() < until, f"it does not boot: {state}\n{_said(console)}"
        time.sleep(0.2)
    if process.returncode == 77:
        pytest.skip(f"SKIPPED: {_said(console).strip().splitlines()[-1]}")
    raise AssertionError(f"it does not boot:\n{_said(console)}")


def _first_process(nspawn: int) -> int | None:
    """The machine's systemd, which is the child of systemd-nspawn."""
    children = Path(f"/proc/{nspawn}/task/{nspawn}/children")
    with contextlib.suppress(OSError):
        for child in children.read_text().split():
            if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                return int(child)
    return None


def _said(console: Path) -> str:
    return console.read_text("utf-8", "replace")[-4000:]
