"""EndpointSlices -> who is in which Service, seen as kube-proxy sees it.

Each Pod is judged by the Services that select it, not by those of its workload: a StatefulSet may have a Service for each
Pod, a rollout one for the new revision alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from generator import names
from generator.cluster.snapshot import Obj, Space, labels_of
from generator.cluster.workload import ips_of


def services_of(space: Space, labels: Mapping[str, str]) -> list[Obj]:
    """The Services that select a Pod with these labels; ours on a carried original do not count."""
    return space.services.matching({k: v for k, v in labels.items() if not names.is_ours(k)})


def publishes_unready(service: Obj) -> bool:
    """Whether the Service lists Pods that are not ready, so that nobody can be drained from it."""
    return bool(service["spec"].get("publishNotReadyAddresses"))


def is_listed(space: Space, pod: Obj, labels: Mapping[str, str]) -> bool:
    """Whether the Pod is a ready endpoint of every Service that selects `labels` and can be drained; also when there is none."""
    wanted = {s["metadata"]["name"] for s in services_of(space, labels) if not publishes_unready(s)}
    return wanted <= _found(space, pod)


def is_drained(space: Space, pod: Obj) -> bool:
    """Whether the Pod is a ready endpoint of no Service that can be drained."""
    found = _found(space, pod)
    return all(publishes_unready(s) for name in found if (s := space.get("Service", name)))


def is_inside(space: Space, pod: Obj) -> bool:
    """Whether a Service selects the Pod by its labels."""
    return bool(services_of(space, labels_of(pod)))


def _found(space: Space, pod: Obj) -> set[str]:
    return {name for ip in ips_of(pod) for name in space.ready_at.get(ip, ())}


def selectors_of(services: Iterable[Obj]) -> list[dict[str, str]]:
    """The selectors of Services."""
    return [s["spec"]["selector"] for s in services]
