"""Addresses become `upstream` blocks, one per distinct set of servers: nginx needs about 10 kB for each.

An upstream's name says where it leads, so it is what the routing maps carry: `bridge_10.9.0.7_3000_or_8080` is that
address with Service Y' port 8080 as backup. HTTP has each of them twice, `..._h1` and `..._h2`: nginx would otherwise
hand an idle HTTP/2 connection to an HTTP/1.1 request.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from carrier2.directive import Directive, Unquotable, block, key, mapping, simple
from carrier2.dispatch import Address, Destination, Dispatch, Listener
from carrier2.relocate import Place

IDLE = simple("keepalive", 16), simple("keepalive_timeout", "1s")
"""Close idle connections before the application does (Node and uvicorn: 5 s), as a POST that meets its close is lost."""

_HOSTNAME = re.compile("[a-z0-9][a-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Upstream:
    """A named group of servers; `backup` is asked only when none of them could be connected to."""

    name: str
    servers: tuple[Address, ...]
    backup: Address | None = None


def service(dispatch: Dispatch, port: int) -> Upstream:
    """Service Y', the last resort."""
    return Upstream(f"service_{port}", (Address(dispatch.service, port),))


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


def bridge(dispatch: Dispatch, listener: Listener, to: Destination) -> Upstream:
    """A user's process. A mirrored request is the cluster's too, so it has no backup."""
    name = f"{'mirror' if to.mode == 'mirror' else 'bridge'}_{to.address.host.replace(':', '-')}_{to.address.port}"
    if to.mode == "mirror" or to.fallback == "error":
        return Upstream(name, (to.address,))
    return Upstream(f"{name}_or_{listener.port}", (to.address,), Address(dispatch.service, listener.port))


def own(dispatch: Dispatch, port: int, variable: str) -> Directive:
    """The map from the original's hostname to the upstream for what no bridge takes."""
    entries = [(key(host), upstream.name) for host, upstream in shadows(dispatch, port).items()]
    default = "default", service(dispatch, port).name
    return mapping("$hostname", variable, default, *entries, note=f"port {port}: this Pod's own shadow")


def blocks(upstreams: Iterable[Upstream], place: Place, names: Iterable[str], *extra: Directive) -> Iterator[Directive]:
    """The text of `upstreams`, once for each end of a name.

    No server is ever set aside after a failure: each request tries its own first.
    """
    for each in sorted(set(upstreams), key=lambda upstream: upstream.name):
        servers = [simple("server", _address(place.reach(a)), "max_fails=0") for a in each.servers]
        if each.backup:
            servers.append(simple("server", _address(place.reach(each.backup)), "max_fails=0", "backup"))
        for end in names:
            yield block("upstream", each.name + end, of=(*servers, *extra))


def _address(address: Address) -> str:
    try:
        ip = ip_address(address.host)
    except ValueError:
        ip = None
    if ip is None or "%" in address.host or not 0 < address.port < 65536:
        raise Unquotable(f"{address.host!r} port {address.port}: not a literal IP address and port")
    return f"[{ip}]:{address.port}" if ip.version == 6 else f"{ip}:{address.port}"


def _hostname(host: str) -> str:
    if not _HOSTNAME.fullmatch(host):
        raise Unquotable(f"{host!r}: not a hostname in lower case")
    return host
