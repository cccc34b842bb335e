"""The one node: containerd, kubelet and kube-proxy, their configuration and command lines.

What a workload meets is as kubelet has it by default. Only what would touch the machine around, or take Pods away because its disk is
full, is set otherwise.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.cluster import cgroups
from tests.cluster.build import PAUSE
from tests.cluster.certificates import Authority
from tests.cluster.control_plane import server
from tests.cluster.init import ADDRESS

NAME = "node"
"""The hostname of the cluster's machine (init.py), by which kubelet and kube-proxy call the node."""

_PODS = "10.244.0.0/16"
_PLUGINS = "/usr/lib/cni"  # Debian's containernetworking-plugins

# No bridge: each Pod has a cable of its own to the node, which routes. So kube-proxy sees every packet on any kernel.
_NETWORK: dict[str, Any] = {
    "cniVersion": "1.0.0",
    "name": "pods",
    "plugins": [
        {
            "type": "ptp",
            "ipam": {"type": "host-local", "ranges": [[{"subnet": _PODS}]], "routes": [{"dst": "0.0.0.0/0"}], "dataDir": "/run/cni"},
        }
    ],
}

_CONTAINERD = """
version = 3
root = "{folder}/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.internal.v1.tracing", "io.containerd.nri.v1.nri"]
[grpc]
address = "{folder}/containerd.sock"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = "{pause}"
[plugins.'io.containerd.cri.v1.runtime']
restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ["{plugins}"]
conf_dir = "{folder}/cni"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
BinaryName = "{bin}/runc"
SystemdCgroup = false
"""


def furnish(bin_: Path, folder: Path, port: int, authority: Authority) -> None:
    """Write what the node needs: configurations, and kubeconfigs for the API server at `port`."""
    (folder / "cni").mkdir()
    (folder / "cni" / "pods.conflist").write_text(json.dumps(_NETWORK))
    (folder / "containerd.toml").write_text(_CONTAINERD.format(folder=folder, bin=bin_, plugins=_PLUGINS, pause=PAUSE))
    (folder / "kubelet.json").write_text(json.dumps(_kubelet(folder)))
    authority.kubeconfig(folder / "pki" / "kubelet", server(port), f"system:node:{NAME}", ["system:nodes"])
    authority.kubeconfig(folder / "pki" / "kube-proxy", server(port), "system:kube-proxy")


def _kubelet(folder: Path) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {"x509": {"clientCAFile": f"{folder}/pki/ca.crt"}},
        "containerRuntimeEndpoint": f"unix://{folder}/containerd.sock",
        "podLogsDir": f"{folder}/logs/pods",
        "containerLogMaxSize": "1Mi",
        "containerLogMaxFiles": 2,
        "clusterDNS": [ADDRESS],  # there is no DNS: the node says so at once
        "clusterDomain": "cluster.local",
        "resolvConf": "",
        # the machine around
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroups.name_for(folder)}",
        "enforceNodeAllocatable": [],
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        # its disk
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%"},
        "imageGCHighThresholdPercent": 100,
    }


def containerd(bin_: Path, folder: Path) -> list[str]:
    """Runs containers, by runc."""
    return [f"{bin_}/containerd", "--config", f"{folder}/containerd.toml"]


def kubelet(bin_: Path, folder: Path) -> list[str]:
    """Runs Pods."""
    own = [f"--root-dir={folder}/kubelet", f"--cert-dir={folder}/kubelet/pki", f"--node-ip={ADDRESS}"]
    return [f"{bin_}/kubelet", f"--config={folder}/kubelet.json", f"--kubeconfig={folder}/pki/kubelet", *own]


def kube_proxy(bin_: Path, folder: Path) -> list[str]:
    """Makes Services work, by nftables."""
    own = ["--proxy-mode=nftables", f"--cluster-cidr={_PODS}", "--conntrack-max-per-core=0", "--oom-score-adj=0"]
    return [f"{bin_}/kube-proxy", f"--kubeconfig={folder}/pki/kube-proxy", *own]
