"""The neutral routing model of one carrier: what it listens on and who gets which request. Plain data.

The generator fills it in, `nginx.py` turns it into text; an address is always a literal IP, so that no name can fail
to resolve when the configuration is loaded. Nothing here is checked for meaning: `generator/rules/precedence.py` has done that.
What would break out of the text is checked again by `directive.py`, where the quoting is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from carrier2.contract import WORKER_CONNECTIONS

Kind = Literal["path", "method", "header", "query", "cookie"]
Match = Literal["exact", "prefix", "regex"]


@dataclass(frozen=True, slots=True, order=True)
class Condition:
    """One thing a request must have.

    kind, match: what is compared, and how. `method` is always exact.
    name: header (lower case, `-`), query parameter or cookie name (case-sensitive); empty for path and method.
    value: the text or regex. A path prefix is by element and has no trailing slash ("" matches every path).
    """

    kind: Kind
    match: Match
    value: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Address:
    """A literal IPv4 or IPv6 address and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        """`HOST:PORT`, an IPv6 address in brackets (RFC 3986, 3.2.2)."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a bridge's requests go. bridge: its name, an RFC 1123 subdomain.

    mode `mirror`: the destination gets a copy, the cluster answers.
    fallback: a request of which nothing could be sent is answered by the cluster, or with a 502.
    log: write a line for each request of this bridge (nginx.py says what is in it).
    """

    bridge: str
    address: Address
    mode: Literal["intercept", "mirror"] = "intercept"
    fallback: Literal["cluster", "error"] = "cluster"
    log: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """All `conditions` must hold (none: every request). Bridges are named by `Destination.bridge`."""

    bridge: str
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class Listener:
    """One port of the container.

    protocol: of the transport.
    routes: in order of precedence, first match wins. Empty: the port is passed through untouched as a stream, unless it is `http`.
    destinations: of the bridges named in `routes`; one that has none yet keeps its requests, and the cluster answers them.
    tls: both sides speak TLS, with the port's certificate.
    sni: server name sent to the shadow and the user's process when `tls`.
    certificate, key: paths in the container, where a volume has them; "" if they are delivered to the carrier.
    http: clients speak HTTP here, or have had to, so that the carrier can end their connections between two requests.
    """

    port: int
    protocol: Literal["TCP", "UDP"] = "TCP"
    routes: tuple[Route, ...] = ()
    destinations: tuple[Destination, ...] = ()
    tls: bool = False
    sni: str = ""
    certificate: str = ""
    key: str = ""
    http: bool = False


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Everything one carrier configuration says; one for all originals of a target.

    service: IP addresses of Service Y' (the backup for unmatched traffic), at least one.
    ipv6: the Pods have IPv6 addresses, so the carrier listens on both.
    connections: that a worker has at once; a proxied request is two.
    shadows: hostname of an original (as `uname -n` prints it, lower case) -> IPs of its own shadow(s), first one its own.
    """

    listeners: tuple[Listener, ...]
    service: str
    shadows: dict[str, tuple[str, ...]] = field(default_factory=dict)
    ipv6: bool = False
    connections: int = WORKER_CONNECTIONS
