"""The overlays: what they render to, and any account's view of an API server that has taken them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pykube
import ruamel.yaml

from generator.cluster.snapshot import Obj
from generator.live.kube import Kube
from tests.cluster.build import binaries

OVERLAYS = Path(__file__).parent.parent / "overlays"
OPERATOR = "system:serviceaccount:gefyra:gefyra-operator"
COMPONENTS = tuple(sorted(path.name for path in (OVERLAYS / "components").iterdir()))
MONITORING = ("ServiceMonitor", "PrometheusRule")
"""Kinds of the Prometheus operator, which an API server has only where that is installed."""


def rendered(folder: Path) -> str:
    """What `kubectl kustomize` prints."""
    done = subprocess.run([binaries() / "kubectl", "kustomize", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def with_components(folder: Path, *components: str, base: str = "base") -> str:
    """The base with components, as an overlay of somebody's own in `folder` renders it."""

    def near(path: Path) -> str:
        return os.path.relpath(path.resolve(), folder.resolve())

    lines = ["apiVersion: kustomize.config.k8s.io/v1beta1", "kind: Kustomization", f"resources: [{near(OVERLAYS / base)}]"]
    lines += ["components:", *(f"- {near(OVERLAYS / 'components' / name)}" for name in components)] if components else []
    (folder / "kustomization.yaml").write_text("\n".join(lines) + "\n")
    return rendered(folder)


def objects(text: str) -> list[Obj]:
    """The objects of a stream of YAML."""
    return [doc for doc in ruamel.yaml.YAML(typ="safe", pure=True).load_all(text) if doc]


def text_of(found: Iterable[Obj]) -> str:
    """Objects as a stream of YAML, each as JSON."""
    return "\n---\n".join(map(json.dumps, found))


def account(kubeconfig: Path, user: str = "", *, dry_run: bool = False) -> Kube:
    """The administrator, or somebody else by impersonation, whom RBAC and admission take for that user."""
    kube = Kube(pykube.KubeConfig.from_file(str(kubeconfig)), dry_run=dry_run)
    if user:
        kube._session.headers["Impersonate-User"] = user
    return kube


def call(kube: Kube, method: str, path: str, query: Mapping[str, str] | None = None, **more: Any) -> Any:
    """One request as it is. Raises a KubeError when it is refused."""
    return kube._send(method, path, query or {}, **more)
