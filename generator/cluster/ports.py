"""Pod specs and Services -> the ports a carrier has to stand on in place of one container.

A container listens where it declares, and also where a Service or a probe sends traffic without being declared
(containerPort is "primarily informational": Container v1 core), so the carrier listens there too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from generator.cluster.quantity import whole
from generator.cluster.snapshot import Obj

_HTTP = frozenset(("http", "http2", "h2c", "grpc", "kubernetes.io/h2c", "kubernetes.io/ws"))
"""What a port's appProtocol says of HTTP (KEP-1422), or its name up to the first dash, as in Istio and Knative."""
_PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


class Port(NamedTuple):
    """A port of the target container. tls: what says that it speaks TLS, "" if nothing. http: something says that it speaks HTTP."""

    number: int
    protocol: str
    tls: str
    http: bool = False


def _declared(container: Obj) -> Iterator[tuple[int, str, str]]:
    for port in container.get("ports") or ():
        yield port["containerPort"], port.get("protocol", "TCP"), port.get("name", "")


def _number(container: Obj, port: int | str) -> int:
    number = port if isinstance(port, int) else whole(port, 5)
    if number is not None:
        return number
    return next((number for number, _, name in _declared(container) if name == port), 0)


def _probed(container: Obj) -> Iterator[tuple[int, str, bool]]:
    """(port, scheme, whether it speaks HTTP) of each probe that connects to the container."""
    for kind in _PROBES:
        probe = container.get(kind) or {}
        for how in ("httpGet", "tcpSocket", "grpc"):
            if how in probe:
                yield _number(container, probe[how]["port"]), probe[how].get("scheme", ""), how != "tcpSocket"


def container_ports(specs: Iterable[Obj], name: str, services: Iterable[Obj]) -> tuple[Port, ...]:
    """The ports of container `name` over all Pod specs of the target, in order.

    An undeclared Service port counts when the Pod has no other container it could be for.
    """
    found: dict[tuple[int, str], str] = {}
    http: set[int] = set()
    services = list(services)
    for spec in specs:
        container = next((c for c in spec["containers"] if c["name"] == name), None)
        if container is None:
            continue
        for number, protocol, label in _declared(container):
            hint = f"its name is {label}" if label.startswith(("https", "tls")) else ""
            hint = hint or ("of its number" if number in (443, 8443) and protocol == "TCP" else "")
            found[number, protocol] = found.get((number, protocol)) or hint
            http.update({number} if _says_http(label) else ())
        for number, scheme, speaks in _probed(container):
            http.update({number} if speaks else ())
            if number:
                hint = "a probe has scheme HTTPS" if scheme == "HTTPS" else ""
                found[number, "TCP"] = found.get((number, "TCP")) or hint
        for number, protocol, app, label in _served(container, services):
            http.update({number} if app in _HTTP or (not app and _says_http(label)) else ())
            alone = len(spec["containers"]) == 1
            if (number, protocol) in found or alone:
                hint = f"a Service says appProtocol {app}" if app in ("https", "kubernetes.io/wss", "tls") else ""
                found[number, protocol] = found.get((number, protocol)) or hint
    return tuple(
        Port(number, protocol, tls := found[number, protocol], number in http and protocol == "TCP" and not tls)
        for number, protocol in sorted(found)
    )


def _says_http(name: str) -> bool:
    return name.partition("-")[0] in _HTTP


def _served(container: Obj, services: Iterable[Obj]) -> Iterator[tuple[int, str, str, str]]:
    """(port, protocol, appProtocol, name) of each Service port that leads to the container."""
    for service in services:
        for port in service["spec"].get("ports") or ():
            if number := _number(container, port.get("targetPort") or port["port"]):
                yield number, port.get("protocol", "TCP"), port.get("appProtocol", ""), port.get("name", "")


def undeclared(spec: Obj, services: Iterable[Obj]) -> list[tuple[str, int]]:
    """(Service, port) pairs that lead to a numeric port which no container of a Pod with several declares."""
    if len(spec["containers"]) == 1:
        return []
    declared = {number for c in spec["containers"] for number, _, _ in _declared(c)}
    pairs = [
        (service["metadata"]["name"], port.get("targetPort") or port["port"])
        for service in services
        for port in service["spec"].get("ports") or ()
    ]
    return [(name, port) for name, port in pairs if isinstance(port, int) and port not in declared]
