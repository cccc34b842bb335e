"""What the snapshot says about one workload, read once: its Pods, our objects for it, the labels its shadows may show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from generator import names
from generator.asked.intent import Claim
from generator.asked.targets import template_of
from generator.cluster import selectors, tracking
from generator.cluster.endpoints import selectors_of, services_of
from generator.cluster.quantity import whole
from generator.cluster.snapshot import Key, Obj, Snapshot, Space, annotations_of, is_ours, key_of, labels_of
from generator.cluster.workload import Original, Workload, claims_of, ips_of, is_starting, original, pods_of
from generator.desired.carrier_objects import service_name


@dataclass(frozen=True)
class Scene:
    """What the snapshot says about one workload, and what is asked of it. Read once, by everything below."""

    snapshot: Snapshot
    workload: Workload
    asked: Mapping[str, Claim]

    @cached_property
    def space(self) -> Space:
        """The workload's namespace."""
        return self.snapshot.space(self.workload.namespace)

    @cached_property
    def every(self) -> tuple[Original, ...]:
        """All Pods of the workload, oldest first."""
        return tuple(original(p) for p in pods_of(self.space, self.workload.kind, self.workload.name))

    @cached_property
    def live(self) -> tuple[Original, ...]:
        """Those that can be acted on. One that runs a carrier without our marks is left alone: nobody knows what it ran before."""
        carriers = {self.snapshot.carrier_image, *self.images.values()}
        unknown = {o.name for o in self.every if any(c.image in carriers and not c.carried for c in o.containers.values())}
        return tuple(o for o in self.every if (not o.gone or o.name in self.starting) and o.name not in unknown)

    @cached_property
    def starting(self) -> frozenset[str]:
        """Names of new Pods that may be held before anybody knows them, as a carrier serves already in each of their Services."""
        fresh = {o.name: self._services_of(o) for o in self.every if self.asked and is_starting(o, self.snapshot.now)}
        serving = [self._services_of(o) for o in self.every if fresh and o.carried and o.ready and not o.gone]
        return frozenset(name for name, services in fresh.items() if any(services <= each for each in serving))

    def _services_of(self, item: Original) -> set[str]:
        return {s["metadata"]["name"] for s in services_of(self.space, labels_of(item.pod))}

    @cached_property
    def leaving(self) -> tuple[Original, ...]:
        """Carried ones that are being deleted: they still send unmatched requests to their shadows."""
        return tuple(o for o in self.every if o.gone == "terminating" and o.touched)

    @cached_property
    def touched(self) -> bool:
        """Whether anything of ours is on an original."""
        return any(o.touched for o in (*self.live, *self.leaving))

    @cached_property
    def ours(self) -> dict[Key, Obj]:
        """Live objects of ours for this workload."""
        return {key_of(o): o for o in self.space.ours.get(self.workload.id, ())}

    def our(self, kind: str, name: str) -> Obj | None:
        """A live object of ours by its name, also when somebody took the label off that says whose it is."""
        live = self.space.get(kind, name)
        return live if live is not None and is_ours(live) else None

    @cached_property
    def labels(self) -> dict[str, str]:
        """The labels that Services see on an original."""
        if self.every:
            return unmarked(labels_of(self.every[0].pod))
        return (template_of(self.workload.obj).get("metadata") or {}).get("labels") or {} if self.workload.obj else {}

    @cached_property
    def services(self) -> tuple[Obj, ...]:
        """The Services that select any Pod of the target."""
        found = [*services_of(self.space, self.labels), *(s for o in self.every for s in services_of(self.space, labels_of(o.pod)))]
        return tuple({s["metadata"]["name"]: s for s in found}.values())

    @cached_property
    def addresses(self) -> frozenset[str]:
        """Where the target itself answers: its Pods, its Services and ours, its shadows."""
        pods = [*(o.pod for o in self.every), *(o for o in self.ours.values() if o["kind"] == "Pod")]
        services = [*self.services, *(o for o in self.ours.values() if o["kind"] == "Service")]
        return frozenset([*(ip for pod in pods for ip in ips_of(pod)), *(s["spec"].get("clusterIP", "None") for s in services)])

    @cached_property
    def floor(self) -> int:
        """How many shadows there are at least: the originals when the mount began, noted on Service Y'."""
        live = self.our("Service", service_name(self.workload))
        noted = whole(annotations_of(live).get(names.FLOOR, ""), 4) if live else None
        return len(self.live) if noted is None else noted

    @cached_property
    def images(self) -> dict[str, str]:
        """The carrier image by claimed container."""
        return {c: (claim.mount and claim.mount.carrier_image) or self.snapshot.carrier_image for c, claim in self.asked.items()}

    def carrier(self, container: str) -> str:
        """The carrier image that stands in for a container, also on its way back: what stands in now, or what the originals run."""
        stand_ins = [original(o) for o in self.ours.values() if labels_of(o)[names.ROLE] == "stand-in"]
        there = [o.containers[container].image for o in stand_ins if container in o.containers]
        there += [o.containers[container].image for o in self.every if container in o.containers and o.containers[container].carried]
        return self.images.get(container) or next(iter(there), self.snapshot.carrier_image)

    @cached_property
    def pinned(self) -> bool:
        """Whether each shadow must run on its original's node: for a ReadWriteOnce volume, or a Service that stays on the node."""
        local = ("internalTrafficPolicy", "externalTrafficPolicy")
        if any(s["spec"].get(field) == "Local" for s in self.services for field in local):
            return True
        for claim, _ in claims_of(self.every[0].pod["spec"]) if self.every else ():
            modes = ((self.space.get("PersistentVolumeClaim", claim) or {}).get("spec") or {}).get("accessModes") or ()
            if "ReadWriteOnce" in modes and "ReadWriteMany" not in modes:
                return True
        return False


def unmarked(labels: Mapping[str, str]) -> dict[str, str]:
    """Labels without ours."""
    return {k: v for k, v in labels.items() if not names.is_ours(k)}


class Face(NamedTuple):
    """The labels of a Pod of ours. full: its original's. quiet: no selector of the namespace picks them; None if that cannot be."""

    full: dict[str, str]
    quiet: dict[str, str] | None

    def joined(self, services: Iterable[Obj]) -> dict[str, str]:
        """The quiet labels and those by which the original's Services select it."""
        return selectors.joined_labels(self.quiet or {}, self.full, selectors_of(services))


def face_of(space: Space, model: Original, ours: Mapping[str, str]) -> Face:
    """The labels of a Pod that takes after `model` and bears `ours`; as many NetworkPolicies as possible go on holding."""
    labels = unmarked(labels_of(model.pod))
    held = [selector for _, selector in space.policies.entries(labels)]
    kept = tracking.strip_labels(labels)
    quiet = selectors.quiet_labels(kept, space.watchers, lambda left: sum(selectors.matches(s, left) for s in held), dict(ours))
    return Face(labels, quiet)
