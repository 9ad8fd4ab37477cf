"""A machine with Docker: a Debian 13 of the tests' own, both as Debian ships them.

What a machine without other networks lacks are the three images that the project's files start
from. They are made from that Debian, its Python, PostgreSQL and nginx, under the names of the
official ones and with their users, folders and beginnings.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.e2e.nspawn import Machine, booted, project_files

PROJECT = "/opt/covercard"
_INSTALLS = """
cannot() { tail -n 3 /tmp/said; echo "$1"; exit 77; }
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq >/tmp/said 2>&1 || cannot "Debian's packages are out of reach"
apt-get install -y -qq --no-install-recommends systemd dbus docker.io docker-cli docker-compose \\
    iptables tini python3-venv python-is-python3 nginx-light postgresql curl openssl \\
    $MORE >/tmp/said 2>&1 || cannot "Debian's packages cannot be installed"
mkdir -p /opt/covercard /wheels
tar -C /opt/covercard -xf /root/given/project.tar
python3 -m venv /tmp/pip
/tmp/pip/bin/pip download --quiet --require-hashes --dest /wheels \\
    --requirement /opt/covercard/requirements.lock >/tmp/said 2>&1 ||
    cannot "Python's packages are out of reach"
"""
"""While there is a network; the image is then built without one, from /wheels."""

_POSTGRES = """#!/bin/sh
# What the official image does at its first start, as far as compose.yaml asks for it.
set -eu
bin=$(echo /usr/lib/postgresql/*/bin)
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    "$bin/initdb" --username="$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" --locale=C.UTF-8
    echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
    "$bin/pg_ctl" --options="-c listen_addresses=''" --wait start
    "$bin/createdb" --username="$POSTGRES_USER" "$POSTGRES_DB"
    "$bin/pg_ctl" --wait stop
fi
exec "$bin/postgres" -c "listen_addresses=*"
"""

_STAND_INS = {
    "docker.io/library/postgres:17": r"""
ENV PGDATA=/var/lib/postgresql/data
COPY postgres /usr/local/bin/docker-entrypoint.sh
RUN ["install", "--directory", "--owner=postgres", "--mode=0700", "/var/lib/postgresql/data"]
VOLUME /var/lib/postgresql/data
ENTRYPOINT ["docker-entrypoint.sh"]
""",
    "docker.io/library/nginx:1.28": r"""
RUN ["useradd", "--system", "--no-create-home", "nginx"]
RUN ["rm", "--recursive", "--force", "/var/lib/nginx"]
RUN ["ln", "--symbolic", "/var/cache/nginx", "/var/lib/nginx"]
ENTRYPOINT ["nginx", "-g", "daemon off;"]
""",
}
"""Image → what is done to that of Python, which is the Debian itself."""


def debian() -> Path:
    """The folder with a Debian 13 as it is after its installation; it is made the first time."""
    script = ROOT / ".ci" / "fresh_debian.py"
    made = subprocess.run(
        [sys.executable, script, "trixie", "base"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0 or "SKIPPED" in made.stdout:
        pytest.skip(f"SKIPPED: no Debian for containers: {(made.stdout + made.stderr)[-300:]}")
    return ROOT / "build" / "fresh" / "trixie.base"


@contextlib.contextmanager
def with_docker(
    folder: Path,
    packages: Sequence[str] = (),
    shown: Mapping[Path, str] | None = None,
    variables: Mapping[str, str] | None = None,
) -> Iterator[Machine]:
    """The machine, with the project in /opt/covercard and `packages` of Debian besides."""
    given = folder / "given"
    given.mkdir()
    project_files(given / "project.tar")
    with booted(
        folder,
        base=debian(),
        prepared_by=f"MORE={chr(39)}{' '.join(packages)}{chr(39)}\n{_INSTALLS}",
        shown={given: "/root/given", **(shown or {})},
        options=[
            "--capability=all",
            "--system-call-filter=add_key keyctl bpf",
            "--tmpfs=/var/lib/docker:mode=0711",
        ],
        variables=variables,
    ) as machine:
        _images_are_made(machine)
        yield machine


def _images_are_made(machine: Machine) -> None:
    """In place of the official ones, and under their names."""
    left = ("var/lib/docker", "var/lib/apt", "var/cache/apt", "var/lib/postgresql", "tmp/*")
    own = " ".join(
        f"--exclude='./{place}'" for place in (*left, "root/*", "opt/*", "usr/share/doc")
    )
    machine.does(
        f"tar -C / --one-file-system {own} -c . | docker import"
        " --change 'ENV PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels'"
        " - docker.io/library/python:3.13-slim-bookworm",
        seconds=300,
    )
    machine.writes("/tmp/image/postgres", _POSTGRES, 0o755)
    for image, steps in _STAND_INS.items():
        start = "FROM docker.io/library/python:3.13-slim-bookworm"
        machine.writes("/tmp/image/Dockerfile", f"{start}\n{steps}")
        machine.does(f"docker build --tag {image} /tmp/image")
