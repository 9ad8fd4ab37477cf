"""examples/deploy/kubernetes: its structure, held to the program and, where one is at hand, to the
schema of Kubernetes."""

import copy
import os
import re
import shlex
import shutil
import stat
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from service.auth.token_key import token_key
from service.bootstrap.app import RECORDER, create_app
from service.cli.worker_process import SECONDS_TO_STOP
from service.settings import SECRETS, load_settings
from tests.conftest import applications, in_folder
from tests.deploy.examples import FOLDER, SETTINGS, documents, takes
from tests.documents import ROOT, document

KUBERNETES = FOLDER / "kubernetes"
FILES = [p for p in sorted(KUBERNETES.rglob("*.yaml")) if p.name != "kustomization.yaml"]
OBJECTS = [found for path in FILES for found in documents(path)]
EACH = pytest.mark.parametrize(
    "manifest", OBJECTS, ids=lambda found: f"{found['kind']} {found['metadata']['name']}"
)
with_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is absent")


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [found for found in OBJECTS if found["kind"] == kind]


[SERVICE] = of_kind("StatefulSet")
[JOB] = of_kind("Job")
POD = SERVICE["spec"]["template"]
PODS = [
    pytest.param(owner["spec"]["template"], id=owner["metadata"]["name"])
    for owner in (SERVICE, JOB)
]


def containers(pod: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield from pod["spec"].get("initContainers", ())
    yield from pod["spec"]["containers"]


[MAIN] = POD["spec"]["containers"]
[CONFIG] = of_kind("ConfigMap")


def taken_by_the_schema(manifest: dict[str, Any]) -> None:
    """Raise ValidationError unless each field is a known one, in its place. Skipped where no schema
    is installed: all versions of all kinds take more room than all that is locked.
    """
    schemas = pytest.importorskip(
        "kubernetes_validate", reason="no schema: pip install kubernetes-validate"
    )
    assert schemas.validate(manifest, "1.31", strict=True) == "1.31"


@EACH
def test_the_schema_of_kubernetes_takes_each_manifest(manifest: dict[str, Any]) -> None:
    taken_by_the_schema(manifest)


def test_a_field_that_there_is_not_is_found_by_the_schema() -> None:
    wrong = copy.deepcopy(SERVICE)
    wrong["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(jsonschema.ValidationError, match="livenesProbe"):
        taken_by_the_schema(wrong)


def test_each_file_is_a_resource_of_one_kustomization() -> None:
    named = [
        (file.parent / name).resolve()
        for file in KUBERNETES.rglob("kustomization.yaml")
        for name in documents(file)[0]["resources"]
    ]
    assert sorted(named) == sorted(FILES)


@with_kubectl
@pytest.mark.parametrize("folder", [KUBERNETES, KUBERNETES / "migrate"], ids=lambda p: p.name)
def test_kubectl_builds_each_folder(folder: Path) -> None:
    told = subprocess.run(
        ["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    images = set(re.findall(r"image: (\S+)", told.stdout))
    assert images == {"registry.example.org/covercard:0.1.0"}
    assert told.stdout.count("namespace: covercard") >= 1


@with_kubectl
def test_the_documents_commands_make_the_secrets_that_the_pods_mount(tmp_path: Path) -> None:
    """What stands before the pipe is run; what stands behind it needs a cluster."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    for name in ("database-url", "clients.yaml", "access-token-key", "owner-database-url"):
        (tmp_path / name).write_text(name)
    home = {**os.environ, "HOME": str(tmp_path), "KUBECONFIG": str(tmp_path / "none")}
    made: dict[str, set[str]] = {}
    commands = [c for c in document("docs/operations.md").commands() if c.startswith("kubectl")]
    for command in commands:
        first, *then = command.split(" | ")
        assert then in ([], ["kubectl apply --filename -"])
        if not then:
            assert first == "kubectl apply --filename examples/deploy/kubernetes/namespace.yaml"
            continue
        told = subprocess.run(
            shlex.split(first), cwd=tmp_path, env=home, capture_output=True, text=True, check=False
        )
        assert told.returncode == 0, told.stderr
        (tmp_path / "made.yaml").write_text(told.stdout)
        for found in documents(tmp_path / "made.yaml"):
            if found["kind"] == "Secret":
                made[found["metadata"]["name"]] = set(found["data"])
    assert len(commands) == 5
    mounted = {
        volume["secret"]["secretName"]
        for pod in (POD, JOB["spec"]["template"])
        for volume in pod["spec"]["volumes"]
        if "secret" in volume
    }
    assert set(made) == mounted
    read: set[tuple[str, str]] = set()
    for pod in (POD, JOB["spec"]["template"]):
        text = str(list(containers(pod)))
        read |= set(re.findall(r"/run/secrets/([\w-]+)/([\w.-]+)", text))
    assert {(secret, key) for secret, keys in made.items() for key in keys} == read


@pytest.mark.parametrize("pod", PODS)
def test_a_pod_may_no_more_than_it_needs(pod: dict[str, Any]) -> None:
    own = pod["spec"]["securityContext"]
    assert own["runAsNonRoot"] is True
    assert own["runAsUser"] > 0
    assert own["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["spec"]["automountServiceAccountToken"] is False
    for container in containers(pod):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("pod", PODS)
def test_a_service_of_the_same_name_sets_no_variable_of_the_program(pod: dict[str, Any]) -> None:
    """Kubernetes would set COVERCARD_PORT=tcp://…, for the Service named covercard."""
    assert pod["spec"]["enableServiceLinks"] is False


@pytest.mark.parametrize("pod", PODS)
def test_each_mount_is_a_volume_and_each_volume_is_mounted(pod: dict[str, Any]) -> None:
    claims = SERVICE["spec"]["volumeClaimTemplates"] if pod is POD else []
    volumes = {v["name"] for v in pod["spec"]["volumes"]} | {c["metadata"]["name"] for c in claims}
    mounts = {m["name"] for c in containers(pod) for m in c["volumeMounts"]}
    assert mounts == volumes


@pytest.mark.parametrize("pod", PODS)
def test_each_command_and_setting_exists(pod: dict[str, Any]) -> None:
    commands = 0
    for container in containers(pod):
        assert {e["name"] for e in container.get("env", ())} <= SETTINGS
        if "args" in container:
            commands += 1
            assert "command" not in container
            assert takes(container["args"])
    assert commands


@pytest.fixture
def mounted(tmp_path: Path) -> Path:
    """The volumes of the pod in a folder of the test's; secrets stand behind links."""
    secrets = tmp_path / "run/secrets/covercard"
    (secrets / "..data").mkdir(parents=True)
    (tmp_path / "run/covercard").mkdir(mode=0o777)
    (tmp_path / "run/covercard").chmod(0o2777)
    content = {
        "database-url": "postgresql+psycopg://covercard:a@db.example.org/covercard\n",
        "clients.yaml": (ROOT / "examples/clients.example.yaml").read_text("utf-8"),
        "access-token-key": "k" * 32,
    }
    for name, text in content.items():
        (secrets / "..data" / name).write_text(text)
        (secrets / "..data" / name).chmod(0o440)
        (secrets / name).symlink_to(Path("..data", name))
    return tmp_path


def test_the_service_takes_its_settings(mounted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith("COVERCARD_")]:
        monkeypatch.delenv(name)
    told = {**CONFIG["data"]}
    for each in MAIN["env"]:
        value = each.get("value", "10.1.2.3")  # the pod's address
        told[each["name"]] = f"{mounted}{value}" if value.startswith("/") else value
    assert set(told) <= SETTINGS
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    settings.check_exposure()
    assert settings.asks_for_clients
    assert settings.database_url.startswith("postgresql+psycopg://covercard:a@")
    assert settings.counts_in_database
    assert not {f"COVERCARD_{name.upper()}" for name in SECRETS} & set(told)


def test_the_key_of_access_tokens_is_taken_as_the_first_container_leaves_it(mounted: Path) -> None:
    [first] = POD["spec"]["initContainers"]
    command = [f"{mounted}{word}" if word.startswith("/") else word for word in first["command"]]
    subprocess.run(command, check=True)
    [setting] = [e for e in MAIN["env"] if e["name"] == "COVERCARD_ACCESS_TOKEN_KEY_FILE"]
    file = Path(f"{mounted}{setting['value']}")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert token_key(file, setting["name"]) == b"k" * 32


def test_each_probe_asks_a_place_that_exists(tmp_path: Path) -> None:
    app = create_app(in_folder(tmp_path))
    places = {rule.rule for each in applications(app) for rule in each.url_map.iter_rules()}
    app.extensions[RECORDER].stop()
    ports = {port["name"]: port["containerPort"] for port in MAIN["ports"]}
    asked = {
        kind: MAIN[f"{kind}Probe"]["httpGet"]["path"]
        for kind in ("startup", "liveness", "readiness")
    }
    # A pod without its database is not started again, and answers on.
    assert asked == {"startup": "/livez", "liveness": "/livez", "readiness": "/readyz"}
    assert set(asked.values()) <= places
    assert {MAIN[f"{kind}Probe"]["httpGet"]["port"] for kind in asked} <= set(ports)
    assert ports["http"] == int(
        next(e["value"] for e in MAIN["env"] if e["name"] == "COVERCARD_PORT")
    )


def test_a_stop_has_the_time_that_it_takes() -> None:
    pause = int(MAIN["lifecycle"]["preStop"]["exec"]["command"][1])
    assert POD["spec"]["terminationGracePeriodSeconds"] >= pause + SECONDS_TO_STOP + 5


def test_each_selector_finds_the_service_and_not_the_migration() -> None:
    [budget], [policy] = of_kind("PodDisruptionBudget"), of_kind("NetworkPolicy")
    selectors = [
        SERVICE["spec"]["selector"]["matchLabels"],
        budget["spec"]["selector"]["matchLabels"],
        *(service["spec"]["selector"] for service in of_kind("Service")),
    ]
    labels, migration = POD["metadata"]["labels"], JOB["spec"]["template"]["metadata"]["labels"]
    for selector in selectors:
        assert selector.items() <= labels.items()
        assert not selector.items() <= migration.items()
    both = policy["spec"]["podSelector"]["matchLabels"].items()
    assert both <= labels.items()
    assert both <= migration.items()


def test_services_and_the_network_policy_lead_to_the_port_of_the_service() -> None:
    [policy] = of_kind("NetworkPolicy")
    ports = {port["name"]: port["containerPort"] for port in MAIN["ports"]}
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert [p["port"] for rule in policy["spec"]["ingress"] for p in rule["ports"]] == [
        ports["http"]
    ]
    for rule in policy["spec"]["ingress"]:
        assert rule["from"], "an empty list would let everybody in"
    for service in of_kind("Service"):
        assert [p["targetPort"] for p in service["spec"]["ports"]] == ["http"]
    named = {service["metadata"]["name"] for service in of_kind("Service")}
    assert SERVICE["spec"]["serviceName"] in named


def test_the_autoscaler_scales_the_service_and_keeps_more_than_the_budget_takes() -> None:
    [scaler], [budget] = of_kind("HorizontalPodAutoscaler"), of_kind("PodDisruptionBudget")
    target = scaler["spec"]["scaleTargetRef"]
    assert [target["apiVersion"], target["kind"], target["name"]] == [
        SERVICE["apiVersion"],
        SERVICE["kind"],
        SERVICE["metadata"]["name"],
    ]
    assert "replicas" not in SERVICE["spec"], "each apply would undo the autoscaler"
    assert "cpu" in MAIN["resources"]["requests"], "utilization is a part of what is requested"
    assert scaler["spec"]["minReplicas"] > budget["spec"]["maxUnavailable"]


def test_records_are_on_the_instances_own_disk_and_outlive_the_pod() -> None:
    mounts = {m["name"]: m["mountPath"] for m in MAIN["volumeMounts"]}
    [claim] = SERVICE["spec"]["volumeClaimTemplates"]
    folder = next(e["value"] for e in MAIN["env"] if e["name"] == "COVERCARD_RECORDS_DIR")
    # Below the mount: the service makes the folder, so that it is its own.
    assert Path(mounts[claim["metadata"]["name"]]) in Path(folder).parents
    kept = SERVICE["spec"]["persistentVolumeClaimRetentionPolicy"]
    assert set(kept.values()) == {"Retain"}


def test_migrations_run_as_the_owner_and_then_let_the_service_in() -> None:
    pod = JOB["spec"]["template"]["spec"]
    assert [c["args"] for c in pod["initContainers"]] == [["db", "upgrade"]]
    assert [c["args"] for c in pod["containers"]] == [["db", "grant", "covercard"]]
    assert {v["secret"]["secretName"] for v in pod["volumes"]} == {"covercard-owner"}
    assert "covercard-owner" not in str(POD)
    assert pod["restartPolicy"] == "Never"
