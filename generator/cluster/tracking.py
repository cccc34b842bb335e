"""Labels and annotations by which other tools know an object as theirs, or that describe one Pod alone: none may reach a copy of it.

Sources: Argo CD docs/user-guide/resource_tracking.md; Flux kustomize-controller and helm-controller, "origin labels"; Helm
docs/chart_best_practices/labels.md; kapp docs, "labels and annotations"; KEP-3659 (ApplySet); kubectl apply; network-attachment
definition 1.3; Calico, ovn-kubernetes: status of one Pod's network.
"""

from __future__ import annotations

from typing import Final

_TOOLS: Final = (
    "argocd.argoproj.io/",
    "kustomize.toolkit.fluxcd.io/",
    "helm.toolkit.fluxcd.io/",
    "meta.helm.sh/",
    "helm.sh/",
    "kapp.k14s.io/",
)
_LABELS: Final = ("topology.kubernetes.io/", "app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "applyset.kubernetes.io/")
_ANNOTATIONS: Final = (
    "kubectl.kubernetes.io/last-applied-configuration",
    "applyset.kubernetes.io/",
    "deployment.kubernetes.io/",
    "kubernetes.io/config.",
    "k8s.v1.cni.cncf.io/network-status",
    "k8s.v1.cni.cncf.io/networks-status",
    "cni.projectcalico.org/",
    "k8s.ovn.org/pod-networks",
)


def strip_labels(labels: dict[str, str]) -> dict[str, str]:
    """`labels` without those by which Argo CD, Flux, Helm, kapp or kubectl would count the object as theirs.

    `app.kubernetes.io/instance` is one of them (Argo CD's label tracking); where a Service selects by it,
    `selectors.joined_labels` gives it back for as long as the copy serves.
    """
    return {k: v for k, v in labels.items() if not k.startswith(_TOOLS + _LABELS)}


def strip_annotations(annotations: dict[str, str]) -> dict[str, str]:
    """`annotations` without tracking, the last applied configuration and what a network plugin wrote about one Pod."""
    return {k: v for k, v in annotations.items() if not k.startswith(_TOOLS + _ANNOTATIONS)}
