"""Bridges and mounts -> what is asked of each workload: which containers are claimed, by whom, and what is refused.

A refusal concerns one bridge or one mount; the others go on.
"""

from __future__ import annotations

from collections.abc import Iterable

from carrier2.dispatch import Route
from carrier2.limits import Room, unfit
from generator.asked.bridge import Bridge, Mount, decode_bridge, decode_mount
from generator.asked.client import Client, decode_client
from generator.asked.conflicts import Standing
from generator.asked.intent import Claim, Intent, Memory
from generator.asked.targets import ports_of, resolve
from generator.cluster.relay import Relay, port_at, relay_of
from generator.cluster.snapshot import Key, Obj, Snapshot, key_of
from generator.cluster.times import after, seconds_between
from generator.errors import Problem
from generator.rules.precedence import routed, seniority

MISSING_SECONDS = 86400
"""How long a bridge or mount waits for a target that is not there, as in Gefyra (GEFYRA_BRIDGE_MOUNT_MISSING_GRACE_PERIOD)."""
_DECODERS = {"GefyraBridge": decode_bridge, "GefyraBridgeMount": decode_mount, "GefyraClient": decode_client}


def read(snapshot: Snapshot, memory: Memory | None = None) -> Intent:
    """Decode every bridge, mount and client, resolve the targets, and refuse what cannot stand beside what is older.

    memory: of an earlier call; it is brought up to date.
    """
    intent, memory = Intent(), memory or Memory()
    before = memory.forget()
    mounts = _decode(snapshot, intent, memory, before)
    by_name: dict[str, Mount] = {m.name: m for m in mounts}
    taken: dict[tuple[Key, str], Mount] = {}
    for mount in mounts:
        resolved = resolve(snapshot, mount.target, mount.obj, intent)
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
        intent.claims.setdefault(resolved[0], {})[resolved[1]] = Claim(resolved[1], mount, (), ports_of(snapshot, *resolved))
    wishes: dict[tuple[Key, str], list[Bridge]] = {}
    for bridge in intent.bridges:
        at = _aim(snapshot, bridge, by_name, intent)
        if at is None:
            _give_up(bridge.obj, MISSING_SECONDS, snapshot.now, intent)
        else:
            intent.targets[key_of(bridge.obj)] = at
            wishes.setdefault(at, []).append(bridge)
    for (workload, container), wishing in wishes.items():
        mounted = intent.claims.get(workload, {}).get(container)
        claim = mounted or Claim(container, None, (), ports_of(snapshot, workload, container))
        admitted = _remembered(claim, wishing, (workload, container), intent, memory, before)
        if mounted or admitted:
            intent.claims.setdefault(workload, {})[container] = Claim(container, claim.mount, tuple(admitted), claim.ports)
    return intent


def _remembered(claim: Claim, bridges: list[Bridge], at: tuple[Key, str], intent: Intent, memory: Memory, before: Memory) -> list[Bridge]:
    asked = (claim, bridges)
    known = before.admitted.get(at)
    if known is None or known[0] != asked:
        judged = Intent()
        known = (asked, _admit(claim, bridges, judged), judged.problems)
    memory.admitted[at] = known
    for key, problems in known[2].items():
        intent.problems.setdefault(key, []).extend(problems)
    return known[1]


def _decode(snapshot: Snapshot, intent: Intent, memory: Memory, before: Memory) -> list[Mount]:
    """The mounts, oldest first; bridges and clients are noted in `intent`."""
    relay = None if snapshot.unheard else relay_of(snapshot)
    items: list[Mount | Bridge | Client] = []
    for obj in snapshot.controls:
        key = key_of(obj)
        if obj["metadata"].get("deletionTimestamp"):
            continue
        known = before.decoded.get(key)
        if known is None or known[0] is not obj:
            known = (obj, *_DECODERS[key.kind](obj))
        memory.decoded[key] = known
        _, item, problems = known
        intent.blame(obj, *problems)
        if item is None:
            continue
        gone = _gone_at(item, relay) if isinstance(item, Bridge) else ""
        if ended := _ended(item, gone, snapshot.now):
            problem, intent.expired[key] = ended
            intent.blame(obj, problem)
            continue
        items.append(item)
        if ends := [*filter(None, (item.sunset, gone))]:
            intent.ends[key] = min(ends, key=lambda end: seconds_between(snapshot.now, end))
    items.sort(key=lambda item: (seniority(item.created), item.name))
    intent.clients.extend(i for i in items if isinstance(i, Client))
    intent.bridges.extend(i for i in items if isinstance(i, Bridge))
    return [i for i in items if isinstance(i, Mount)]


def _ended(item: Mount | Bridge | Client, gone: str, now: str) -> tuple[Problem, str] | None:
    """What is said of one that is to be removed, and the reason in a few words. gone: as `_gone_at` has it."""
    place, kind = str(key_of(item.obj)), type(item).__name__
    if item.sunset and seconds_between(item.sunset, now) >= 0:
        message = f"sunset {item.sunset} has passed at {now}; it is removed"
        return Problem(f"{kind}Expired", place, message, "Create it again with a later sunset."), "its sunset has passed"
    if isinstance(item, Bridge) and gone and seconds_between(gone, now) >= 0:
        message = f"{item.owner} has been away for longer than {item.away_grace} s, until {gone}; it is removed"
        return Problem("ClientGone", place, message, "Connect, and create it again."), f"its client has been away for {item.away_grace} s"
    return None


def _gone_at(bridge: Bridge, relay: Relay | None) -> str:
    """When a bridge is removed because its client listens on none of its ports; "" while it does, or nobody knows."""
    ports = {port_at(e) for e in bridge.endpoints.values()} if bridge.provider == "relay" else set()
    if not relay or not ports or not ports <= relay.away.keys() - relay.listening:
        return ""
    return after(max(relay.away[port] for port in ports), bridge.away_grace)


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
        return resolve(snapshot, bridge.target, bridge.obj, intent) if bridge.target else None
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


def _admit(claim: Claim, bridges: Iterable[Bridge], intent: Intent) -> list[Bridge]:
    """The bridges that may stand, oldest first."""
    standing: dict[int, Standing] = {}
    admitted, room = [], Room()
    for bridge in bridges:
        problems = _ports_fit(claim, bridge)
        left = room.beside(bridge.name, [routed(rule) for rule in bridge.rules or ((),)], sorted({remote for remote, _ in bridge.ports}))
        if isinstance(left, str):
            problems = problems or [_too_much(bridge, left)]
        ports = [standing.setdefault(remote, Standing(remote)) for remote, _ in bridge.ports] if not problems else []
        for port in ports:
            problems += port.problems(bridge)
        intent.blame(bridge.obj, *problems)
        if isinstance(left, Room) and all(p.severity == "warning" for p in problems):
            room = left
            admitted.append(bridge)
            for port in ports:
                port.add(bridge)
    return _fitting(admitted, intent)


def _too_much(bridge: Bridge, reason: str) -> Problem:
    cure = "Use exact or prefix conditions, fewer rules, the same fields in all, and shorter values."
    return Problem("CarrierLimit", str(key_of(bridge.obj)), reason, cure)


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
