"""A claim and its bridges -> the carrier's routing model, with every address a literal IP taken from the snapshot."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from carrier2.dispatch import Address, Destination, Dispatch, Listener, Route
from generator.asked.bridge import Bridge, Tls
from generator.asked.intent import Claim
from generator.asked.values import delivered
from generator.cluster import quantity
from generator.cluster.relay import SERVICE, port_at, relay_of
from generator.cluster.snapshot import Key, Obj, Snapshot, key_of
from generator.cluster.workload import Original, hostname_of, ips_of
from generator.errors import Problem
from generator.rules import precedence as rules

_NONE_YET = "the connection provider has reported none yet"


class Connection(NamedTuple):
    """Where a bridge's requests leave the carrier: the address, and how a NetworkPolicy names the other side."""

    address: Address
    peer: Obj
    peer_port: int


def connections(
    snapshot: Snapshot, bridges: Iterable[Bridge], ours: frozenset[str] = frozenset()
) -> tuple[dict[tuple[str, int], Connection], dict[Key, list[Problem]]]:
    """(bridge name, container port) -> Connection; and why requests stay in the cluster: no Connection, or nobody at its other end.

    ours: addresses of the target's own Pods and Services, where a bridge would lead in a circle.
    """
    found: dict[tuple[str, int], Connection] = {}
    problems: dict[Key, list[Problem]] = {}
    relay = relay_of(snapshot)
    for bridge in bridges:
        for remote, _ in bridge.ports:
            endpoint = bridge.endpoints.get(remote, "")
            connection = connect(snapshot, endpoint) if endpoint else _NONE_YET
            if isinstance(connection, Connection) and connection.address.host in ours:
                connection = f"clusterEndpoint {endpoint!r} leads back into the target"
            if isinstance(connection, Connection):
                found[bridge.name, remote] = connection
                if relay and (port := port_at(endpoint)) and port not in relay.listening:
                    problems.setdefault(key_of(bridge.obj), []).append(_away(bridge, remote, relay.away.get(port, "")))
            else:
                key = key_of(bridge.obj)
                wait = "Wait for the provider; it writes" if connection is _NONE_YET else "The provider should write"
                cure = f'{wait} clusterEndpoint: {{"{remote}": "NAME.NAMESPACE.svc.cluster.local:10000"}}.'
                problems.setdefault(key, []).append(Problem("EndpointUnresolved", str(key), f"port {remote}: {connection}", cure))
    return found, problems


def _away(bridge: Bridge, remote: int, since: str) -> Problem:
    """Nobody listens for this port. The route stays: while the relay refuses, carriers ask the cluster, so coming back needs no write."""
    key, client = str(key_of(bridge.obj)), bridge.owner
    message = f"port {remote}: " + (f"{client} has not listened since {since}" if since else f"{client} does not listen yet")
    cure = f"Connect {client} with `bascule connect`, and start its process; the cluster answers until then."
    return Problem("ClientAway", key, message, cure)


def connect(snapshot: Snapshot, endpoint: str) -> Connection | str:
    """The Connection for `host:port`, or why there is none. A host is an IP or a Service's cluster DNS name."""
    host, _, tail = endpoint.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    port = quantity.whole(tail, 5) or 0
    if not 0 < port < 65536:
        return f"clusterEndpoint {endpoint!r} is not HOST:PORT"
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return _named(snapshot, host, port)
    if ip.is_loopback or ip.is_unspecified or ip.is_multicast or ip.is_link_local or "%" in host:
        return f"{host} is no address that a Pod of the cluster can be reached at"
    if service := snapshot.cluster_ips.get(str(ip)):
        return _service(service, port)
    return Connection(Address(str(ip), port), {"ipBlock": {"cidr": f"{ip}/{ip.max_prefixlen}"}}, port)


def _named(snapshot: Snapshot, host: str, port: int) -> Connection | str:
    parts = host.split(".")
    if len(parts) < 3 or parts[2] != "svc":
        return f"{host!r} is neither an IP address nor NAME.NAMESPACE.svc"
    service = snapshot.space(parts[1]).get("Service", parts[0])
    if service and key_of(service) == SERVICE:
        return _relayed(snapshot, service, port)
    return _service(service, port) if service else f"Service {parts[1]}/{parts[0]} is not in the stream"


def _relayed(snapshot: Snapshot, service: Obj, port: int) -> Connection | str:
    """The relay's address. Its Service is headless: a client listens on the Pod's own address."""
    relay = relay_of(snapshot)
    if not relay or not relay.address:
        return "the relay has not reported its address"
    return Connection(Address(relay.address, port), _behind(service), port)


def _service(service: Obj, port: int) -> Connection | str:
    """A Service's address. NetworkPolicies see the Pods behind it and their port, not the cluster IP."""
    spec, namespace, name = service["spec"], service["metadata"]["namespace"], service["metadata"]["name"]
    if spec.get("clusterIP", "None") in ("None", ""):
        return f"Service {namespace}/{name} has no cluster IP"
    entry = next((p for p in spec.get("ports") or () if p["port"] == port), None)
    if entry is None:
        return f"Service {namespace}/{name} has no port {port}"
    target = entry.get("targetPort", port)
    return Connection(Address(spec["clusterIP"], port), _behind(service), target if isinstance(target, int) else port)


def _behind(service: Obj) -> Obj:
    """The Pods behind a Service, as a NetworkPolicy names them."""
    there = {"matchLabels": {"kubernetes.io/metadata.name": service["metadata"]["namespace"]}}
    return {"namespaceSelector": there, "podSelector": {"matchLabels": service["spec"].get("selector") or {}}}


def memory_limit(pods: Iterable[Obj], container: str) -> int | None:
    """The least bytes of memory that the container may have in one of these Pods, None if none has a limit."""
    specs = (c for pod in pods for c in pod["spec"]["containers"] if c["name"] == container)
    limits = [((c.get("resources") or {}).get("limits") or {}).get("memory") for c in specs]
    return min((int(quantity.parse(limit)) for limit in limits if limit is not None), default=None)


def dispatch(
    claim: Claim,
    reached: Mapping[tuple[str, int], Connection],
    service: str,
    shadows: Mapping[str, tuple[str, ...]],
    spoken: frozenset[str] = frozenset(),
) -> Dispatch:
    """The routing model of one container.

    reached: connections that are known. service: cluster IP of Service Y'. shadows: IPs by hostname of the original.
    spoken: ports on which the carriers speak HTTP now.
    """
    listeners = []
    for port in claim.ports:
        here = [b for b in claim.bridges if port.protocol == "TCP" and any(remote == port.number for remote, _ in b.ports)]
        candidates = rules.ordered(candidates_of(here, port.number))
        tls = _tls(claim, port.number) if port.tls and here else None
        listeners.append(
            Listener(
                port=port.number,
                protocol="UDP" if port.protocol == "UDP" else "TCP",
                routes=tuple(Route(c.bridge, rules.routed(c.conditions)) for c in candidates),
                destinations=tuple(
                    Destination(b.name, reached[b.name, port.number].address, b.mode, b.fallback, b.access_log)
                    for b in sorted(here, key=lambda b: b.name)
                    if (b.name, port.number) in reached
                ),
                http=port.http or (port.protocol == "TCP" and str(port.number) in spoken),
                tls=tls is not None,
                sni=tls.sni if tls else "",
                certificate=tls.certificate if tls and not delivered(tls.certificate) else "",
                key=tls.key if tls and not delivered(tls.key) else "",
            )
        )
    return Dispatch(tuple(listeners), service, dict(sorted(shadows.items())))


def _tls(claim: Claim, port: int) -> Tls | None:
    return (claim.mount.tls.get(port) or claim.mount.tls.get(0)) if claim.mount else None


def tls_of(claim: Claim, model: Dispatch) -> tuple[tuple[int, Tls], ...]:
    """Where the certificate and key of each port come from that the carrier serves over TLS."""
    return tuple((each.port, tls) for each in model.listeners if each.tls and (tls := _tls(claim, each.port)))


def candidates_of(bridges: Iterable[Bridge], port: int) -> list[rules.Candidate]:
    """The rules of the bridges that name a port. A bridge without rules is global: one rule without conditions."""
    return [
        rules.Candidate(b.name, b.created, conditions, index)
        for b in bridges
        if any(remote == port for remote, _ in b.ports)
        for index, conditions in enumerate(b.rules or ((),))
    ]


def shadow_addresses(
    originals: Iterable[Original], own: Mapping[str, str], spare: Iterable[str], pods: Mapping[str, Obj | None]
) -> dict[str, tuple[str, ...]]:
    """IPs by hostname: an original's own shadow, then its share of the spare ones. A hostname used twice is left out."""
    hosts = [(hostname_of(o.pod), o) for o in sorted(originals, key=lambda o: own[o.name])]
    seen = [host for host, _ in hosts]
    extra = [ip for name in sorted(spare) for ip in ips_of(pods.get(name) or {})[:1]]
    result = {}
    for position, (host, item) in enumerate(hosts):
        mine = ips_of(pods.get(own[item.name]) or {})[:1]
        if mine and seen.count(host) == 1:
            result[host] = (*mine, *extra[position :: len(hosts)])
    return result
