"""Bridges and mounts -> what is asked of each workload: which containers are claimed, by whom, and what is refused.

A refusal concerns one bridge or one mount; the others go on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from carrier2.dispatch import Route
from carrier2.limits import unfit
from generator.asked.bridge import Bridge, Mount, TargetRef, decode_bridge, decode_mount
from generator.asked.conflicts import Standing
from generator.cluster.endpoints import services_of
from generator.cluster.ports import Port, container_ports
from generator.cluster.snapshot import WORKLOAD_KINDS, Key, Obj, Snapshot, key_of, labels_of
from generator.cluster.times import seconds_between
from generator.cluster.workload import pods_of
from generator.errors import Problem
from generator.names import CONTROL_NAMESPACE, SETTINGS_CONFIGMAP
from generator.rules.precedence import routed


MISSING_SECONDS = 86400
"""How long a bridge or mount waits for a target that is not there, as in Gefyra (GEFYRA_BRIDGE_MOUNT_MISSING_GRACE_PERIOD)."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One targeted container: the mount that asks for it (None when only bridges do), the bridges on it, its ports."""

    container: str
    mount: Mount | None
    bridges: tuple[Bridge, ...]
    ports: tuple[Port, ...]

    def without_bridges(self) -> Claim:
        """The claim with everything passed through to the shadows."""
        return Claim(self.container, None, (), self.ports)

    @property
    def allow_shared_volumes(self) -> bool:
        """What the mount says about a second writer."""
        return bool(self.mount and self.mount.allow_shared_volumes)


@dataclass
class Intent:
    """Everything that is asked.

    claims: by workload, then container. problems: by the object that has them. expired: to be removed, and why.
    targets: the workload and container that each bridge and mount resolved to.
    """

    claims: dict[Key, dict[str, Claim]] = field(default_factory=dict)
    problems: dict[Key, list[Problem]] = field(default_factory=dict)
    expired: dict[Key, str] = field(default_factory=dict)
    targets: dict[Key, tuple[Key, str]] = field(default_factory=dict)

    def blame(self, obj: Obj, *problems: Problem) -> None:
        """Note problems of an object. What is wrong with one that is in the cluster already (it has a uid) keeps only itself out."""
        there = "uid" in obj["metadata"]
        self.problems.setdefault(key_of(obj), []).extend(_lasting(p) if there else p for p in problems)


def _lasting(problem: Problem) -> Problem:
    """A mistake in somebody's object as a refusal of it; an incomplete snapshot stays what it is."""
    if problem.severity != "input" or problem.code == "SnapshotIncomplete":
        return problem
    return Problem("ObjectInvalid", problem.place, f"{problem.code}: {problem.message}", problem.cure)


def read(snapshot: Snapshot) -> Intent:
    """Decode every bridge and mount, resolve the targets, and refuse what cannot stand beside what is older."""
    intent = Intent()
    mounts, bridges = _decode(snapshot, intent)
    by_name: dict[str, Mount] = {m.name: m for m in mounts}
    taken: dict[tuple[Key, str], Mount] = {}
    for mount in sorted(mounts, key=lambda m: (m.created or snapshot.now, m.name)):
        resolved = _resolve(snapshot, mount.target, mount.obj, intent)
        if resolved is None:
            grace = MISSING_SECONDS if mount.missing_grace_period is None else mount.missing_grace_period
            _give_up(mount.obj, grace, snapshot.now, intent)
            continue
        older = taken.setdefault(resolved, mount)
        if older is not mount:
            message = f"{resolved[0]} container {resolved[1]} is mounted by {older.name}, which is older"
            intent.blame(mount.obj, Problem("MountDuplicate", str(key_of(mount.obj)), message, f"Let bridges name {older.name}."))
            continue
        intent.targets[key_of(mount.obj)] = resolved
        intent.claims.setdefault(resolved[0], {})[resolved[1]] = Claim(resolved[1], mount, (), _ports(snapshot, *resolved))
    wishes: dict[tuple[Key, str], list[Bridge]] = {}
    for bridge in sorted(bridges, key=lambda b: (b.created or snapshot.now, b.name)):
        at = _aim(snapshot, bridge, by_name, intent)
        if at is None:
            _give_up(bridge.obj, MISSING_SECONDS, snapshot.now, intent)
        else:
            intent.targets[key_of(bridge.obj)] = at
            wishes.setdefault(at, []).append(bridge)
    for (workload, container), wishing in wishes.items():
        mounted = intent.claims.get(workload, {}).get(container)
        claim = mounted or Claim(container, None, (), _ports(snapshot, workload, container))
        admitted = _admit(claim, wishing, snapshot.now, intent)
        if mounted or admitted:
            intent.claims.setdefault(workload, {})[container] = Claim(container, claim.mount, tuple(admitted), claim.ports)
    return intent


def _decode(snapshot: Snapshot, intent: Intent) -> tuple[list[Mount], list[Bridge]]:
    mounts: list[Mount] = []
    bridges: list[Bridge] = []
    for obj in snapshot.controls:
        key = key_of(obj)
        if obj["metadata"].get("deletionTimestamp") or key.kind == "GefyraClient":
            continue
        item, problems = decode_mount(obj) if key.kind == "GefyraBridgeMount" else decode_bridge(obj)
        intent.blame(obj, *problems)
        if item is None:
            continue
        if item.sunset and seconds_between(item.sunset, snapshot.now) >= 0:
            code = "MountExpired" if isinstance(item, Mount) else "BridgeExpired"
            message = f"sunset {item.sunset} has passed at {snapshot.now}; it is removed"
            intent.blame(obj, Problem(code, str(key), message, "Create it again with a later sunset."))
            intent.expired[key] = "its sunset has passed"
        elif isinstance(item, Mount):
            mounts.append(item)
        else:
            bridges.append(item)
    return mounts, bridges


def _give_up(obj: Obj, grace: int, now: str, intent: Intent) -> None:
    """Let a bridge or mount expire whose target has been missing for `grace` seconds, by what its own status says."""
    conditions = (obj.get("status") or {}).get("conditions") or ()
    since = next((c.get("lastTransitionTime", now) for c in conditions if c.get("reason") == "TargetMissing"), now)
    missing = any(p.code == "TargetMissing" for p in intent.problems.get(key_of(obj), ()))
    if missing and (grace == 0 or seconds_between(since, now) >= grace):
        intent.expired[key_of(obj)] = f"its target has been missing for {grace} s"


def _aim(snapshot: Snapshot, bridge: Bridge, mounts: dict[str, Mount], intent: Intent) -> tuple[Key, str] | None:
    """Where a bridge points: its mount's target, or the workload it names itself."""
    place = str(key_of(bridge.obj))
    if not bridge.mount:
        return _resolve(snapshot, bridge.target, bridge.obj, intent) if bridge.target else None
    mount = mounts.get(bridge.mount)
    if mount is None:
        known = ", ".join(sorted(mounts)) or "none"
        message = f"target {bridge.mount!r} is no GefyraBridgeMount of the stream (there: {known})"
        code = "TargetMissing" if bridge.obj.get("state") else "TargetUnknown"
        intent.blame(bridge.obj, Problem(code, place, message, "Name a mount, or a workload as in target: deployment/web."))
        return None
    at = intent.targets.get(key_of(mount.obj))
    if at is None:
        problem = next(iter(intent.problems.get(key_of(mount.obj), ())), None)
        if problem:
            intent.blame(bridge.obj, Problem(problem.code, place, f"its mount {mount.name}: {problem.message}", problem.cure))
    return at


def template_of(obj: Obj) -> Obj:
    """The Pod metadata and spec a workload makes; of a Pod, its own."""
    return obj if obj["kind"] == "Pod" else obj["spec"]["template"]


def _resolve(snapshot: Snapshot, ref: TargetRef, asking: Obj, intent: Intent) -> tuple[Key, str] | None:
    """The workload and container a reference names, or a problem."""
    key, place = Key(ref.kind, ref.namespace, ref.name), str(key_of(asking))
    space = snapshot.space(ref.namespace)
    obj = space.get(ref.kind, ref.name)
    if obj is None:
        intent.blame(asking, _missing(snapshot, key, place, asking))
        return None
    containers = [c["name"] for c in (template_of(obj).get("spec") or {}).get("containers") or ()]
    if ref.container in containers:
        return key, ref.container
    listed = ", ".join(containers)
    if ref.container:
        message = f"{key} has no container {ref.container!r} (there: {listed})"
        intent.blame(asking, Problem("TargetUnknown", place, message, f"Set targetContainer: {containers[0] if containers else '...'}."))
    elif len(containers) == 1:
        return key, containers[0]
    else:
        cure = f"Set targetContainer to one of: {listed}."
        intent.blame(asking, Problem("ContainerAmbiguous", place, f"{key} has {len(containers)} containers and none is named", cure))
    return None


def _missing(snapshot: Snapshot, key: Key, place: str, asking: Obj) -> Problem:
    space = snapshot.space(key.namespace)
    settings = snapshot.space(CONTROL_NAMESPACE).get("ConfigMap", SETTINGS_CONFIGMAP) or {}
    managed = str((settings.get("data") or {}).get("namespaces") or "").split()
    if managed and key.namespace not in managed and not space.objects:
        message = f"{key} is in a namespace that bascule does not manage (managed: {', '.join(sorted(managed))})"
        return Problem(
            "NamespaceNotManaged", place, message, "Name a workload of a managed namespace, or ask an administrator to add this one."
        )
    if space.controlled.get((key.kind, key.name)):
        below = key_of(space.controlled[key.kind, key.name][0])
        return Problem(
            "SnapshotIncomplete", place, f"{below} is controlled by {key}, which is not in the stream", "Record the namespace whole."
        )
    if asking.get("state") or "uid" in asking["metadata"]:
        return Problem("TargetMissing", place, f"{key} is not in the cluster", "Create it again, or delete this object.")
    known = ", ".join(f"{kind.lower()}/{o['metadata']['name']}" for kind in WORKLOAD_KINDS[:3] for o in space.all(kind)[:4]) or "none"
    return Problem(
        "TargetUnknown", place, f"{key} is not in the stream (there in {key.namespace}: {known})", "Correct target or targetNamespace."
    )


def _ports(snapshot: Snapshot, workload: Key, container: str) -> tuple[Port, ...]:
    space = snapshot.space(workload.namespace)
    obj = space.get(workload.kind, workload.name)
    template = template_of(obj) if obj else {"spec": {"containers": []}}
    specs = [template["spec"], *(p["spec"] for p in pods_of(space, workload.kind, workload.name))]
    return container_ports(specs, container, services_of(space, labels_of({"metadata": template.get("metadata") or {}})))


def _admit(claim: Claim, bridges: Iterable[Bridge], now: str, intent: Intent) -> list[Bridge]:
    """The bridges that may stand, oldest first."""
    standing: dict[int, Standing] = {}
    admitted = []
    for bridge in bridges:
        problems = _ports_fit(claim, bridge)
        ports = [standing.setdefault(remote, Standing(remote)) for remote, _ in bridge.ports] if not problems else []
        for port in ports:
            problems += port.problems(bridge, now)
        intent.blame(bridge.obj, *problems)
        if all(p.severity == "warning" for p in problems):
            admitted.append(bridge)
            for port in ports:
                port.add(bridge, now)
    return _fitting(admitted, intent)


def _fitting(bridges: list[Bridge], intent: Intent) -> list[Bridge]:
    """The bridges that one configuration can hold; of those that break it the newer are refused."""
    ports = sorted({remote for bridge in bridges for remote, _ in bridge.ports})
    while reason := next(filter(None, (unfit(_routes(bridges, port)) for port in ports)), ""):
        low, high = 0, len(bridges)
        while high - low > 1:
            middle = (low + high) // 2
            if any(unfit(_routes(bridges[:middle], port)) for port in ports):
                high = middle
            else:
                low = middle
        refused = bridges[high - 1]
        cure = "Use exact or prefix conditions and shorter values."
        intent.blame(refused.obj, Problem("CarrierLimit", str(key_of(refused.obj)), reason, cure))
        bridges = [b for b in bridges if b is not refused]
    return bridges


def _routes(bridges: Iterable[Bridge], port: int) -> list[Route]:
    return [Route(b.name, routed(rule)) for b in bridges if any(remote == port for remote, _ in b.ports) for rule in b.rules]


def _ports_fit(claim: Claim, bridge: Bridge) -> list[Problem]:
    place, found = str(key_of(bridge.obj)), []
    known = {p.number: p for p in claim.ports if p.protocol == "TCP"}
    other = {p.number: p for p in claim.ports if p.protocol != "TCP"}
    tls = claim.mount.tls if claim.mount else {}
    for remote, local in bridge.ports:
        if remote in known:
            port = known[remote]
            if port.tls and not (tls.get(remote) or tls.get(0)):
                message = f"port {remote} speaks TLS ({port.tls}) and the mount brings no certificate"
                cure = f'Give the mount providerParameter: {{"{remote}": {{tls: {{certificate: ..., key: ...}}}}}}.'
                found.append(Problem("TlsPortNoCertificate", place, message, cure))
        elif remote in other:
            message = f"port {remote} is {other[remote].protocol}; rules need HTTP over TCP"
            found.append(Problem("PortNotHttp", place, message, "Name a TCP port."))
        else:
            listed = ", ".join(str(n) for n in sorted(known)) or "none"
            message = f"container {claim.container} has no port {remote} (there: {listed})"
            cure = f'Write portMappings: ["{local}:{min(known)}"] (LOCAL:REMOTE).' if known else f"Declare containerPort {remote} in it."
            found.append(Problem("PortUnknown", place, message, cure))
    return found
