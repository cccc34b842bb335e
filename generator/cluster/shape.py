"""Kubernetes objects against what the core reads of them: a field of the wrong type is a Problem with its place, not a surprise.

An API server gives no such object, but people and scripts write them. Only fields that the core reads stand here; all others are
left alone, as is any kind that is not in KINDS but for its metadata. What a bridge or mount says is checked by generator/asked/bridge.py.
Types are those of the Kubernetes API (k8s.io/api: core/v1, apps/v1, discovery/v1, networking/v1, policy/v1, autoscaling/v2).
"""

from __future__ import annotations

import ipaddress
import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from generator.cluster import quantity
from generator.cluster.snapshot import CLUSTER_KINDS, OUR_KINDS
from generator.errors import Problem
from generator.text.walk import Place, shown

MAX_PROBLEMS: Final = 20

Shape = Any
"""A type name of _TYPES; [shape] for a list; a mapping of fields, of which `name!` must be there and `*` is any."""

_TYPES: Final[dict[str, tuple[tuple[type, ...], str]]] = {
    "text": ((str,), "text"),
    "number": ((int,), "a whole number"),
    "flag": ((bool,), "true or false"),
    "port": ((int, str), "a port's number from 1 to 65535, or its name"),
    "portnumber": ((int,), "a port's number from 1 to 65535"),
    "name": ((str,), "a name of small letters, digits, `-` and `.` (RFC 1123)"),
    "quantity": ((int, float, str), "a quantity, as in 100m or 64Mi"),
    "address": ((str,), "an IP address"),
    "time": ((str, type(None)), "a time in quotes"),
}

_TEXTS: Final = {"*": "text"}
_META: Final = {
    "name!": "name",
    "namespace": "name",
    "uid": "text",
    "resourceVersion": "text",
    "generateName": "text",
    "creationTimestamp": "time",
    "deletionTimestamp": "time",
    "labels": _TEXTS,
    "annotations": _TEXTS,
    "ownerReferences": [{"kind!": "text", "name!": "text", "uid!": "text", "controller": "flag"}],
}
_SELECTOR: Final = {"matchLabels": _TEXTS, "matchExpressions": [{"key!": "text", "operator!": "text", "values": ["text"]}]}
_HANDLER: Final = {
    "exec": {"command": ["text"]},
    "httpGet": {"port!": "port", "scheme": "text"},
    "tcpSocket": {"port!": "port"},
    "grpc": {"port!": "portnumber"},
}
_AMOUNTS: Final = {"*": "quantity"}
_CONTAINER: Final = {
    "name!": "text",
    "image": "text",
    "imagePullPolicy": "text",
    "command": ["text"],
    "args": ["text"],
    "env": [{"name!": "text"}],
    "ports": [{"containerPort!": "portnumber", "name": "text", "protocol": "text", "hostPort": "number"}],
    "volumeMounts": [{"name!": "text", "mountPath!": "text", "readOnly": "flag"}],
    "resources": {"requests": _AMOUNTS, "limits": _AMOUNTS},
    "securityContext": {},
    "lifecycle": {"postStart": _HANDLER, "preStop": _HANDLER},
    "livenessProbe": _HANDLER,
    "readinessProbe": _HANDLER,
    "startupProbe": _HANDLER,
}
_TERM: Final = {"matchFields": [{"key": "text", "operator": "text", "values": ["text"]}], "matchExpressions": [{}]}
_POD: Final = {
    "containers!": [_CONTAINER],
    "initContainers": [_CONTAINER],
    "volumes": [{"name!": "text", "persistentVolumeClaim": {"claimName!": "text", "readOnly": "flag"}, "projected": {"sources": [{}]}}],
    "nodeName": "text",
    "nodeSelector": _TEXTS,
    "hostname": "text",
    "subdomain": "text",
    "setHostnameAsFQDN": "flag",
    "hostNetwork": "flag",
    "hostIPC": "flag",
    "os": {"name": "text"},
    "imagePullSecrets": [{"name": "text"}],
    "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [_TERM]}}},
}
_STATES: Final = {"running": {}, "waiting": {"reason": "text", "message": "text"}, "terminated": {"reason": "text", "message": "text"}}
_CONDITIONS: Final = [{"type!": "text", "status!": "text", "reason": "text", "message": "text"}]
_POD_STATUS: Final = {
    "phase": "text",
    "reason": "text",
    "message": "text",
    "podIP": "address",
    "podIPs": [{"ip": "address"}],
    "conditions": _CONDITIONS,
    "containerStatuses": [
        {"name!": "text", "image": "text", "containerID": "text", "ready": "flag", "restartCount": "number", "state": _STATES}
    ],
}
_TEMPLATE: Final = {"metadata": {"labels": _TEXTS, "annotations": _TEXTS}, "spec!": _POD}
_WORKLOAD: Final[dict[str, Any]] = {
    "spec!": {"selector": _SELECTOR, "template!": _TEMPLATE, "replicas": "number", "paused": "flag"},
    "status": {"readyReplicas": "number"},
}
_NETWORK_PORT: Final = {"port": "port", "protocol": "text", "endPort": "number"}
_PEER: Final = {"podSelector": _SELECTOR, "namespaceSelector": _SELECTOR, "ipBlock": {"cidr": "text"}}
_SERVICE_PORT: Final = {"port!": "portnumber", "targetPort": "port", "name": "text", "protocol": "text", "appProtocol": "text"}
_CONTROL: Final = {"status": {"conditions": _CONDITIONS}, "stateTransitions": {}}

KINDS: Final[dict[str, Shape]] = {
    "Pod": {"spec!": _POD, "status": _POD_STATUS},
    "Deployment": _WORKLOAD,
    "DaemonSet": _WORKLOAD,
    "ReplicaSet": {
        "spec!": {"selector": _SELECTOR, "template": _TEMPLATE, "replicas": "number"},
        "status": {"readyReplicas": "number"},
    },
    "StatefulSet": {**_WORKLOAD, "spec!": {**_WORKLOAD["spec!"], "volumeClaimTemplates": [{"metadata!": {"name!": "text"}}]}},
    "ReplicationController": {"spec!": {"selector": _TEXTS}},
    "Job": {"spec!": {"selector": _SELECTOR}},
    "Service": {
        "spec!": {
            "type": "text",
            "selector": _TEXTS,
            "clusterIP": "address",
            "clusterIPs": ["address"],
            "publishNotReadyAddresses": "flag",
            "ports": [_SERVICE_PORT],
        }
    },
    "EndpointSlice": {"endpoints": [{"addresses!": ["text"], "conditions": {"ready": "flag"}, "targetRef": {"name": "text"}}]},
    "NetworkPolicy": {
        "spec!": {
            "podSelector": _SELECTOR,
            "policyTypes": ["text"],
            "ingress": [{"from": [_PEER], "ports": [_NETWORK_PORT]}],
            "egress": [{"to": [_PEER], "ports": [_NETWORK_PORT]}],
        }
    },
    "PodDisruptionBudget": {"spec!": {"selector": _SELECTOR}},
    "HorizontalPodAutoscaler": {
        "spec!": {"scaleTargetRef!": {"kind!": "text", "name!": "text"}, "minReplicas": "number", "maxReplicas!": "number"}
    },
    "PersistentVolumeClaim": {"spec!": {"accessModes": ["text"]}},
    "ResourceQuota": {"spec": {"hard": _AMOUNTS}, "status": {"hard": _AMOUNTS, "used": _AMOUNTS}},
    "ConfigMap": {"data": _TEXTS},
    **dict.fromkeys(("GefyraBridge", "GefyraBridgeMount"), _CONTROL),
}


_Finding = tuple[tuple[str | int, ...], str, str]
"""Steps from the object to the field, message, cure."""

_WHOLE: Final = "as `kubectl get -o yaml` prints it."


def misshapen(objects: Iterable[Mapping[str, Any]]) -> tuple[Problem, ...]:
    """WrongType for each field the core reads that is of another type or missing; the first MAX_PROBLEMS of them."""
    problems: list[Problem] = []
    for obj in objects:
        kind = OUR_KINDS.get(obj["kind"].lower(), obj["kind"])
        for steps, message, cure in _findings(obj, _SHAPES.get(kind, _ANY)):
            place = Place(_name(kind, obj["metadata"]), problems)
            for step in steps:
                place = place.item(step) if isinstance(step, int) else place.field(step)
            place.report("WrongType", message, cure)
        if len(problems) >= MAX_PROBLEMS:
            break
    return tuple(problems[:MAX_PROBLEMS])


def _name(kind: str, metadata: Mapping[str, Any]) -> str:
    name = metadata["name"]
    return f"{kind} {name}" if kind in CLUSTER_KINDS else f"{kind} {metadata.get('namespace') or 'default'}/{name}"


def _findings(value: Any, shape: Shape) -> Sequence[_Finding]:
    """Where `value` is not of `shape`. The server prints null for an empty list or a mapping of anything (`*`)."""
    if isinstance(shape, str):
        return _scalar(value, shape)
    if value is None and (isinstance(shape, list) or "*" in shape):
        return ()
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [((), f"{shown(value)} is not a list", f"Give a list, {_WHOLE}")]
        return _below(enumerate(value), itertools.repeat(shape[0]))
    if not isinstance(value, dict):
        return [((), f"{shown(value)} is not a mapping", f"Give a mapping, {_WHOLE}")]
    if "*" in shape:
        return _below(value.items(), itertools.repeat(shape["*"]))
    known = [field for field in shape if field in value and field != _MUST]
    found = _below(((field, value[field]) for field in known), (shape[field] for field in known))
    absent = [field for field in shape.get(_MUST, ()) if value.get(field) in (None, [])]
    return [*found, *(((field,), "it is missing or empty", f"Give the whole object, {_WHOLE}") for field in absent)] if absent else found


def _below(items: Iterable[tuple[str | int, Any]], shapes: Iterable[Shape]) -> Sequence[_Finding]:
    found: list[_Finding] = []
    for (step, value), shape in zip(items, shapes, strict=False):
        for steps, message, cure in _findings(value, shape):
            found.append(((step, *steps), message, cure))
    return found


def _scalar(value: Any, name: str) -> Sequence[_Finding]:
    types, words = _TYPES[name]
    fits = isinstance(value, types) and (name == "flag" or not isinstance(value, bool))
    if fits and name in _READERS:
        try:
            _READERS[name](value)
        except ValueError:
            fits = False
    return () if fits else [((), f"{shown(value)} is not {words}", f"Give {words}.")]


def _address(value: str) -> None:
    if value not in ("", "None"):  # a headless Service has "None" (Service v1 core)
        ipaddress.ip_address(value)


def _port(value: int | str) -> None:
    if isinstance(value, int) and not 0 < value < 65536:
        raise ValueError(value)


def _rfc1123(value: str) -> None:
    if not _RFC1123.fullmatch(value):
        raise ValueError(value)


_RFC1123: Final = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?")
_READERS: Final[dict[str, Callable[[Any], object]]] = {
    "quantity": quantity.parse,
    "address": _address,
    "port": _port,
    "portnumber": _port,
    "name": _rfc1123,
}


def _compiled(shape: Shape) -> Shape:
    """The shape with its `name!` fields listed under _MUST."""
    if isinstance(shape, list):
        return [_compiled(shape[0])]
    if isinstance(shape, str):
        return shape
    must = tuple(name.rstrip("!") for name in shape if name.endswith("!"))
    return {name.rstrip("!"): _compiled(inner) for name, inner in shape.items()} | ({_MUST: must} if must else {})


_MUST: Final = "!"
_ANY: Final = _compiled({"metadata!": {**_META, "name!": "text"}})
_SHAPES: Final = {kind: _compiled({"metadata!": _META, **shape}) for kind, shape in KINDS.items()}
