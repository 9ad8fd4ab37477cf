#!/bin/bash
# A cluster of one node, on a machine of the tests': etcd, the API server, controllers, scheduler and
# kubelet of Kubernetes, containerd, a bridge for pods. /root/kubernetes has Kubernetes' programs.
# Without: kube-proxy and names (pods reach what they need by address), metrics, a network policy's
# enforcement.
set -euo pipefail
node=192.0.2.1
home=/etc/kubernetes
mkdir -p "$home" /etc/cni/net.d /run/kubernetes /var/lib/kubelet

ip link add node0 type bridge
ip address add "$node/24" dev node0
ip link set node0 up
ip route add default dev node0
sysctl --quiet net.ipv4.ip_forward=1
hostnamectl hostname node
echo "$node node" >>/etc/hosts

openssl genrsa -out "$home/accounts.key" 2048 2>/dev/null
openssl rsa -in "$home/accounts.key" -pubout -out "$home/accounts.pub" 2>/dev/null
token=$(openssl rand -hex 16)
echo "$token,admin,admin,system:masters" >"$home/tokens.csv"
cat >"$home/config" <<YAML
apiVersion: v1
kind: Config
current-context: here
clusters: [{name: here, cluster: {server: "https://127.0.0.1:6443", insecure-skip-tls-verify: true}}]
users: [{name: admin, user: {token: $token}}]
contexts: [{name: here, context: {cluster: here, user: admin}}]
YAML
cat >"$home/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix:///run/kubernetes/containerd.sock
cgroupDriver: cgroupfs
cgroupsPerQOS: false
enforceNodeAllocatable: []
failSwapOn: false
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
evictionHard: {memory.available: 1Mi, nodefs.available: 0%, imagefs.available: 0%}
YAML
cat >/etc/cni/net.d/10-pods.conflist <<JSON
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "pods0", "isGateway": true, "ipMasq": false,
   "ipam": {"type": "host-local", "subnet": "198.51.100.0/24", "routes": [{"dst": "0.0.0.0/0"}]}}]}
JSON
cat >"$home/containerd.toml" <<TOML
version = 2
root = "/var/lib/kubelet-containerd"
state = "/run/kubernetes/containerd"
[grpc]
  address = "/run/kubernetes/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.example.org/pause:3.8"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
TOML
# Where control groups of version 2 have no controllers, those of version 1 are mounted for the two
# that need them.
cat >"$home/node.sh" <<'BASH'
#!/bin/bash
set -eu
if ! grep -qw memory /sys/fs/cgroup/cgroup.controllers; then
    mount -t tmpfs groups /sys/fs/cgroup
    for group in $(awk '!/^#/ && $4 == 1 { print $1 }' /proc/cgroups); do
        mkdir "/sys/fs/cgroup/$group"
        mount -t cgroup -o "$group" groups "/sys/fs/cgroup/$group" || rmdir "/sys/fs/cgroup/$group"
    done
fi
# What the kubelet would set in the kernel, which is this machine's also, it finds set.
while read -r setting value; do
    echo "$value" >"/run/kubernetes/${setting//\//-}"
    mount --bind "/run/kubernetes/${setting//\//-}" "/proc/sys/$setting"
done <<SETTINGS
vm/overcommit_memory 1
kernel/panic 10
kernel/panic_on_oops 1
SETTINGS
[ -e /dev/kmsg ] || mknod /dev/kmsg c 1 11
mkdir -p /var/lib/kubelet-containerd
mount -t tmpfs layers /var/lib/kubelet-containerd
mount --make-rshared /
containerd --config /etc/kubernetes/containerd.toml &
until ctr --address /run/kubernetes/containerd.sock version >/dev/null 2>&1; do sleep 0.2; done
ctr --address /run/kubernetes/containerd.sock --namespace k8s.io images import /root/images.tar
exec /root/kubernetes/kubelet --kubeconfig=/etc/kubernetes/config \
    --config=/etc/kubernetes/kubelet.yaml --node-ip=192.0.2.1 --hostname-override=node
BASH
chmod 755 "$home/node.sh"

begin() {
    systemd-run --quiet --unit="cluster-$1" --property=Delegate=yes "${@:2}"
}
systemctl start etcd
begin api /root/kubernetes/kube-apiserver --etcd-servers=http://127.0.0.1:2379 \
    --advertise-address="$node" --cert-dir=/run/kubernetes --service-cluster-ip-range=203.0.113.0/24 \
    --service-account-issuer=https://kubernetes.default.svc \
    --service-account-key-file="$home/accounts.pub" \
    --service-account-signing-key-file="$home/accounts.key" \
    --token-auth-file="$home/tokens.csv" --authorization-mode=RBAC
export KUBECONFIG=$home/config
until kubectl get --raw /readyz >/dev/null 2>&1; do sleep 0.5; done
begin controllers /root/kubernetes/kube-controller-manager --kubeconfig="$home/config" \
    --service-account-private-key-file="$home/accounts.key"
begin scheduler /root/kubernetes/kube-scheduler --kubeconfig="$home/config"
begin node unshare --mount "$home/node.sh"
kubectl wait --for=create node/node --timeout=120s
kubectl wait --for=condition=Ready node/node --timeout=120s
