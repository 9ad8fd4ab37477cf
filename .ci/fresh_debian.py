#!/usr/bin/env python3
"""Debian as it is after its installation, in a folder: the README's commands there, and .ci/run.

    .ci/fresh_debian.py                        Debian 12 and 13: both parts below
    .ci/fresh_debian.py trixie readme          the README's packages and its two commands
    .ci/fresh_debian.py trixie ci              .ci/run where git and Python are, and no more
    .ci/fresh_debian.py trixie make check      .ci/packages, then this command
    .ci/fresh_debian.py trixie base            only the folder build/fresh/trixie.base, for tests
    KEEP=yes .ci/fresh_debian.py trixie …      in the folder that the last one left, as it is

The last commit is what is run. sid has the next Python. Run by root; debootstrap takes Debian from
its usual mirror, or from MIRROR. The network is this machine's: its variables for proxies,
certificates and package indexes count there too. What lies in ../shared is shown there. Ends with 0
and a line that says SKIPPED where it is not root's or debootstrap is missing. No package of Python
is needed.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
FRESH = ROOT / "build" / "fresh"
SUITES = ("bookworm", "trixie")
HAS = "git,python3,ca-certificates"
"""What brings a checkout to a machine, beside what every Debian has."""
CHECKOUT = "/root/covercard"
PLAIN = {
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
}
_NETWORK = re.compile(
    r"(PIP_(INDEX_URL|EXTRA_INDEX_URL|TRUSTED_HOST|DEFAULT_TIMEOUT|PROXY|CERT)|NPM_CONFIG_\w+"
    r"|(HTTPS?|NO|ALL)_PROXY|GOPROXY|SSL_CERT_FILE|(REQUESTS|CURL)_CA_BUNDLE|NODE_EXTRA_CA_CERTS"
    r"|GIT_SSL_CAINFO)",
    re.IGNORECASE,
)
_SECONDS_TO_START = 300


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0 where all went well or nothing could be done, which is said."""
    if os.geteuid() != 0:
        return skipped("only root makes a Debian in a folder")
    if shutil.which("debootstrap", path=f"{PLAIN['PATH']}") is None:
        return skipped("debootstrap is missing: apt-get install debootstrap")
    suites, command = (arguments[:1], arguments[1:]) if arguments else (SUITES, ())
    parts: Mapping[str, Sequence[Callable[[str], object]]]
    parts = {"readme": [readme], "ci": [ci], "base": [base]}
    for suite in suites:
        if command and command[0] not in parts:
            machine(suite, "ci").run(f".ci/packages && {shlex.join(command)}")
            continue
        for part in parts[command[0]] if command else (readme, ci):
            part(suite)
    return 0


def skipped(reason: str) -> int:
    print(f"fresh-debian: SKIPPED: {reason}")
    return 0


def readme(suite: str) -> None:
    """The README's packages, then its two commands, each in a terminal of its own."""
    text = (ROOT / "README.md").read_text("utf-8")
    there = machine(suite, "readme")
    there.run(f"apt-get update -qq && DEBIAN_FRONTEND=noninteractive {installed_by(text)}")
    start, fire = two_commands(text)
    log = there.folder / "make-run"
    with log.open("wb") as out, there.started(start, out) as service:
        until = time.monotonic() + _SECONDS_TO_START
        while "covercard serve" not in (said := log.read_text("utf-8", "replace")) or (
            there.status("python3 -c " + shlex.quote(ANSWERS)) != 0
        ):
            if service.poll() is not None or time.monotonic() > until:
                fail(suite, f"`{start}` does not answer:\n{said}")
            time.sleep(1)
        answer = there.output(fire)
        service.kill()
    for expected, place in (("about a minute", said), ("Not covered under the plan's", answer)):
        if expected not in place:
            fail(suite, f"{expected!r} is not said:\n{place}")
    print(f"fresh-debian: {suite}: the README's two commands work")


ANSWERS = "import urllib.request as r; r.urlopen('http://127.0.0.1:8642/readyz', timeout=5)"


def ci(suite: str) -> None:
    """Continuous integration, where nobody has installed anything for it."""
    machine(suite, "ci").run("bash .ci/run")
    print(f"fresh-debian: {suite}: .ci/run ends with 0")


def installed_by(text: str) -> str:
    """The README's command for Debian, and what it says that the tests need besides."""
    [command] = re.findall(r"`(apt-get install [\w -]+)`", text)
    return command.replace("install", "install --yes -qq --no-install-recommends", 1)


def two_commands(text: str) -> tuple[str, str]:
    """What starts the service, and what fires a call at it."""
    section = text.partition("\n## Two commands\n")[2].partition("\n## ")[0]
    start, fire = (c.strip() for c in re.findall(r"^```sh\n(.*?)^```$", section, re.M | re.S))
    return start, fire


def fail(suite: str, reason: str) -> NoReturn:
    sys.exit(f"fresh-debian: {suite}: FAILED: {reason}")


def network(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables that tell a client of a package index how it reaches it."""
    return {name: value for name, value in variables.items() if _NETWORK.fullmatch(name)}


class Machine:
    """A Debian in a folder with the last commit in it; what runs there ends with its command."""

    def __init__(self, suite: str, folder: Path) -> None:
        self.suite, self.folder = suite, folder
        self.variables = {**PLAIN, "CI": "true"}
        (folder / "root" / "given").mkdir(exist_ok=True)
        for name, value in network(os.environ).items():
            if Path(value).is_file():  # certificates
                shutil.copy(value, folder / "root" / "given" / name)
                value = f"/root/given/{name}"
            self.variables[name] = value

    def words(self, command: str) -> list[str]:
        """The command in a namespace of its own for mounts and processes, in the checkout."""
        root = shlex.quote(str(self.folder))
        shown = [(place, place) for place in ("/dev", "/sys")]
        if (ROOT.parent / "shared").is_dir():
            shown.append((str(ROOT.parent / "shared"), "/root/shared"))
        # A root of its own, as the tests mount it again read-only.
        steps = ["mount --make-rprivate /", f"mount --bind {root} {root}"]
        steps.append(f"mount -t proc proc {root}/proc")
        for here, there in shown:
            steps.append(f"mkdir -p {root}{there}")
            steps.append(f"mount --rbind {shlex.quote(here)} {root}{there}")
        variables = shlex.join(f"{name}={value}" for name, value in self.variables.items())
        inside = shlex.quote(f"cd {CHECKOUT} && {command}")
        # The root of its mounts, not of the process alone: the kernel lets no process whose root is
        # another one make a machine inside (user namespaces, nspawn).
        steps += [f"cd {root}", "pivot_root . .", "umount -l .", "cd /"]
        steps.append(f"exec /usr/bin/env -i {variables} bash -c {inside}")
        alone = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        return [*alone, "bash", "-euc", "\n".join(steps)]

    def run(self, command: str) -> None:
        print(f"fresh-debian: {self.suite}: {command}", flush=True)
        done = subprocess.run(  # noqa: S603
            self.words(command), stdin=subprocess.DEVNULL, check=False
        )
        if done.returncode != 0:
            fail(self.suite, f"`{command}` ends with {done.returncode}")

    def status(self, command: str) -> int:
        quiet = subprocess.DEVNULL
        return subprocess.run(  # noqa: S603
            self.words(command), stdin=quiet, stdout=quiet, stderr=quiet, check=False
        ).returncode

    def output(self, command: str) -> str:
        done = subprocess.run(  # noqa: S603
            self.words(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            fail(
                self.suite, f"`{command}` ends with {done.returncode}:\n{done.stdout}{done.stderr}"
            )
        return done.stdout

    def started(self, command: str, out: object) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603
            self.words(command), stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
        )


def machine(suite: str, part: str) -> Machine:
    """A fresh one for this part, or with KEEP the one that is there."""
    folder = FRESH / f"{suite}.{part}"
    if not (os.environ.get("KEEP") and folder.is_dir()):
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run(["cp", "--archive", base(suite), folder], check=True)  # noqa: S603, S607
        clone = ["git", "clone", "--quiet", "--no-hardlinks", ROOT, f"{folder}{CHECKOUT}"]
        subprocess.run(clone, check=True)  # noqa: S603
    shutil.copy("/etc/resolv.conf", folder / "etc" / "resolv.conf")
    return Machine(suite, folder)


def base(suite: str) -> Path:
    """The folder that each machine is a copy of; it is made the first time."""
    folder = FRESH / f"{suite}.base"
    if (folder / "made").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    FRESH.mkdir(parents=True, exist_ok=True)
    print(f"fresh-debian: {suite} is being made, this time only", flush=True)
    mirror = [os.environ["MIRROR"]] if os.environ.get("MIRROR") else []
    made = subprocess.run(  # noqa: S603
        ["debootstrap", "--variant=minbase", f"--include={HAS}", suite, folder, *mirror],  # noqa: S607
        env={**os.environ, "PATH": f"{PLAIN['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        fail(suite, made.stdout[-2000:] + made.stderr)
    # Nothing that a package brings is started.
    policy = folder / "usr" / "sbin" / "policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    # A mirror may be of an earlier day; sid's lists count for one week.
    apt = folder / "etc" / "apt" / "apt.conf.d" / "mirror"
    apt.write_text('Acquire::Check-Valid-Until "false";\n')
    (folder / "made").touch()
    return folder


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
