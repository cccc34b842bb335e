"""Single fields of GefyraBridge and GefyraBridgeMount -> values: targets, ports, TLS sources, endpoints and times.

What is wrong with one is reported at the place that is given; the value that is returned then means nothing.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from carrier2.limits import unquotable
from generator.cluster import times
from generator.text.walk import Place, fields, is_a, shown


@dataclass(frozen=True, slots=True)
class TargetRef:
    """One container of one workload. kind: as Kubernetes spells it. container: "" is the only one there is."""

    namespace: str
    kind: str
    name: str
    container: str = ""


@dataclass(frozen=True, slots=True)
class Tls:
    """Where certificate, key and server name come from: a path in the container or `secret:namespace/name:key`."""

    certificate: str
    key: str
    sni: str = ""


def delivered(source: str) -> bool:
    """Whether the operator brings this part of a Tls to the carrier, from a Secret; else it is a path in the container."""
    return source.startswith("secret:")


def secret_key(source: str) -> tuple[str, str, str]:
    """The namespace, name and key of a part that is `delivered`."""
    where, _, key = source.removeprefix("secret:").partition(":")
    namespace, _, name = where.partition("/")
    return namespace, name, key


NAME: Final = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?")
"""An object's name (RFC 1123 subdomain)."""
MAX_PORT: Final = 65535

_KINDS: Final = {
    alias: kind
    for kind, aliases in {
        "Deployment": "deployment deploy deployments",
        "StatefulSet": "statefulset sts statefulsets",
        "DaemonSet": "daemonset ds daemonsets",
        "ReplicaSet": "replicaset rs replicasets",
        "Pod": "pod po pods",
    }.items()
    for alias in aliases.split()
}
_SECONDS: Final = re.compile(r"[0-9]{1,9}")
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}")
_SECRET: Final = re.compile(rf"secret:{NAME.pattern}/{NAME.pattern}:[-._A-Za-z0-9]{{1,253}}")
_PATH: Final = re.compile(r"/[^\x00-\x1f\x7f]+")
_HOST: Final = re.compile(r"(?:[A-Za-z0-9](?:[-A-Za-z0-9.]{0,251}[A-Za-z0-9])?)?")
"""Or none. A name of DNS has at most 253 characters (RFC 1035, section 2.3.4: 255 octets on the wire)."""
_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})")


def workload(place: Place, text: str, namespace: str, container: str) -> TargetRef | None:
    """`kind/name` with one of kubectl's short or long kinds, in any case; the namespace is `default` if empty."""
    kind, _, name = text.partition("/")
    if not NAME.fullmatch(name):
        place.report("WrongType", f"{shown(text)} is not kind/name", "Name a workload, as in deployment/web.")
        return None
    if kind.lower() not in _KINDS:
        known = ", ".join(sorted(set(_KINDS.values())))
        place.report("WorkloadKindUnsupported", f"{shown(kind)} is no kind that can be bridged", f"One of {known}, as in deployment/web.")
        return None
    return TargetRef(namespace or "default", _KINDS[kind.lower()], name, container)


def tls_sources(place: Place, written: object, namespace: str) -> Tls:
    """{certificate, key, sni}: each a text, or {secret: {namespace, name, key}} as Gefyra's command line writes it.

    namespace: of the carriers that get them. A Secret of another one is refused (SecretElsewhere): the operator may read
    what whoever writes the mount may not.
    """
    values = fields(place, written, {"certificate": object, "key": object, "sni": object})
    for name in ("certificate", "key"):
        if name not in values:
            place.report("WrongType", f"{name} is missing", "Give both: {certificate: /tls/tls.crt, key: /tls/tls.key}.")
    found = {name: _source(place.field(name), value, _HOST if name == "sni" else _PATH, namespace) for name, value in values.items()}
    return Tls(found.get("certificate", ""), found.get("key", ""), found.get("sni", ""))


def _source(place: Place, value: object, plain: re.Pattern[str], namespace: str) -> str:
    text = ""
    if isinstance(value, dict):
        secret = fields(place, value, {"secret": dict}).get("secret", {})
        parts = fields(place.field("secret"), secret, {"namespace": str, "name": str, "key": str})
        text = f"secret:{parts.get('namespace', '')}/{parts.get('name', '')}:{parts.get('key', '')}"
    elif is_a(place, value, str):
        text = str(value)
    if not _SECRET.fullmatch(text) and (text.startswith("secret:") or not plain.fullmatch(text)):
        what = "a host name of at most 253 characters" if plain is _HOST else "an absolute path"
        cure = "A Secret's key is {secret: {namespace: default, name: web-tls, key: tls.crt}}."
        place.report("WrongType", f"{shown(value)} is neither {what} nor a Secret's key", cure)
    elif reason := unquotable(text):
        place.report("WrongType", reason, "Give a shorter path, as in /tls/tls.crt.")
    elif delivered(text) and (there := secret_key(text)[0]) != namespace:
        message = f"the Secret is in namespace {there}, the target in {namespace}; a carrier gets no Secret of another namespace"
        cure = f"Name one of the target's: {{secret: {{namespace: {namespace}, name: web-tls, key: tls.crt}}}}."
        place.report("SecretElsewhere", message, cure)
    return text


def port_pairs(place: Place, written: list[object]) -> tuple[tuple[int, int], ...]:
    """portMappings, texts "LOCAL:REMOTE", as sorted (REMOTE, LOCAL)."""
    cure = 'Write ["3000:8080"]: 3000 on your machine, 8080 in the container.'
    found: dict[int, int] = {}
    if not written:
        place.report("PortMappingInvalid", "no port is mapped", cure)
    for index, entry in enumerate(written):
        local, _, remote = entry.partition(":") if isinstance(entry, str) else ("", "", "")
        inside, outside = port_number(remote), port_number(local)
        if not inside or not outside:
            place.item(index).report("PortMappingInvalid", f'{shown(entry)} is not "LOCAL:REMOTE" with ports from 1 to {MAX_PORT}', cure)
        elif found.setdefault(inside, outside) != outside:
            message = f"{shown(entry)}: port {inside} of the container already goes to {found[inside]}"
            place.item(index).report("PortMappingInvalid", message, "Map each REMOTE once.")
    return tuple(sorted(found.items()))


def endpoints(place: Place, written: Mapping[Any, object]) -> dict[int, str]:
    """clusterEndpoint, {"REMOTE": "host:port"}, as the operator or the connection wrote it."""
    found: dict[int, str] = {}
    for key, value in sorted(written.items(), key=str):
        host, _, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
        if port_number(key) and host and port_number(port):
            found[port_number(key)] = str(value)
        else:
            place.field(key).report("WrongType", f"{shown(value)} is not an endpoint of a port", 'An example: {"8080": "10.0.0.7:10000"}.')
    return dict(sorted(found.items()))


def port_number(written: object) -> int:
    """A port given as a number or as text, 0 if it is none."""
    number = int(written) if isinstance(written, int | str) and _PORT.fullmatch(str(written)) else 0
    return number if number <= MAX_PORT else 0


def address(place: Place, written: str) -> str:
    """An IPv4 address, "" for ""."""
    try:
        return str(ipaddress.IPv4Address(written)) if written else ""
    except ValueError:
        place.report("WrongType", f"{shown(written)} is not an IPv4 address", "Give the address of the user's process, as in 172.21.0.3.")
        return ""


def seconds(place: Place, written: object) -> int:
    """Whole seconds given as text, as an annotation has them."""
    if isinstance(written, str) and _SECONDS.fullmatch(written):
        return int(written)
    place.report("WrongType", f"{shown(written)} is not a number of seconds", 'Write it in quotes, as in "60"; "0" means at once.')
    return 0


def utc(place: Place, written: str) -> str:
    """An RFC 3339 time in UTC with whole seconds, so that texts sort as times do; "" for ""."""
    if not written:
        return ""
    moment = times.parse(re.sub(r"\.[0-9]+", "", written).upper()) if _TIME.fullmatch(written) else None
    if moment is None:
        place.report("BadTime", f"{shown(written)} is not an RFC 3339 time", "Write it with a zone, as in 2026-11-24T22:00:00Z.")
        return ""
    return times.written(moment, "seconds")
