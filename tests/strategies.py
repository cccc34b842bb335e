"""Hypothesis strategies: whole clusters with the bridges and mounts in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests import kube
from tests.kube import NOW, Obj

RULES = st.lists(
    st.lists(
        st.one_of(
            st.sampled_from(("alice", "bob", "carol")).map(lambda v: kube.header("x-user", v)),
            st.sampled_from(("/api", "/api/objects/5", "/")).map(kube.path),
            st.sampled_from(("/healthz", "/api/objects/5")).map(lambda v: kube.path(v, "exact")),
            st.just(kube.header("x-trace", "^(on|yes)$", "regex")),
            st.sampled_from(("GET", "POST")).map(lambda m: {"matchMethod": {"method": m}}),
            st.just({"matchCookie": {"name": "session", "value": "dev", "type": "prefix"}}),
        ),
        min_size=1,
        max_size=2,
        unique_by=lambda c: next(iter(c)),
    ).map(lambda conditions: kube.rule(*conditions)),
    max_size=2,
)


@dataclass(frozen=True)
class Cluster:
    """What is there before any bridge, and what is asked for."""

    objects: tuple[Obj, ...]
    controls: tuple[Obj, ...]

    @property
    def stream(self) -> list[Obj]:
        """Both."""
        return [*self.objects, *self.controls]


@st.composite
def clusters(draw: st.DrawFn, bridged: bool = True) -> Cluster:
    """One to three workloads of any kind, the Services, budgets and policies that select them, and bridges on some."""
    objects: list[Obj] = [{"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "uid": name}} for name in ("node1", "node2")]
    targets: list[tuple[str, list[int], bool]] = []
    for number in range(draw(st.integers(1, 3))):
        name = f"w{number}"
        kind = draw(st.sampled_from(("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Pod")))
        labels = {"app": draw(st.sampled_from((name, "shared"))), "tier": draw(st.sampled_from(("front", "back"))), "only": name}
        ports = draw(st.sampled_from(((8080,), (8080, 9090))))
        containers = [kube.container("app", ports=ports)]
        if draw(st.booleans()):
            strange: Obj = {"command": ["/opt/unknown"]} if draw(st.booleans()) else {}
            containers.append(kube.container("side", ports=(7000,), **strange))
        replicas = draw(st.integers(1, 3))
        if kind == "Deployment":
            objects += kube.deployment(name, labels, containers, replicas, number + 1)
        elif kind == "Pod":
            objects.append(kube.pod(name, labels, containers, f"10.244.{number + 1}.1"))
        else:
            objects += kube.workload(kind, name, labels, containers, replicas, number + 1)
        targets.append((f"{kind.lower()}/{name}", list(ports), len(containers) == 2))
        for index, selector in enumerate(
            draw(
                st.lists(
                    st.sampled_from(({"app": labels["app"]}, {"tier": "front"}, {"only": name}, {"app": labels["app"], "only": name})),
                    max_size=2,
                    unique_by=str,
                )
            )
        ):
            more: dict[str, Any] = {"publishNotReadyAddresses": True} if draw(st.integers(0, 9)) == 0 else {}
            objects.append(kube.service(f"s{number}-{index}", selector, octet=number + 1, **more))
        if draw(st.booleans()):
            for pod in [o for o in objects if o["kind"] == "Pod"][::2]:
                pod["spec"]["nodeName"] = "node2"
        if draw(st.integers(0, 3)) == 0:
            objects += _apart(draw, [o for o in objects if o["kind"] == "Pod" and o["metadata"]["labels"]["only"] == name], number)
        if draw(st.booleans()):
            selector = draw(
                st.sampled_from(
                    (
                        {"matchLabels": {"only": name}},
                        {"matchExpressions": [{"key": "tier", "operator": "In", "values": ["front", "back"]}]},
                    )
                )
            )
            objects.append(
                {
                    "apiVersion": "policy/v1",
                    "kind": "PodDisruptionBudget",
                    "metadata": kube.meta(f"b{number}"),
                    "spec": {"minAvailable": 1, "selector": selector},
                }
            )
        if draw(st.booleans()):
            peer = {"podSelector": {"matchLabels": {"tier": "front"}}}
            spec = {
                "podSelector": {"matchLabels": {"only": name}},
                "policyTypes": ["Ingress", "Egress"],
                "ingress": [{"from": [peer]}],
                "egress": [{"to": [peer]}],
            }
            objects.append(
                {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": kube.meta(f"p{number}"), "spec": spec}
            )
    controls = draw(bridges(targets)) if bridged else ()
    return Cluster(tuple(objects), tuple(controls))


def _apart(draw: st.DrawFn, pods: list[Obj], number: int) -> list[Obj]:
    """A label of its own and a Service of its own for some of the Pods, as a StatefulSet or a person may give them."""
    made = []
    for index, pod in enumerate(pods):
        if draw(st.booleans()):
            pod["metadata"]["labels"]["pod"] = pod["metadata"]["name"]
            made.append(kube.service(f"own{number}-{index}", {"pod": pod["metadata"]["name"]}, octet=number + 1))
    return made


@st.composite
def bridges(draw: st.DrawFn, targets: list[tuple[str, list[int], bool]]) -> tuple[Obj, ...]:
    """Mounts and bridges on some of the targets."""
    made: list[Obj] = []
    for number, (target, ports, sided) in enumerate(targets):
        if draw(st.integers(0, 3)) == 0:
            continue
        mounted = draw(st.booleans())
        if mounted:
            made.append(kube.mount(f"m{number}", target))
        for index in range(draw(st.integers(0 if mounted else 1, 3))):
            port = draw(st.sampled_from(ports))
            ready = draw(st.integers(0, 4)) > 0
            where = {"target": f"m{number}"} if mounted else {"target": target, "targetNamespace": "shop", "targetContainer": "app"}
            made.append(
                {
                    **kube.bridge(
                        f"b{number}-{index}",
                        "",
                        draw(RULES),
                        (f"{3000 + index}:{port}",),
                        f"user{index}",
                        f"10.200.{number}.{index + 1}:10000" if ready else "",
                    ),
                    **where,
                }
            )
        if sided and draw(st.booleans()):
            where = {"targetNamespace": "shop", "targetContainer": "side"}
            made.append(kube.bridge(f"b{number}-side", target, draw(RULES), ("3009:7000",), "sid", f"10.200.{number}.9:10000", **where))
    return tuple(made)


__all__ = ["NOW", "RULES", "Cluster", "bridges", "clusters"]
