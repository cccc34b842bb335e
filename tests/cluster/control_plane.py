"""The command lines of etcd and of the parts of Kubernetes that run beside the API server."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cluster.certificates import Authority
from tests.cluster.init import ADDRESS, SERVICES

FIRST_SERVICE = "10.96.0.1"
"""The address that the API server gives its own Service: the first of SERVICES."""

_ISSUER = "https://kubernetes.default.svc.cluster.local"
_NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
_ADMINISTRATORS = "system:masters"
_GRACE = 120
"""Seconds until a node that does not report is taken for lost, and all its Pods leave the Services; 50 by default. Tests keep the API
server away for 30, and a busy machine takes its time to start it.
"""


def furnish(folder: Path, port: int) -> Authority:
    """Write the certificates and kubeconfigs for an API server at `port`. FOLDER/kubeconfig is the administrator's."""
    pki = folder / "pki"
    pki.mkdir(mode=0o700)
    authority = Authority(pki)
    authority.issue("apiserver", "kube-apiserver", [_ADMINISTRATORS], [*_NAMES, "127.0.0.1", ADDRESS, FIRST_SERVICE])
    authority.issue("tokens", "service-accounts")
    authority.kubeconfig(folder / "kubeconfig", server(port), "admin", [_ADMINISTRATORS])
    for name in ("kube-controller-manager", "kube-scheduler"):
        authority.kubeconfig(pki / name, server(port), f"system:{name}")
    return authority


def server(port: int) -> str:
    """The URL of the API server, inside and outside."""
    return f"https://127.0.0.1:{port}"


def etcd(bin_: Path, folder: Path) -> list[str]:
    """Keeps the objects. It does not wait for the disk: this outlives a killed etcd, and no machine that loses its power."""
    own = ["--data-dir", f"{folder}/etcd", "--listen-peer-urls", "http://127.0.0.1:2380", "--unsafe-no-fsync"]
    clients = "http://127.0.0.1:2379"
    return [f"{bin_}/etcd", *own, "--listen-client-urls", clients, "--advertise-client-urls", clients, "--log-level", "warn"]


def audit(folder: Path, user: str) -> None:
    """Write the policy by which each answered request of `user` gets a line in FOLDER/logs/audit.log (audit.k8s.io/v1), and no other."""
    rules = [{"level": "Metadata", "users": [user]}, {"level": "None"}]
    policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": rules}
    (folder / "audit.json").write_text(json.dumps(policy))


def kube_apiserver(bin_: Path, folder: Path, port: int) -> list[str]:
    """RBAC and the default admission plugins, which have webhooks and admission policies among them."""
    pki = folder / "pki"
    audited = [f"--audit-policy-file={folder}/audit.json", f"--audit-log-path={folder}/logs/audit.log"]
    return [
        f"{bin_}/kube-apiserver",
        f"--advertise-address={ADDRESS}",
        f"--secure-port={port}",
        f"--service-cluster-ip-range={SERVICES}",
        "--etcd-servers=http://127.0.0.1:2379",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        "--kubelet-preferred-address-types=InternalIP",
        f"--client-ca-file={pki}/ca.crt",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        f"--kubelet-client-certificate={pki}/apiserver.crt",
        f"--kubelet-client-key={pki}/apiserver.key",
        f"--service-account-issuer={_ISSUER}",
        f"--service-account-key-file={pki}/tokens.crt",
        f"--service-account-signing-key-file={pki}/tokens.key",
        *audited,
    ]


def kube_controller_manager(bin_: Path, folder: Path) -> list[str]:
    """All controllers, each as an account of its own."""
    pki = folder / "pki"
    return [
        f"{bin_}/kube-controller-manager",
        f"--kubeconfig={pki}/kube-controller-manager",
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={pki}/tokens.key",
        f"--root-ca-file={pki}/ca.crt",
        f"--cluster-signing-cert-file={pki}/ca.crt",
        f"--cluster-signing-key-file={pki}/ca.key",
        "--leader-elect=false",
        f"--node-monitor-grace-period={_GRACE}s",
        "--bind-address=127.0.0.1",
    ]


def kube_scheduler(bin_: Path, folder: Path) -> list[str]:
    """With its defaults."""
    return [f"{bin_}/kube-scheduler", f"--kubeconfig={folder}/pki/kube-scheduler", "--leader-elect=false", "--bind-address=127.0.0.1"]
