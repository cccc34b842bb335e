"""A cluster -> the objects that the generator reads, as `kubectl get` would print them; lists in parallel.

Never read: Secrets, what is secret in GefyraClients (tokens, keys), and the data of ConfigMaps that are none of ours.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from generator import names
from generator.asked.values import NAME
from generator.cluster.relay import REPORT, SERVICE
from generator.cluster.snapshot import OUR_KINDS, SETTINGS, STOWAWAY_ROUTES, Key, Obj, is_ours, key_of, notes_over
from generator.errors import InputError
from generator.live.kube import Kube
from generator.live.listing import Listing, Say, Step, ask, gather, nothing

ASKED: Final = ("GefyraBridge", "GefyraBridgeMount")
CONTROL: Final = (*ASKED, "GefyraClient", "ConfigMap", "Service")
"""What is read of the control namespace: what is asked and by whom, the settings, and where connections end."""
NEEDED: Final = (
    *("Pod", "Service", "ConfigMap", "EndpointSlice", "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet"),
    *("NetworkPolicy", "PodDisruptionBudget", "PersistentVolumeClaim", "ResourceQuota"),
)
"""Of each namespace. Without one of these the truth about a target cannot be told (names.RECORDED)."""
OPTIONAL: Final = ("HorizontalPodAutoscaler", "Job", "ReplicationController", "Namespace")
"""Of each namespace too; without them a warning is missing. Namespace: only itself."""
TRACES: Final = ("Service", "ConfigMap", "NetworkPolicy")
"""Kinds of ours beside Pods; each object bears the label of who manages it."""


Source = tuple[str, str]
"""A kind, and the namespace of which it is watched."""


def read(
    kube: Kube, namespaces: Iterable[str] | None = None, asked: Iterable[Obj] = (), *, warn: Say = nothing, step: Step = nothing
) -> tuple[Obj, ...]:
    """Everything the generator reads of these namespaces, in order of Key.

    namespaces: None for those that the settings and the bridges and mounts name. With some given, bridges and mounts of others that
        are in the cluster are left out.
    asked: objects that are about to be written; they stand in the place of those that are there (`instead`).
    warn: is told what was left out. step: is told how many lists of how many have come.
    Raises InputError (ClusterForbidden) when a needed list is not allowed, KubeError when the server does not answer.
    """
    asked = tuple(asked)
    given = None if namespaces is None else {*namespaces, *named(asked)}
    with ThreadPoolExecutor(1) as aside:
        early = None if given is None else aside.submit(ask, kube, _each(given), step)  # known before what is asked is
        control = gather(ask(kube, [*_control(CONTROL)]), warn)
    spaces = {*settings(control), *named((*control, *asked))} if given is None else given
    found = gather(early.result() if early else ask(kube, _each(spaces), step), warn)
    kept = control if given is None else concerning(control, given)
    return instead({key_of(o): trimmed(o) for o in (*kept, *found)}, asked)


def _each(spaces: Iterable[str]) -> list[Listing]:
    """The lists of each namespace."""
    wanted = [Listing(kind, space) for space in sorted(spaces) for kind in NEEDED]
    return wanted + [Listing(kind, space, needed=False) for space in sorted(spaces) for kind in OPTIONAL]


def sources(namespaces: Collection[str]) -> dict[Source, bool]:
    """What is watched of the control namespace and of these, and whether a namespace cannot be followed without it."""
    found = {(kind, n): False for n in namespaces for kind in OPTIONAL if kind != "Namespace"}
    found |= {(kind, n): True for n in namespaces for kind in NEEDED}
    return found | {(kind, names.CONTROL_NAMESPACE): True for kind in CONTROL}


def traces(kube: Kube, namespaces: Sequence[str] | None = None, *, warn: Say = nothing, step: Step = nothing) -> tuple[Obj, ...]:
    """Bridges, mounts, clients, every Pod, and whatever bears the label of what we manage: all that `clean --check` looks at.

    namespaces: None for the whole cluster, or where that is not allowed, those of `read`.
    """
    control = gather(ask(kube, [*_control(("ConfigMap", *ASKED, "GefyraClient"))]), warn)
    try:
        found = gather(ask(kube, _marked([""] if namespaces is None else namespaces), step), warn)
    except InputError:
        if namespaces is not None:
            raise
        spaces = sorted({names.CONTROL_NAMESPACE, *settings(control), *named(control)})
        warn(f"not looked at: other namespaces than {', '.join(spaces)}; the account may not list Pods of the whole cluster")
        found = gather(ask(kube, _marked(spaces), step), warn)
    every = {key_of(o): trimmed(o) for o in (*control, *found)}
    return tuple(every[key] for key in sorted(every))


def _control(kinds: Iterable[str]) -> Iterator[Listing]:
    """Lists of the control namespace, as far as a client's account may see them.

    Who may not see clients misses nothing: what they are given stands on bridges too.
    """
    singly = {"ConfigMap": (SETTINGS, REPORT), "Service": (SERVICE,)}
    return (Listing(kind, names.CONTROL_NAMESPACE, kind != "GefyraClient", singly=singly.get(kind, ())) for kind in kinds)


def _marked(namespaces: Iterable[str]) -> list[Listing]:
    selector = f"{names.MANAGED_BY}={names.MANAGER}"
    return [x for n in namespaces for x in (Listing("Pod", n), *(Listing(kind, n, selector=selector) for kind in TRACES))]


def settings(objects: Iterable[Obj]) -> set[str]:
    """The namespaces that ConfigMap gefyra/bascule has."""
    found = (o for o in objects if key_of(o) == SETTINGS)
    return {n for o in found for n in str((o.get("data") or {}).get("namespaces") or "").split() if NAME.fullmatch(n)}


def named(objects: Iterable[Obj]) -> set[str]:
    """The namespaces of the workloads that bridges and mounts name. What is no name of a namespace is left out."""
    return {space for o in objects if (space := _aims(o)) and NAME.fullmatch(space)}


def _aims(obj: Obj) -> str:
    """The namespace of the workload that a bridge or mount names itself, "" if it names none."""
    names_one = "/" in str(obj.get("target")) and key_of(obj).kind in ASKED
    return str(obj.get("targetNamespace") or "default") if names_one else ""


def concerning(objects: Iterable[Obj], namespaces: set[str]) -> tuple[Obj, ...]:
    """The objects without the bridges and mounts of other namespaces; a bridge goes with its mount."""
    objects = tuple(objects)
    elsewhere = {key_of(o) for o in objects if (space := _aims(o)) and space not in namespaces}
    mounts = {key.name for key in elsewhere if key.kind == "GefyraBridgeMount"}
    return tuple(o for o in objects if key_of(o) not in elsewhere and not (key_of(o).kind == "GefyraBridge" and o.get("target") in mounts))


def instead(live: Mapping[Key, Obj], written: Iterable[Obj]) -> tuple[Obj, ...]:
    """The live objects with those of a file in their places, as they would be after `kubectl apply`, in order of Key.

    What the server and the operator have written stays: time of birth, version, status and state. A bridge or mount keeps no uid:
    what is wrong with it is a mistake of the file.
    """
    found = dict(live)
    for obj in written:
        key = key_of(obj)
        found[key] = _over(live[key], obj) if key in live else obj
    return tuple(found[key] for key in sorted(found))


def _over(live: Obj, obj: Obj) -> Obj:
    ours = key_of(obj).kind in OUR_KINDS.values()
    stays = ("creationTimestamp", "resourceVersion", "ownerReferences", *(() if ours else ("uid",)))
    metadata = {k: live["metadata"][k] for k in stays if k in live["metadata"]}
    written = ("status", "state", "stateTransitions", "clusterEndpoint", "providerConfig", "serviceAccountName") if ours else ("status",)
    kept = {k: live[k] for k in written if k in live and not obj.get(k)}
    return {**obj, **kept, "metadata": {**obj["metadata"], **metadata, **notes_over(live, obj)}}


def trimmed(obj: Obj) -> Obj:
    """The object without what is not for a snapshot.

    A ConfigMap of somebody else loses its data, of which only the name matters. A client loses its account's token, and of what it
    connects with all but its ports; a digest says whether there is something, and whether it is another.
    """
    key = key_of(obj)
    if key.kind == "GefyraClient":
        return _public(obj)
    if key.kind != "ConfigMap" or is_ours(obj) or key in _READ:
        return obj
    metadata = {k: v for k, v in obj["metadata"].items() if k != "annotations"}
    return {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": metadata}


_READ: Final = (SETTINGS, REPORT, STOWAWAY_ROUTES)
"""ConfigMaps that are not ours and whose data is read."""


def _public(client: Obj) -> Obj:
    shown = {k: v for k, v in client.items() if k != "serviceAccountData"}
    config = client.get("providerConfig")
    if config:
        ports = {"ports": config["ports"]} if isinstance(config, dict) and isinstance(config.get("ports"), str) else {}
        shown["providerConfig"] = {**ports, "digest": names.digest(json.dumps(config, sort_keys=True), 16)}
    return shown
