"""The same configuration at another place: the two things that differ between a Pod and a laptop.

    Place()                         in a Pod: as the Dispatch says
    Place(listen=..., reach=...)    a demo: every port and address moved to 127.0.0.1

Upstreams keep the names of the true addresses, so the text of both differs in `listen` and `server` lines only:

    ports = {8080: 40001}                                        # free ports that the caller found
    moved = {Address("10.1.0.5", 8080): Address("127.0.0.1", 40002)}
    render(dispatch, Place(listen=lambda port: f"127.0.0.1:{ports[port]}", reach=lambda a: moved[a]))

The text names no folder: nginx takes its paths from where it is told to run (`nginx -p FOLDER -c FOLDER/nginx.conf`).

`addresses` lists every Address that `reach` is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from carrier2.dispatch import Address, Dispatch


@dataclass(frozen=True, slots=True)
class Place:
    """listen: port -> argument of `listen`. reach: address -> where it is."""

    listen: Callable[[int], str] = str
    reach: Callable[[Address], Address] = lambda address: address


def addresses(dispatch: Dispatch) -> list[Address]:
    """Every address the carrier connects to, sorted, each once."""
    ours = (dispatch.service, *(ip for ips in dispatch.shadows.values() for ip in ips))
    found = {Address(ip, listener.port) for listener in dispatch.listeners for ip in ours}
    found |= {destination.address for listener in dispatch.listeners for destination in listener.destinations}
    return sorted(found, key=lambda address: (address.host, address.port))
