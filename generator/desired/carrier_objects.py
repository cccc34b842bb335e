"""A workload and its claims -> the objects around the carriers: Service Y' and a ConfigMap for each carrier's configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from carrier2 import contract
from generator import names
from generator.asked.intent import Claim
from generator.cluster.snapshot import Obj
from generator.cluster.workload import Workload
from generator.desired.shadow import our_labels


def service_name(workload: Workload) -> str:
    """The name of Service Y'."""
    return f"{workload.id}-shadow"


def config_name(workload: Workload, container: str) -> str:
    """The name of a carrier's ConfigMap."""
    return names.fit(f"{workload.id}-carrier-{container}", 63)


def _metadata(workload: Workload, name: str, role: str, **notes: str) -> Obj:
    return {
        "name": name,
        "namespace": workload.namespace,
        "labels": our_labels(workload, role),
        "annotations": {names.WORKLOAD: f"{workload.kind}/{workload.name}", **notes},
    }


def service(workload: Workload, claims: Mapping[str, Claim], floor: int) -> Obj:
    """Service Y': every shadow, on every port of every targeted container. floor: originals when the mount began."""
    ports = sorted({(p.number, p.protocol) for claim in claims.values() for p in claim.ports if p.protocol in ("TCP", "UDP")})
    entries = [{"name": f"{protocol.lower()}-{n}", "port": n, "protocol": protocol, "targetPort": n} for n, protocol in ports]
    spec: Obj = {"type": "ClusterIP", "selector": {names.ROLE: "shadow", names.SERVES: "true", names.TARGET: workload.id}}
    metadata = _metadata(workload, service_name(workload), "service", **{names.FLOOR: str(floor)})
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {**spec, "ports": entries} if entries else spec}


def config_map(workload: Workload, container: str, text: str, http: Iterable[int]) -> Obj:
    """The configuration of one carrier, under its hash. http: ports on which it speaks HTTP."""
    notes = {names.CONFIG_HASH: config_hash(text), names.HTTP_PORTS: " ".join(map(str, sorted(http)))}
    metadata = _metadata(workload, config_name(workload, container), "carrier-config", **{k: v for k, v in notes.items() if v})
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {contract.CONFIG.rpartition("/")[2]: text}}


def config_hash(text: str) -> str:
    """16 hex digits that name a configuration; a carrier confirms them."""
    return names.digest(text, 16)
