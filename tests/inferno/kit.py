"""Inferno with its CRD and DTR kits, as a server on loopback: redis, the web part, the worker.

Settings, as environment variables: COVERCARD_INFERNO_RUBY is a command that runs another with Ruby
3.3.6 or later, Bundler and redis-server (nothing where the machine has them); it must show the
folder that it is started in, and no more. COVERCARD_INFERNO_GEMS is a folder of the kits' gems;
without one they are fetched. COVERCARD_INFERNO_HOME is where all is kept (build/inferno/kit).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import requests

from tests.e2e.servers import free_port
from tests.materials import ROOT, MissingPart, found_beside

_FILES = Path(__file__).parent / "kit"
_OLDEST_RUBY = (3, 3, 6)
_SECONDS_TO_START = 180
_HERE = ("env", "-u", "PWD")
"""The web part believes PWD, which need not be true where the command before leads."""


def home() -> Path:
    """Where gems, the kits' database and their logs lie."""
    return Path(os.environ.get("COVERCARD_INFERNO_HOME") or ROOT / "build" / "inferno" / "kit")


def ruby() -> list[str]:
    """The command to put before every command of the kits; raises MissingPart."""
    told = os.environ.get("COVERCARD_INFERNO_RUBY")
    if told:
        return shlex.split(told)
    if _machine_has_all():
        return []
    beside = found_beside("inferno/with-ruby")
    if beside is None:
        raise MissingPart(
            "Ruby 3.3.6 or later with Bundler, and redis-server (or COVERCARD_INFERNO_RUBY)"
        )
    return [str(beside)]


def _machine_has_all() -> bool:
    if not all(shutil.which(p) for p in ("ruby", "bundle", "redis-server")):
        return False
    told = subprocess.run(
        ["ruby", "-e", "print RUBY_VERSION"], capture_output=True, text=True, check=True, timeout=60
    )
    return tuple(int(n) for n in told.stdout.split(".")) >= _OLDEST_RUBY


def set_up() -> Path:
    """Install the gems where that is not done yet; the home. Raises MissingPart."""
    place, before, gems = home(), ruby(), _gems()
    mark = _mark(gems)
    done = place / "ready"
    if done.is_file() and done.read_text("utf-8") == mark:
        return place
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(_FILES, place)
    for folder in ("data/redis", "logs"):
        (place / folder).mkdir(parents=True)
    install = ["bundle", "install", "--quiet"]
    if gems is not None:
        # Bundler's own place for gems that it need not fetch.
        shutil.copytree(gems, place / "vendor" / "cache")
        install.append("--local")
    try:
        subprocess.run([*before, *install], cwd=place, env=_environment(), check=True, timeout=900)
    except (subprocess.CalledProcessError, OSError) as trouble:
        raise MissingPart(f"the kits' gems ({trouble})") from trouble
    done.write_text(mark, "utf-8")
    return place


def _gems() -> Path | None:
    told = os.environ.get("COVERCARD_INFERNO_GEMS")
    if told:
        return Path(told)
    return found_beside("inferno/gems")


def _mark(gems: Path | None) -> str:
    made_of = hashlib.sha256(repr(ruby()).encode())
    for file in sorted(_FILES.rglob("*")):
        if file.is_file():
            made_of.update(file.read_bytes())
    for gem in sorted(gems.glob("*.gem")) if gems else ():
        made_of.update(f"{gem.name} {gem.stat().st_size}".encode())
    return made_of.hexdigest()


def _environment(**further: str) -> dict[str, str]:
    """Paths in it are relative: the command before may show the kits' folder elsewhere."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("COVERCARD_", "BUNDLE_"))
    }
    return {
        **inherited,
        "APP_ENV": "development",
        "BUNDLE_PATH": "vendor",
        "BUNDLE_DISABLE_SHARED_GEMS": "true",
        "BUNDLE_SILENCE_ROOT_WARNING": "true",
        "INITIALIZE_VALIDATOR_SESSIONS": "false",
        # Nothing of the CRD suites needs these; a port that nobody listens on says so at once.
        "FHIR_REFERENCE_SERVER": "http://127.0.0.1:9/fhir",
        "FHIRPATH_URL": "http://127.0.0.1:9",
        **further,
    }


@contextlib.contextmanager
def running(authority: Path, validator: str) -> Iterator[str]:
    """Inferno's base URL, from its first answer to the block's end.

    `authority` is the certificate that the kits are to trust, `validator` the base URL of theirs.
    """
    place, before = set_up(), ruby()
    shutil.copyfile(authority, place / "authority.pem")
    port, redis = free_port(), free_port()
    base = f"http://127.0.0.1:{port}"
    environment = _environment(
        REDIS_URL=f"redis://127.0.0.1:{redis}/0",
        INFERNO_HOST=base,
        FHIR_RESOURCE_VALIDATOR_URL=validator,
        SSL_CERT_FILE="authority.pem",
    )
    migrate = [*before, "bundle", "exec", "inferno", "migrate"]
    with (place / "logs" / "migrate.log").open("wb") as log:
        subprocess.run(migrate, cwd=place, env=environment, stdout=log, stderr=log, check=True)
    commands = {
        "redis": f"redis-server --port {redis} --bind 127.0.0.1 --dir data/redis --save ''",
        "web": f"bundle exec puma -b tcp://127.0.0.1:{port} -t 5:16",
        "worker": "bundle exec sidekiq -r ./worker.rb -c 5 -q default -q validator_sessions",
    }
    started: list[subprocess.Popen[bytes]] = []
    try:
        for name, command in commands.items():
            with (place / "logs" / f"{name}.log").open("wb") as log:
                started.append(
                    subprocess.Popen(
                        [*before, *_HERE, *shlex.split(command)],
                        cwd=place,
                        env=environment,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                    )
                )
        _wait(base, started, place / "logs")
        yield base
    finally:
        for process in reversed(started):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for process in reversed(started):
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _wait(base: str, started: list[subprocess.Popen[bytes]], logs: Path) -> None:
    deadline = time.monotonic() + _SECONDS_TO_START
    while time.monotonic() < deadline and all(p.poll() is None for p in started):
        with contextlib.suppress(requests.RequestException):
            if requests.get(f"{base}/api/test_suites", timeout=30).ok:
                return
        time.sleep(0.5)
    endings = "\n".join(log.read_text("utf-8", "replace")[-1000:] for log in logs.glob("*.log"))
    raise RuntimeError(f"Inferno does not answer:\n{endings}")


def smart_keys() -> Path:
    """The key set with which the kits sign as a SMART client; its private half is public too."""
    place = "vendor/ruby/*/gems/smart_app_launch_test_kit-*/lib/smart_app_launch/smart_jwks.json"
    (file,) = home().glob(place)
    return file


def presets_of(kit: str) -> Path:
    """The folder of presets that a kit's gem brings."""
    (folder,) = home().glob(f"vendor/ruby/*/gems/{kit}-*/config/presets")
    return folder
