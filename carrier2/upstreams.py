"""What the cluster answers, as `upstream` blocks: one for each original, its own shadow, and one for Service Y'.

Users' processes are in `processes.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from carrier2.directive import Directive, Unquotable, block, key, mapping, simple
from carrier2.dispatch import Address, Dispatch
from carrier2.relocate import Place

IDLE = simple("keepalive", 16, "local"), simple("keepalive_timeout", "1s")
"""Idle connections are closed before the application closes them (Node and uvicorn: 5 s), as a POST that meets its close is lost.

`local`: each location keeps its own, else nginx would hand an idle HTTP/2 connection to an HTTP/1.1 request (since 1.29.7).
"""

_HOSTNAME = re.compile("[a-z0-9][a-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Upstream:
    """A named group of servers; `backup` is asked only when none of them could be connected to."""

    name: str
    servers: tuple[Address, ...]
    backup: Address | None = None


def service_name(port: int) -> str:
    """The name of Service Y'."""
    return f"service_{port}"


def service(dispatch: Dispatch, port: int) -> Upstream:
    """Service Y', the last resort."""
    return Upstream(service_name(port), (Address(dispatch.service, port),))


def shadows(dispatch: Dispatch, port: int) -> dict[str, Upstream]:
    """By hostname of an original: its own shadow(s), then Service Y'."""
    backup = Address(dispatch.service, port)
    return {
        host: Upstream(f"shadow_{_hostname(host)}_{port}", tuple(Address(ip, port) for ip in ips), backup)
        for host, ips in sorted(dispatch.shadows.items())
        if ips
    }


def cluster(dispatch: Dispatch, port: int) -> list[Upstream]:
    """Where what no bridge takes can go."""
    return [service(dispatch, port), *shadows(dispatch, port).values()]


def own(dispatch: Dispatch, port: int, variable: str) -> Directive:
    """The map from the original's hostname to the upstream for what no bridge takes."""
    entries = [(key(host), upstream.name) for host, upstream in shadows(dispatch, port).items()]
    default = "default", service_name(port)
    return mapping("$hostname", variable, default, *entries, note=f"port {port}: this Pod's own shadow")


def blocks(upstreams: Iterable[Upstream], place: Place, *extra: Directive) -> Iterator[Directive]:
    """The text of `upstreams`. No server is ever set aside after a failure: each request tries its own first."""
    for each in sorted(set(upstreams), key=lambda upstream: upstream.name):
        servers = [simple("server", socket_of(place.reach(a)), "max_fails=0") for a in each.servers]
        if each.backup:
            servers.append(simple("server", socket_of(place.reach(each.backup)), "max_fails=0", "backup"))
        yield block("upstream", each.name, of=(*servers, *extra))


def socket_of(address: Address) -> str:
    """An address as nginx writes it."""
    ip = ip_of(address)
    return f"[{ip}]:{address.port}" if ip.version == 6 else f"{ip}:{address.port}"


def ip_of(address: Address) -> IPv4Address | IPv6Address:
    """The literal IP of an address. Raises Unquotable if it is none, or the port is none."""
    try:
        ip = ip_address(address.host)
    except ValueError:
        ip = None
    if ip is None or "%" in address.host or not 0 < address.port < 65536:
        raise Unquotable(f"{address.host!r} port {address.port}: not a literal IP address and port")
    return ip


def _hostname(host: str) -> str:
    if not _HOSTNAME.fullmatch(host):
        raise Unquotable(f"{host!r}: not a hostname in lower case")
    return host
