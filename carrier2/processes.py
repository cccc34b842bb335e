"""Users' processes: from the bridge that takes a request to the server that it is sent to.

    map $c2_8080_pick $c2_8080_route { default ""; "\\alice" 10.9.0.7:3000; "\\bob" alone=10.9.0.8:3000; }
    upstream bridges_8080 {
      server 10.9.0.7:3000 route=10.9.0.7:3000 drain max_fails=0;
      server 10.96.0.9:8080 backup max_fails=0;
      server 10.96.0.9:8080 backup max_fails=0;
      sticky route $c2_8080_route;
    }

All processes of a port share a block, since a block costs nginx about 16 kB and a server in it 1 kB. `sticky route` finds the
server by its `route`, and as each is `drain`ing no other request comes there (ngx_http_upstream_module, since 1.29.6).
A process that cannot be reached leaves the request to the backup, Service Y'. nginx counts a try for each server but those
that drain, so the backup stands there twice: a try for the process, and one for itself. Processes without a fallback, and
those that get copies, stand in a block without a backup.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Iterator

from carrier2.directive import Directive, block, simple
from carrier2.dispatch import Address, Destination, Dispatch, Listener
from carrier2.relocate import Place
from carrier2.upstreams import IDLE, ip_of, socket_of

ALONE, COPY = "alone=", "copy="
"""What the route of a process begins with that has no fallback, or that gets copies."""


def reached(listener: Listener) -> list[Destination]:
    """The destinations that some route of the port leads to, by bridge."""
    named = {each.bridge for each in listener.routes}
    return sorted((each for each in listener.destinations if each.bridge in named), key=lambda each: each.bridge)


def routes(listener: Listener) -> dict[str, str]:
    """The route of each bridge that can be reached, by bridge."""
    return {each.bridge: _route(each) for each in reached(listener)}


def makes_copies(listener: Listener) -> bool:
    """Whether some request of this port is copied."""
    return any(_role(each) == COPY for each in reached(listener))


def falls_back(listener: Listener) -> bool:
    """Whether some request of this port is asked of the cluster when a user's process is down."""
    return any(not _role(each) for each in reached(listener))


def group(port: int, route: str = "") -> str:
    """The name of the block that a route leads to."""
    return f"{'alone' if '=' in route else 'bridges'}_{port}"


def blocks(dispatch: Dispatch, listener: Listener, place: Place) -> Iterator[Directive]:
    """The upstream blocks of one port."""
    found = sorted({(each.address.host, each.address.port, _route(each)) for each in reached(listener)})
    backup = simple("server", socket_of(place.reach(Address(dispatch.service, listener.port))), "backup", "max_fails=0")
    for name, last in ((group(listener.port), [backup, backup]), (group(listener.port, ALONE), [])):
        servers = [
            simple("server", socket_of(place.reach(Address(host, port))), f"route={route}", "drain", "max_fails=0")
            for host, port, route in found
            if group(listener.port, route) == name
        ]
        if servers:
            yield block("upstream", name, of=[*servers, *last, simple("sticky", "route", f"$c2_{listener.port}_route"), *IDLE])


def _role(to: Destination) -> str:
    return COPY if to.mode == "mirror" else "" if to.fallback == "cluster" else ALONE


def _route(to: Destination) -> str:
    """The role, and an IPv4 address and port as they are; those of IPv6 in base64, as nginx takes no more than 32 characters."""
    ip, port = ip_of(to.address), to.address.port
    return _role(to) + (f"{ip}:{port}" if ip.version == 4 else urlsafe_b64encode(ip.packed + port.to_bytes(2, "big")).decode())
