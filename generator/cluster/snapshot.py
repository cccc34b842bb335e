"""A stream of Kubernetes objects -> one frozen view of the cluster, indexed for the questions the generator asks.

No format of our own: the objects are what `kubectl get ... -o yaml` prints. They are never changed; whatever is made
from them shares their parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from generator import names
from generator.cluster import selectors
from generator.errors import InputError, Problem

Obj = dict[str, Any]

OUR_KINDS = {"gefyrabridge": "GefyraBridge", "gefyrabridgemount": "GefyraBridgeMount", "gefyraclient": "GefyraClient"}
CLUSTER_KINDS = frozenset(("Namespace", "Node", "PersistentVolume", "StorageClass", "ClusterPolicy", "PriorityClass"))
WORKLOAD_KINDS = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Pod")


GROUPS = {
    **dict.fromkeys(
        ("Pod", "Service", "ConfigMap", "ReplicationController", "PersistentVolumeClaim", "ResourceQuota", "Node", "Namespace"), ""
    ),
    **dict.fromkeys(("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"), "apps"),
    "Job": "batch",
    "EndpointSlice": "discovery.k8s.io",
    "NetworkPolicy": "networking.k8s.io",
    "PodDisruptionBudget": "policy",
    "HorizontalPodAutoscaler": "autoscaling",
}
"""The API group of each kind that we read by its name; a Service of Knative or a NetworkPolicy of Calico is none of ours."""


MADE = ("NetworkPolicy", "Service", "ConfigMap", "Pod")
"""The kinds of objects that we make, in the order in which we make them."""


def is_read(obj: Obj) -> bool:
    """Whether an object is of a kind that we read, or of one that cannot be taken for it."""
    group = obj["apiVersion"].rpartition("/")[0]
    return bool(GROUPS.get(obj["kind"], group) == group)


class Key(NamedTuple):
    """What names an object in this project: kinds are unique among those we read, so the API group is left out."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


SETTINGS = Key("ConfigMap", names.CONTROL_NAMESPACE, names.SETTINGS_CONFIGMAP)
"""What an administrator sets: `carrierImage`, `carrierImages`, `namespaces`."""


STOWAWAY_ROUTES = Key("ConfigMap", names.CONTROL_NAMESPACE, f"{names.STOWAWAY}-proxyroutes")
"""Comes with Gefyra's Stowaway, and whoever operates bridges writes it."""


def key_of(obj: Obj) -> Key:
    """The Key of an object; an absent namespace is `default`, as for kubectl."""
    kind = str(OUR_KINDS.get(obj["kind"].lower(), obj["kind"]))
    metadata = obj["metadata"]
    namespace: str = metadata.get("namespace") or "default"
    return Key(kind, "" if kind in CLUSTER_KINDS else namespace, metadata["name"])


def labels_of(obj: Obj) -> dict[str, str]:
    """The labels of an object, possibly none."""
    return obj["metadata"].get("labels") or {}


def annotations_of(obj: Obj) -> dict[str, str]:
    """The annotations of an object, possibly none."""
    return obj["metadata"].get("annotations") or {}


def notes_over(live: Obj, obj: Obj) -> dict[str, dict[str, str]]:
    """The labels and annotations of `obj` over those of `live`, as `kubectl apply` leaves what others have added; without empty ones."""
    both = {"labels": {**labels_of(live), **labels_of(obj)}, "annotations": {**annotations_of(live), **annotations_of(obj)}}
    return {part: notes for part, notes in both.items() if notes}


def controller_of(obj: Obj) -> Obj | None:
    """The ownerReference with `controller: true`, if any."""
    return next((ref for ref in obj["metadata"].get("ownerReferences") or () if ref.get("controller")), None)


def is_ours(obj: Obj) -> bool:
    """Whether we made this object.

    A carried original is not ours, it is only patched; nor is an EndpointSlice, which bears the labels of its Service (KEP-752).
    """
    return obj["kind"] in MADE and names.ROLE in labels_of(obj)


def has_endpoints(service: Obj) -> bool:
    """Whether Kubernetes keeps the Service's EndpointSlices: it has a selector, and is no name for something elsewhere
    (k8s.io/kubernetes pkg/controller/endpointslice, syncService; kube-proxy leaves out the latter too).
    """
    spec = service.get("spec") or {}
    return bool(spec.get("selector")) and spec.get("type") != "ExternalName"


@dataclass(frozen=True)
class Space:
    """One namespace. Lists are in order of (kind, name)."""

    name: str
    objects: Mapping[tuple[str, str], Obj]
    by_kind: Mapping[str, list[Obj]]

    @staticmethod
    def of(name: str, objects: Mapping[tuple[str, str], Obj]) -> Space:
        """Index the objects of one namespace."""
        by_kind: dict[str, list[Obj]] = {}
        for key in sorted(objects):
            by_kind.setdefault(key[0], []).append(objects[key])
        return Space(name, dict(sorted(objects.items())), by_kind)

    def get(self, kind: str, name: str) -> Obj | None:
        """The object, or None."""
        return self.objects.get((kind, name))

    def all(self, kind: str) -> list[Obj]:
        """Every object of a kind that is not ours."""
        return self._foreign.get(kind, [])

    @cached_property
    def _foreign(self) -> dict[str, list[Obj]]:
        return {kind: [o for o in objects if not is_ours(o)] for kind, objects in self.by_kind.items()}

    @cached_property
    def ours(self) -> dict[str, list[Obj]]:
        """Objects of ours by target id: by the workload they name; by their label where somebody has taken that off."""
        found: dict[str, list[Obj]] = {}
        for objects in self.by_kind.values():
            for obj in objects:
                if is_ours(obj):
                    kind, _, name = annotations_of(obj).get(names.WORKLOAD, "").partition("/")
                    found.setdefault(names.target_id(kind, name) if name else labels_of(obj).get(names.TARGET, ""), []).append(obj)
        return found

    @cached_property
    def controlled(self) -> dict[tuple[str, str], list[Obj]]:
        """Objects by (kind, name) of the controller their ownerReferences name."""
        found: dict[tuple[str, str], list[Obj]] = {}
        for kind in ("Pod", "ReplicaSet"):
            for obj in self.all(kind):
                if ref := controller_of(obj):
                    found.setdefault((ref["kind"], ref["name"]), []).append(obj)
        return found

    @cached_property
    def slices(self) -> dict[str, list[Obj]]:
        """EndpointSlices by the name of their Service."""
        found: dict[str, list[Obj]] = {}
        for obj in self.all("EndpointSlice"):
            found.setdefault(labels_of(obj).get("kubernetes.io/service-name", ""), []).append(obj)
        return found

    @cached_property
    def ready_at(self) -> dict[str, set[str]]:
        """Names of the Services, not ours, whose EndpointSlices list an address as ready (`ready` absent means yes: discovery/v1).

        Of slices that Kubernetes does not keep nobody takes a Pod out, so they say nothing of where it is.
        """
        found: dict[str, set[str]] = {}
        theirs = {service["metadata"]["name"] for service in self.all("Service") if has_endpoints(service)}
        for service, pieces in ((name, pieces) for name, pieces in self.slices.items() if name in theirs):
            for endpoint in (e for piece in pieces for e in piece.get("endpoints") or ()):
                if (endpoint.get("conditions") or {}).get("ready") is not False:
                    for address in endpoint.get("addresses") or ():
                        found.setdefault(address, set()).add(service)
        return found

    @cached_property
    def orphans(self) -> list[Obj]:
        """Pods whose controller is not in the snapshot."""
        return [p for p in self.all("Pod") if (ref := controller_of(p)) and self.get(ref["kind"], ref["name"]) is None]

    @cached_property
    def missing_services(self) -> dict[str, set[str]]:
        """Names of Services that EndpointSlices speak of and that are not in the snapshot, by address."""
        found: dict[str, set[str]] = {}
        for service, pieces in self.slices.items():
            if self.get("Service", service) is None:
                for address in (a for piece in pieces for e in piece.get("endpoints") or () for a in e.get("addresses") or ()):
                    found.setdefault(address, set()).add(service)
        return found

    @cached_property
    def policies(self) -> selectors.Index:
        """NetworkPolicies by the Pods they hold for."""
        return selectors.Index((p, (p.get("spec") or {}).get("podSelector") or {}) for p in self.all("NetworkPolicy"))

    @cached_property
    def peers(self) -> selectors.Index:
        """NetworkPolicies by the Pods their rules may name."""
        pairs = ((p, peer) for p in self.all("NetworkPolicy") for peer in _peers(p) if "ipBlock" not in peer)
        return selectors.Index((p, peer.get("podSelector") or {}) for p, peer in pairs)

    @cached_property
    def services(self) -> selectors.Index:
        """Services by the labels of the Pods that are their endpoints."""
        pairs = ((s, selectors.service_selector(s["spec"].get("selector"))) for s in self.all("Service") if has_endpoints(s))
        return selectors.Index(pairs)

    @cached_property
    def watchers(self) -> selectors.Index:
        """Everything that acts on Pods by label: Services, PodDisruptionBudgets, workloads, ReplicationControllers."""
        pairs: list[tuple[Obj, Obj | None]] = [
            (s, selectors.service_selector(s.get("spec", {}).get("selector"))) for s in self.all("Service")
        ]
        pairs += [(r, selectors.service_selector(r.get("spec", {}).get("selector"))) for r in self.all("ReplicationController")]
        for kind in ("PodDisruptionBudget", "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job"):
            pairs += [(o, o.get("spec", {}).get("selector")) for o in self.all(kind)]
        return selectors.Index(pairs)


@dataclass(frozen=True)
class Snapshot:
    """The cluster at one moment.

    now: RFC 3339. proxies_behind: the API server was away until a moment ago, and proxies may still route by what was true before.
    unheard: the leader is new and has not asked the relay yet; who was away may be back, and no bridge goes for it.
    followed: the namespaces of which everything is known; of others nothing is, not even that they are empty. None: of all.
    """

    now: str
    spaces: Mapping[str, Space]
    cluster: Mapping[tuple[str, str], Obj] = field(default_factory=dict)
    controls: tuple[Obj, ...] = ()
    proxies_behind: bool = False
    unheard: bool = False
    followed: frozenset[str] | None = None

    @staticmethod
    def of(objects: Iterable[Obj], now: str) -> Snapshot:
        """Index the objects. Raises InputError when one name is there twice with different content."""
        found: dict[Key, Obj] = {}
        twice: list[Problem] = []
        for obj in filter(is_read, objects):
            key = key_of(obj)
            if found.setdefault(key, obj) != obj:
                twice.append(Problem("DuplicateObject", str(key), "is in the stream twice, with different content", "Keep the newer one."))
        if twice:
            raise InputError(*twice)
        spaces: dict[str, dict[tuple[str, str], Obj]] = {}
        for key, obj in found.items():
            spaces.setdefault(key.namespace, {})[key.kind, key.name] = obj
        cluster = spaces.pop("", {})
        return Snapshot.made(now, [Space.of(name, space) for name, space in sorted(spaces.items())], cluster)

    @staticmethod
    def made(
        now: str,
        spaces: Iterable[Space],
        cluster: Mapping[tuple[str, str], Obj],
        *,
        proxies_behind: bool = False,
        unheard: bool = False,
        followed: frozenset[str] | None = None,
    ) -> Snapshot:
        """A snapshot of namespaces that are indexed already: who keeps them need index only those that have changed."""
        by_name = {space.name: space for space in spaces}
        controls = tuple(o for space in by_name.values() for kind in OUR_KINDS.values() for o in space.by_kind.get(kind, ()))
        return Snapshot(now, by_name, dict(sorted(cluster.items())), tuple(sorted(controls, key=key_of)), proxies_behind, unheard, followed)

    def space(self, namespace: str) -> Space:
        """A namespace, empty when nothing of it is in the stream."""
        return self.spaces.get(namespace) or Space(namespace, {}, {})

    def follows(self, namespace: str) -> bool:
        """Whether what is not in the snapshot of a namespace is not in the cluster."""
        return self.followed is None or namespace in self.followed

    @cached_property
    def crossing_policies(self) -> tuple[Obj, ...]:
        """NetworkPolicies with a peer in another namespace."""
        found = [p for space in self.spaces.values() for p in space.all("NetworkPolicy")]
        return tuple(p for p in found if any("namespaceSelector" in peer for peer in _peers(p)))

    @cached_property
    def cluster_ips(self) -> dict[str, Obj]:
        """Services by cluster IP."""
        found = (s for space in self.spaces.values() for s in space.by_kind.get("Service", ()))
        return {s["spec"]["clusterIP"]: s for s in found if s["spec"].get("clusterIP") not in (None, "", "None")}

    @cached_property
    def settings(self) -> Mapping[str, str]:
        """The data of SETTINGS, possibly none."""
        return (self.space(SETTINGS.namespace).get(SETTINGS.kind, SETTINGS.name) or {}).get("data") or {}

    @cached_property
    def carrier_image(self) -> str:
        """The carrier image that the settings name, or the default."""
        return self.settings.get("carrierImage") or names.DEFAULT_CARRIER_IMAGE


def _peers(policy: Obj) -> Iterable[Obj]:
    spec = policy.get("spec") or {}
    yield from (peer for rule in spec.get("ingress") or () for peer in rule.get("from") or ())
    yield from (peer for rule in spec.get("egress") or () for peer in rule.get("to") or ())
