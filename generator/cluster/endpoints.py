"""EndpointSlices -> who is in the Services of a target, seen as kube-proxy sees it."""

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


def ready_ips(space: Space, service: str) -> frozenset[str]:
    """Addresses that the EndpointSlices of a Service list as ready (`ready` absent means yes: discovery/v1)."""
    found: set[str] = set()
    for piece in space.slices.get(service, ()):
        for endpoint in piece.get("endpoints") or ():
            if (endpoint.get("conditions") or {}).get("ready") is not False:
                found.update(endpoint.get("addresses") or ())
    return frozenset(found)


def presence(space: Space, services: Iterable[Obj], pods: Iterable[Obj]) -> tuple[dict[str, bool], dict[str, bool]]:
    """(listed, drained) by Pod name: in all, and in none, of the Services that can be drained. With no such Service: both."""
    lists = [(s["spec"]["selector"], ready_ips(space, s["metadata"]["name"])) for s in services if not publishes_unready(s)]
    listed, drained = {}, {}
    for pod in pods:
        mine = set(ips_of(pod))
        found = [bool(mine & ips) for _, ips in lists]
        listed[pod["metadata"]["name"]] = all(found)
        drained[pod["metadata"]["name"]] = not any(found)
    return listed, drained


def inside(services: Iterable[Obj], pod: Obj) -> bool:
    """Whether any of the Services selects the Pod by its labels."""
    labels = labels_of(pod)
    return any(all(labels.get(k) == v for k, v in s["spec"]["selector"].items()) for s in services)
