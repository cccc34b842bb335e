"""An object that has changed -> the workloads for which that may matter."""

from __future__ import annotations

from generator import names
from generator.cluster import selectors
from generator.cluster.snapshot import WORKLOAD_KINDS, Key, Obj, Space, annotations_of, is_ours, key_of, labels_of
from generator.cluster.workload import workload_of


def touched_by(space: Space, obj: Obj) -> frozenset[Key] | None:
    """The workloads that have to be looked at again; None: each of the namespace.

    space: the object's namespace, as it was or is.
    """
    kind = obj["kind"]
    if is_ours(obj):
        of, _, name = annotations_of(obj).get(names.WORKLOAD, "").partition("/")
        return frozenset({Key(of, space.name, name)} if name else ())
    if kind in WORKLOAD_KINDS:
        workload = workload_of(space, obj)
        its = [obj] if kind == "Pod" else space.controlled.get((kind, obj["metadata"]["name"]), ())
        selecting = (key_of(o) for pod in its for o in space.watchers.matching(labels_of(pod)) if o["kind"] == "Deployment")
        selected = (workload_of(space, pod) for pod in _selected(space, obj))
        return frozenset({*(Key(w.kind, space.name, w.name) for w in (workload, *selected)), *selecting})
    if kind == "EndpointSlice":
        refs = [endpoint.get("targetRef") or {} for endpoint in obj.get("endpoints") or ()]
        pods = [space.get("Pod", ref.get("name", "")) for ref in refs if ref.get("kind") == "Pod"]
        return frozenset(key for pod in pods if pod for key in touched_by(space, pod) or ())
    return None


def _selected(space: Space, obj: Obj) -> list[Obj]:
    """The Pods that a workload's selector picks, whosever they are."""
    selector = obj.get("spec", {}).get("selector") if obj["kind"] != "Pod" else None
    return [pod for pod in space.all("Pod") if not is_ours(pod) and selectors.matches(selector, labels_of(pod))]
