"""A stand-in: a Pod of ours that is what an original becomes, a copy with the carrier in it, and takes its place while it changes.

It comes before any live container is touched. A missing pull secret, an admission policy, a UID, a command or probe that the carrier
cannot stand in for: all show here, and the workload never notices. Then it serves in the target's Services while originals are
held, on the way there and on the way back, and routes as they do. Nobody ever connects to a shadow but a carrier: when a stand-in
leaves, nginx ends its connections one by one, and the clients' next ones reach the originals.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from generator import names
from generator.cluster import selectors
from generator.cluster.endpoints import selectors_of, services_of
from generator.cluster.snapshot import Obj, Space, labels_of
from generator.cluster.workload import Original, Workload, is_serving, original, trouble
from generator.desired.revisions import Revision
from generator.desired.shadow import our_labels, owned_by
from generator.errors import Problem

PROBE_SECONDS = 1
"""Between two readiness probes: everybody waits for it. Kubernetes' default is 10."""


@dataclass(frozen=True, slots=True)
class StandIn:
    """What stands in for some originals: all of one revision on one node in the same Services. images: carrier image by container."""

    name: str
    revision: Revision
    originals: tuple[Original, ...]
    images: Mapping[str, str]

    def body(self, workload: Workload, labels: Mapping[str, str]) -> Obj:
        """The Pod. labels: what it shows of the application's.

        It runs on the originals' node without asking the scheduler, and its carriers request nothing, so that a full node does not
        refuse it. Of a carrier's probes it has the readiness probe alone: while the shadows start, nothing may be restarted for it.
        """
        spec = self.revision.spec
        containers = [_carrier(c, self.images[c["name"]]) if c["name"] in self.images else c for c in spec["containers"]]
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": self.name,
                "namespace": workload.namespace,
                "labels": {**labels, **stand_in_labels(workload)},
                "annotations": {names.WORKLOAD: f"{workload.kind}/{workload.name}", names.SPEC_HASH: self.revision.hash},
                "ownerReferences": owned_by(sorted(self.originals, key=lambda o: o.name)),
            },
            "spec": {
                **{k: v for k, v in spec.items() if k not in ("affinity", "topologySpreadConstraints")},
                "containers": containers,
                "nodeName": self.originals[0].pod["spec"]["nodeName"],
            },
        }

    def stands(self, live: Obj | None) -> bool:
        """Whether it can take over: it is ready, and each carrier in it has confirmed a configuration."""
        if live is None or not is_serving(live):
            return False
        found = original(live).containers
        return all(name in found and found[name].confirmed.endswith(f"@{found[name].container_id}") for name in self.images)


def stand_in_labels(workload: Workload) -> dict[str, str]:
    """Ours, and the one by which NetworkPolicies know a carrier."""
    return {**our_labels(workload, "stand-in"), names.CARRIER: workload.id}


def _carrier(container: Obj, image: str) -> Obj:
    result = {**{k: v for k, v in container.items() if k not in ("livenessProbe", "startupProbe", "lifecycle")}, "image": image}
    if probe := container.get("readinessProbe"):
        result["readinessProbe"] = {**probe, "periodSeconds": PROBE_SECONDS, "initialDelaySeconds": 0}
    resources = container.get("resources") or {}
    asked = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    if free := {k: "0" for k in sorted(asked) if k in ("cpu", "memory", "ephemeral-storage")}:
        result["resources"] = {**resources, "requests": {**asked, **free}}
    return result


def stand_ins(space: Space, workload: Workload, groups: Iterable[Revision], images: Mapping[str, str]) -> dict[str, StandIn]:
    """One for each revision and node, and for each set of Services that its originals are in (a Service may select a single Pod).

    By name, `web-stand-in-3f2a91bc-9d01f2ab`, which says all of that: when something of it changes, another one comes, and no
    container of one that serves is ever restarted. images: carrier image by container.
    """
    found: dict[str, StandIn] = {}
    for r in groups if images else ():
        alike: dict[tuple[str, str], list[Original]] = {}
        for o in r.originals:
            if node := o.pod["spec"].get("nodeName"):
                alike.setdefault((node, _selected_by(space, o)), []).append(o)
        for about, originals in sorted(alike.items()):
            tail = f"-stand-in-{r.hash}-{names.digest(f'{about} {sorted(images.items())}')}"
            name = names.fit(workload.name.replace(".", "-"), 63 - len(tail)) + tail
            found[name] = StandIn(name, r, tuple(originals), images)
    return found


def _selected_by(space: Space, item: Original) -> str:
    """The labels by which Services select an original."""
    labels = labels_of(item.pod)
    return str(sorted(selectors.joined_labels({}, labels, selectors_of(services_of(space, labels))).items()))


def failures(workload: Workload, pod: Obj | None, now: str) -> list[Problem]:
    """Why the carrier cannot serve in a stand-in: what kubelet says, as one problem."""
    why = trouble(pod, now) if pod else ""
    cure = "Mend the reason; delete the stand-in to try again at once."
    return [Problem("StandInFailed", f"{workload} Pod {pod['metadata']['name']}", why, cure)] if why and pod else []
