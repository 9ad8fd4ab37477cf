"""docs/operations.md on a cluster: kubectl applies the manifests, and pods of them serve.

The cluster has one node (`tests/cluster/start.sh`), with Kubernetes' own programs, on a machine of
the test's with Docker, which builds the image. `make cluster` builds those programs from their Go
modules; without them this is skipped, and tests/deploy/test_kubernetes.py holds the manifests.
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster.__main__ import HOME, missing
from tests.conftest import FIXTURES, fixture_text_today
from tests.e2e.conftest import CLINIC
from tests.e2e.engine import PROJECT, with_docker
from tests.e2e.nspawn import Machine, with_nspawn
from tests.e2e.signing import Signer, ec_signer, entry
from tests.runbook import IN_CONTAINERS, ON_A_CLUSTER, in_prose, run_by

KUBECTL = shutil.which("kubectl")
pytestmark = [
    with_nspawn,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(
        bool(missing()),
        reason=f"SKIPPED: not built: {', '.join(missing())} (make cluster; a quarter of an hour)",
    ),
    pytest.mark.skipif(KUBECTL is None, reason="SKIPPED: kubectl is not installed"),
]

COMMANDS = [typed.command for typed in run_by(ON_A_CLUSTER)]
IMAGE = "registry.example.org/covercard:0.1.0"
NODE = "192.0.2.1"
PUBLIC_URL = "https://covercard.example.org"
ORDER_SIGN = "/cds-services/order-sign-crd"
INSTANCES = 2
"""The autoscaler's least number."""

DATABASE = """
set -eu
version=$(ls /etc/postgresql)
echo "listen_addresses = '*'" >>/etc/postgresql/$version/main/conf.d/cluster.conf
echo "host covercard all 198.51.100.0/24 scram-sha-256" >>/etc/postgresql/$version/main/pg_hba.conf
systemctl restart postgresql
su postgres -c 'psql --quiet --set ON_ERROR_STOP=1' <<'SQL'
CREATE ROLE owner LOGIN PASSWORD 'an-owner';
CREATE ROLE covercard LOGIN PASSWORD 'a-service';
CREATE DATABASE covercard OWNER owner;
SQL
"""

DISK = """
apiVersion: v1
kind: PersistentVolume
metadata: {{name: disk-{n}}}
spec:
  capacity: {{storage: 20Gi}}
  accessModes: [ReadWriteOncePod]
  persistentVolumeReclaimPolicy: Retain
  hostPath: {{path: /srv/disk-{n}}}
---
"""


@dataclass
class Cluster:
    """The machine of the cluster, and a client that the service there knows."""

    machine: Machine
    signer: Signer

    def kubectl(self, words: str, given: str = "", seconds: float = 120) -> str:
        return self.machine.does(f"kubectl {words}", given=given.encode(), seconds=seconds)

    def state(self) -> str:
        words = "kubectl get all,pvc,events --namespace covercard; kubectl describe pods -A"
        return self.machine.run(f"{words}; journalctl --unit 'cluster-*' --lines 20").stdout[-8000:]

    def waits(self, words: str, seconds: int = 240) -> None:
        """For a condition, with all that is known of the cluster where it does not come."""
        command = f"kubectl wait --namespace covercard --timeout={seconds}s {words}"
        done = self.machine.run(command, seconds=seconds + 30)
        assert done.returncode == 0, f"{command}\n{done.stderr}\n{self.state()}"

    def fires(self, pod: int) -> tuple[int, str]:
        """A signed call to one instance at its own address, as the ingress controller forwards."""
        address = self.kubectl(
            f"get pod covercard-{pod} --namespace covercard --output jsonpath='{{.status.podIP}}'"
        )
        call = fixture_text_today(FIXTURES / "order-sign" / "mrs-medicare-advantage.json")
        [(name, value)] = self.signer.call(PUBLIC_URL + ORDER_SIGN).items()
        out = self.machine.does(
            "curl --silent --show-error --max-time 30 --write-out '\n%{http_code}' --data-binary @-"
            f" --header 'Content-Type: application/json' --header '{name}: {value}'"
            f" http://{address}:8642{ORDER_SIGN}",
            given=call.encode(),
        )
        body, _, status = out.rpartition("\n")
        return int(status), body


def images_are_on_the_node(machine: Machine) -> None:
    [build, _] = [typed.command for typed in run_by(IN_CONTAINERS)]
    machine.does(build, cwd=PROJECT, seconds=600)
    machine.writes(
        "/tmp/pause/Dockerfile",
        'FROM docker.io/library/python:3.13-slim-bookworm\nENTRYPOINT ["sleep", "infinity"]\n',
    )
    machine.does(
        f"docker tag covercard:0.1.0 {IMAGE}"
        " && docker build --tag registry.example.org/pause:3.8 /tmp/pause"
        f" && docker save --output /root/images.tar {IMAGE} registry.example.org/pause:3.8",
        seconds=300,
    )


def secrets_are_written(machine: Machine, signer: Signer) -> None:
    """The files that the page names, in the folder that its commands are typed in."""
    for name, user in (
        ("database-url", "covercard:a-service"),
        ("owner-database-url", "owner:an-owner"),
    ):
        url = f"postgresql+psycopg://{user}@{NODE}/covercard"
        machine.writes(f"{PROJECT}/{name}", url)
    machine.writes(f"{PROJECT}/clients.yaml", json.dumps({"clients": [entry(signer)]}))
    machine.writes(f"{PROJECT}/access-token-key", "k" * 32)


def test_the_commands_in_their_order_and_the_pods_that_then_serve(tmp_path: Path) -> None:
    assert KUBECTL is not None
    programs = tmp_path / "programs"
    programs.mkdir()
    shutil.copy(KUBECTL, programs)
    with with_docker(
        tmp_path,
        packages=("containerd", "runc", "containernetworking-plugins", "etcd-server", "iproute2"),
        shown={HOME: "/root/kubernetes", programs: "/root/programs"},
        variables={"KUBECONFIG": "/etc/kubernetes/config"},
    ) as machine:
        cluster = Cluster(machine, ec_signer(CLINIC, kid="clinic-1"))
        images_are_on_the_node(machine)
        machine.does("install /root/programs/kubectl /usr/local/bin/kubectl")
        machine.does(f"bash {PROJECT}/tests/cluster/start.sh", seconds=300)
        machine.does(DATABASE)
        for n in range(INSTANCES):
            machine.does(f"install --directory --owner=10001 --group=10001 /srv/disk-{n}")
            cluster.kubectl("apply --filename -", DISK.format(n=n))
        secrets_are_written(machine, cluster.signer)
        the_page_is_followed(cluster)
        each_instance_serves_and_all_record_into_one_database(cluster)
        a_reload_in_a_pod_brings_its_new_clients_into_force(cluster)
        a_pod_that_is_deleted_comes_again_with_its_records(cluster)


def the_page_is_followed(cluster: Cluster) -> None:
    for command in COMMANDS:
        cluster.machine.does(command, cwd=PROJECT)
        if "kubernetes/migrate" in command:  # "when that job has completed, the service"
            cluster.waits("--for=condition=Complete job/covercard-migrate")


def each_instance_serves_and_all_record_into_one_database(cluster: Cluster) -> None:
    until = time.monotonic() + 120  # the autoscaler looks every fifteen seconds
    names = ""
    while f"covercard-{INSTANCES - 1}" not in names:
        assert time.monotonic() < until, cluster.state()
        names = cluster.kubectl("get pods --namespace covercard --output name")
        time.sleep(1)
    for pod in range(INSTANCES):
        cluster.waits(f"--for=condition=Ready pod/covercard-{pod}")
        status, body = cluster.fires(pod)
        assert status == 200, body
    seen = cluster.kubectl("get endpoints covercard --namespace covercard --output yaml")
    assert seen.count("- ip: ") == INSTANCES
    verified = cluster.kubectl(
        "exec covercard-0 --namespace covercard -- covercard decisions verify"
    )
    assert verified


def a_reload_in_a_pod_brings_its_new_clients_into_force(cluster: Cluster) -> None:
    [command] = in_prose("kubectl exec")
    cluster.machine.does(command)
    assert cluster.fires(0)[0] == 200


def a_pod_that_is_deleted_comes_again_with_its_records(cluster: Cluster) -> None:
    listed = "exec covercard-0 --namespace covercard -- ls /var/lib/covercard/records"
    key = cluster.kubectl(
        "exec covercard-0 --namespace covercard -- sha256sum /var/lib/covercard/records/chain.key"
    )
    assert ".segment" in cluster.kubectl(listed)
    cluster.kubectl("delete pod covercard-0 --namespace covercard")
    until = time.monotonic() + 120
    while cluster.machine.run("kubectl get pod covercard-0 --namespace covercard").returncode:
        assert time.monotonic() < until, cluster.state()
        time.sleep(0.5)
    cluster.waits("--for=condition=Ready pod/covercard-0")
    assert key == cluster.kubectl(
        "exec covercard-0 --namespace covercard -- sha256sum /var/lib/covercard/records/chain.key"
    )
    assert cluster.fires(0)[0] == 200
