"""Containerfile and compose.yaml, held to the program as far as no engine is needed."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from service.cli.worker_process import SECONDS_TO_STOP
from service.settings import SECRETS, load_settings
from tests.deploy.examples import FOLDER, SETTINGS, documents, takes
from tests.documents import ROOT, document
from tests.e2e.nginx import EXAMPLE
from tests.e2e.servers import running

CONTAINERFILE = FOLDER / "Containerfile"
COMPOSE = FOLDER / "compose.yaml"


def instructions() -> list[tuple[str, str]]:
    """Each instruction with its words; continued lines are one."""
    lines = re.sub(r"\\\n\s*", "", CONTAINERFILE.read_text("utf-8")).splitlines()
    return [
        (line.partition(" ")[0], line.partition(" ")[2])
        for line in lines
        if line and not line.startswith("#")
    ]


STAGES = [n for n, (name, _) in enumerate(instructions()) if name == "FROM"]
BUILD, IMAGE = instructions()[: STAGES[1]], instructions()[STAGES[1] :]


def words(stage: list[tuple[str, str]], name: str) -> list[str]:
    return [told for found, told in stage if found == name]


# Containerfile ----------------------------------------------------------------------------------


def test_every_instruction_that_runs_something_is_written_without_a_shell() -> None:
    """A list of words is what runs: no shell, no quoting, and the signal of a stop arrives."""
    for name, told in instructions():
        if name in {"RUN", "CMD", "ENTRYPOINT"}:
            assert all(isinstance(word, str) for word in json.loads(told)), told


def test_the_image_runs_the_program_as_a_user_without_rights() -> None:
    [user] = words(IMAGE, "USER")
    uid, gid = user.split(":")
    assert int(uid) > 0
    assert int(gid) > 0
    made = next(json.loads(run) for run in words(IMAGE, "RUN") if "useradd" in run)
    assert made[made.index("--uid") + 1] == uid
    # Nothing that is copied becomes the service's own.
    assert all("--chown" not in told for told in words(IMAGE, "COPY"))
    assert json.loads(words(IMAGE, "ENTRYPOINT")[0]) == ["covercard"]
    assert takes(json.loads(words(IMAGE, "CMD")[0]))


def test_each_base_is_one_version_of_python_that_the_program_supports() -> None:
    bases = {told.split()[0] for told in words(instructions(), "FROM")}
    [base] = bases
    version = re.search(r"/python:(3\.\d+)-slim-\w+$", base)
    assert version is not None
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    assert f"Programming Language :: Python :: {version[1]}" in project


def test_packages_are_installed_by_their_hashes() -> None:
    installs = [json.loads(run) for run in words(BUILD, "RUN") if '"install"' in run]
    assert len(installs) == 2
    assert "--require-hashes" in installs[0]
    assert installs[0][-1] == "requirements.lock"
    assert {"--no-deps", "--no-build-isolation"} <= set(installs[1])


def test_each_setting_of_the_image_exists_and_its_folders_are_the_services_own() -> None:
    [env] = words(IMAGE, "ENV")
    told = dict(re.findall(r"(COVERCARD_\w+)=(\S+)", env))
    assert set(told) <= SETTINGS
    own = next(json.loads(run) for run in words(IMAGE, "RUN") if '"--directory"' in run)
    [volume] = words(IMAGE, "VOLUME")
    for folder in told.values():
        assert Path(volume) in Path(folder).parents
        assert volume in own
    assert "--owner=covercard" in own


def copied(to: Path) -> None:
    """What the build stage copies of the project, and nothing else."""
    for told in words(BUILD, "COPY"):
        *sources, target = told.split()
        for source in sources:
            if (ROOT / source).is_dir():
                shutil.copytree(
                    ROOT / source, to / target, ignore=shutil.ignore_patterns("__pycache__")
                )
            else:
                shutil.copy(ROOT / source, to / target)


def test_what_is_copied_is_what_the_builder_is_sent() -> None:
    ignored = (FOLDER / "Containerfile.dockerignore").read_text("utf-8").splitlines()
    sent = {line[1:] for line in ignored if line.startswith("!")}
    assert "*" in ignored
    assert sent == {source for told in words(BUILD, "COPY") for source in told.split()[:-1]}


def test_what_is_copied_serves_and_the_health_check_of_the_image_finds_it_well(
    tmp_path: Path,
) -> None:
    program, home = tmp_path / "program", tmp_path / "home"
    program.mkdir()
    home.mkdir()
    copied(program)
    [told] = words(IMAGE, "HEALTHCHECK")
    check = json.loads(told.partition("CMD ")[2])
    assert check[0] == "python"

    def look(port: int) -> int:
        environment = {"COVERCARD_PORT": str(port)}
        return subprocess.run(
            [sys.executable, *check[1:]], env=environment, capture_output=True, check=False
        ).returncode

    with running(home, {"PYTHONPATH": str(program)}) as server:
        place = subprocess.run(
            [
                sys.executable,
                "-c",
                "import service, cards; print(service.__file__, cards.__file__)",
            ],
            cwd=home,
            env={"PYTHONPATH": str(program)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        assert all(path.startswith(str(program)) for path in place)
        assert server.get("/readyz").json()["status"] in {"ready", "degraded"}
        assert look(server.port) == 0
        port = server.port
    assert look(port) != 0


# compose.yaml -----------------------------------------------------------------------------------

[FILE] = documents(COMPOSE)
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
OURS = {name: found for name, found in SERVICES.items() if found["image"].startswith("covercard:")}
EACH = pytest.mark.parametrize("name", SERVICES)

COMPOSE_FIELDS = {
    "build",
    "cap_add",
    "cap_drop",
    "command",
    "depends_on",
    "environment",
    "healthcheck",
    "image",
    "init",
    "network_mode",
    "networks",
    "ports",
    "read_only",
    "restart",
    "secrets",
    "security_opt",
    "stop_grace_period",
    "tmpfs",
    "user",
    "volumes",
}
"""Fields of a service in the Compose specification that the example uses."""


@EACH
def test_each_field_of_a_service_is_one_of_the_specification(name: str) -> None:
    assert set(SERVICES[name]) <= COMPOSE_FIELDS


def test_each_field_of_the_specification_that_is_listed_is_used() -> None:
    assert {field for found in SERVICES.values() for field in found} == COMPOSE_FIELDS


@EACH
def test_each_container_is_read_only_and_without_capabilities_that_it_does_not_need(
    name: str,
) -> None:
    found = SERVICES[name]
    assert found["read_only"] is True
    assert found["cap_drop"] == ["ALL"]
    assert found["security_opt"] == ["no-new-privileges:true"]
    assert name == "nginx" or "cap_add" not in found
    assert not re.search(r":latest$", found["image"])
    assert re.search(r":[\d.]+$", found["image"])


@EACH
def test_what_a_service_names_is_declared(name: str) -> None:
    found = SERVICES[name]
    assert set(found.get("secrets", ())) <= set(FILE["secrets"])
    assert set(found.get("networks", ())) <= set(FILE["networks"])
    assert set(found.get("depends_on", ())) <= set(SERVICES)
    mounted = [volume.split(":")[0] for volume in found.get("volumes", ())]
    for source in mounted:
        declared = source in FILE["volumes"]
        assert declared or source.startswith("./secrets/") or (FOLDER / source).is_file()
    for value in found.get("environment", {}).values():
        if value.startswith("/run/secrets/"):
            assert value.removeprefix("/run/secrets/") in found["secrets"]
    conditions = {d: c["condition"] for d, c in found.get("depends_on", {}).items()}
    for other, condition in conditions.items():
        if condition == "service_healthy":
            assert "test" in SERVICES[other]["healthcheck"]


@pytest.mark.parametrize("name", OURS)
def test_each_command_and_setting_of_the_compose_file_exists(name: str) -> None:
    found = OURS[name]
    assert takes(found["command"])
    assert found["environment"].keys() <= SETTINGS
    assert not {f"COVERCARD_{s.upper()}" for s in SECRETS} & found["environment"].keys()


def test_the_service_starts_after_the_migrations_and_they_after_the_database() -> None:
    first = {"condition": "service_completed_successfully"}
    assert SERVICES["covercard"]["depends_on"]["migrate"] == first
    assert SERVICES["migrate"]["depends_on"]["postgres"] == {"condition": "service_healthy"}
    assert int(SERVICES["covercard"]["stop_grace_period"].rstrip("s")) > SECONDS_TO_STOP


def test_only_nginx_is_reached_from_outside_and_the_service_by_loopback_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [n for n in os.environ if n.startswith("COVERCARD_")]:
        monkeypatch.delenv(name)
    assert [n for n, found in SERVICES.items() if "ports" in found] == ["nginx"]
    assert SERVICES["covercard"]["network_mode"] == "service:nginx"
    assert FILE["networks"]["inside"] == {"internal": True}
    assert SERVICES["postgres"]["networks"] == ["inside"]
    secrets = {"database-url": "postgresql+psycopg://covercard:a@postgres/covercard\n"}
    secrets["clients.yaml"] = (ROOT / "examples/clients.example.yaml").read_text("utf-8")
    for name, value in OURS["covercard"]["environment"].items():
        if value.startswith("/run/secrets/"):
            file = tmp_path / Path(value).name
            file.write_text(secrets[file.name])
            value = str(file)
        monkeypatch.setenv(name, value)
    settings = load_settings()
    settings.check_exposure()
    assert settings.on_loopback
    assert settings.asks_for_clients
    assert f"server {settings.host}:{settings.port} " in EXAMPLE.read_text("utf-8")


def test_nginx_finds_what_its_configuration_names() -> None:
    """The configuration is examples/nginx.conf itself, which tests/e2e/test_nginx.py runs."""
    nginx = SERVICES["nginx"]
    mounts = {v.split(":")[1]: v.split(":")[0] for v in nginx["volumes"]}
    assert (FOLDER / mounts["/etc/nginx/nginx.conf"]).resolve() == EXAMPLE.resolve()
    text = EXAMPLE.read_text("utf-8")
    for file in re.findall(r"^\s+ssl_certificate(?:_key)? (\S+);", text, flags=re.MULTILINE):
        assert str(Path(file).parent) in mounts
    for file in re.findall(r"^(?:pid|error_log) (\S+?)[; ]", text, flags=re.MULTILINE):
        assert str(Path(file).parent) in nginx["tmpfs"], "the root of its files is read-only"
    ports = set(re.findall(r"listen (\d+) ssl", text))
    assert {p.partition(":")[2] for p in nginx["ports"]} == ports


def test_the_documents_commands_name_these_files() -> None:
    commands = [c for c in document("docs/operations.md").commands() if c.startswith("docker")]
    files = [re.findall(r"--file (\S+)", command)[0] for command in commands]
    assert sorted(files) == sorted(p.relative_to(ROOT).as_posix() for p in (CONTAINERFILE, COMPOSE))
    [tag] = re.findall(r"--tag (\S+)", " ".join(commands))
    assert {found["image"] for found in OURS.values()} == {tag}
