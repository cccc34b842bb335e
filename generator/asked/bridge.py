"""What users asked for: GefyraBridge and GefyraBridgeMount objects -> Bridge and Mount, or every Problem of the object.

The schema is Gefyra 2.5's (gefyra.dev/v1, fields at the top level, no spec) and a superset of it:
- a bridge's providerParameter is {rules, mode, fallback, accessLog}, and its target may be a workload (`deployment/web`), no mount;
- a mount's providerParameter is {tls, "<port>": {tls}, allowSharedVolumes, carrierImage}.
Null is the same as absent. `kind` is read as Gefyra writes it (gefyrabridge) and in CamelCase.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from carrier2.dispatch import Condition
from generator.asked.values import NAME, TargetRef, Tls, endpoints, port_number, port_pairs, tls_sources, utc, workload
from generator.errors import Problem
from generator.names import API_VERSION, CONTROL_NAMESPACE
from generator.rules.analysis import never, shape
from generator.rules.conditions import needs, rule, subject
from generator.rules.fields import seen_there
from generator.text.walk import Kind, Place, fields, is_a, shown

__all__ = ["Bridge", "Mount", "TargetRef", "Tls", "decode_bridge", "decode_mount"]


@dataclass(frozen=True, slots=True)
class Mount:
    """Keep shadows and carriers for `target`.

    created, sunset: RFC 3339 in UTC, whole seconds; "" if there is none (an object that is not in the cluster yet).
    tls: by container port, 0 for all that are not named. missing_grace_period: seconds, None for the operator's default.
    carrier_image: "" for the default. obj: the object as it came.
    """

    name: str
    created: str
    target: TargetRef
    tls: dict[int, Tls]
    allow_shared_volumes: bool
    carrier_image: str
    sunset: str
    missing_grace_period: int | None
    obj: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Bridge:
    """One user's rules and where the requests go.

    created, sunset, obj: as in Mount. owner: the client, else the label gefyra.dev/client, else the bridge's name.
    mount: name of the mount, "" when `target` names the workload itself.
    ports: (port of the container, port on the user's machine), sorted.
    rules: as written, each once; any of them suffices, in each all conditions must hold.
    None, or one without conditions, takes all requests.
    access_log: the carrier writes a line for each request that the bridge takes.
    endpoints: host:port in the cluster by container port, as the connection has reported them.
    """

    name: str
    created: str
    client: str
    owner: str
    mount: str
    target: TargetRef | None
    ports: tuple[tuple[int, int], ...]
    rules: tuple[tuple[Condition, ...], ...]
    mode: Literal["intercept", "mirror"]
    fallback: Literal["cluster", "error"]
    access_log: bool
    endpoints: dict[int, str]
    sunset: str
    obj: dict[str, Any] = field(repr=False)


_COMMON: Final[dict[str, Kind]] = {
    "apiVersion": str,
    "kind": str,
    "metadata": dict,
    "target": str,
    "targetNamespace": str,
    "targetContainer": str,
    "providerParameter": dict,
    "sunset": str,
    "state": str,
    "stateTransitions": object,
    "status": object,
}
_BRIDGE: Final[dict[str, Kind]] = {
    **_COMMON,
    "provider": ("carrier2", "carrier", ""),
    "connectionProvider": ("stowaway", "relay", ""),
    "client": str,
    "destinationIP": str,
    "portMappings": list,
    "clusterEndpoint": dict,
    "handleProbes": object,
}
_MOUNT: Final[dict[str, Kind]] = {**_COMMON, "provider": str, "missingGracePeriod": int}
_METADATA: Final[dict[str, Kind]] = {"creationTimestamp": str, "labels": dict}
_BRIDGE_OPTIONS: Final[dict[str, Kind]] = {
    "rules": list,
    "mode": ("intercept", "mirror"),
    "fallback": ("cluster", "error"),
    "accessLog": bool,
}
_MOUNT_OPTIONS: Final[dict[str, Kind]] = {"tls": dict, "allowSharedVolumes": bool, "carrierImage": str}
_NO_SPEC = "The fields of a Gefyra object stand at its top level, without a spec."


def decode_mount(obj: object) -> tuple[Mount | None, tuple[Problem, ...]]:
    """A GefyraBridgeMount as a Mount, or None and everything that is wrong with it."""
    place, values, created = _object(obj, "GefyraBridgeMount", _MOUNT)
    if not isinstance(obj, dict) or not values:
        return None, tuple(place.problems)
    target = _target(place.field("target"), values)
    at, parameter = place.field("providerParameter"), values.get("providerParameter", {})
    options = fields(at, {key: value for key, value in parameter.items() if not port_number(key)}, _MOUNT_OPTIONS)
    tls = {0: tls_sources(at.field("tls"), options["tls"])} if "tls" in options else {}
    numbers = sorted(filter(port_number, parameter), key=str)
    for before, key in zip([None, *numbers], numbers, strict=False):
        own = fields(at.field(key), parameter[key], {"tls": dict})
        if str(before) == str(key):
            at.field(key).report("DuplicateKey", f"port {key} is there twice, as a number and as text", "Keep one of the two.")
        if "tls" in own:
            tls[port_number(key)] = tls_sources(at.field(key).field("tls"), own["tls"])
    image = options.get("carrierImage", "")
    if not re.fullmatch("[!-~]*", image):
        at.field("carrierImage").report(
            "WrongType", f"{shown(image)} is not an image", "Give a reference, as in registry.example/carrier2:1."
        )
    grace = values.get("missingGracePeriod")
    if grace is not None and grace < 0:
        place.field("missingGracePeriod").report("WrongType", f"{grace} is below zero", "Give seconds, as in 86400; 0 means at once.")
    sunset = utc(place.field("sunset"), values.get("sunset", ""))
    if place.problems or target is None:
        return None, tuple(sorted(place.problems))
    mount = Mount(
        name=_name(obj),
        created=created,
        target=target,
        tls=dict(sorted(tls.items())),
        allow_shared_volumes=options.get("allowSharedVolumes", False),
        carrier_image=image,
        sunset=sunset,
        missing_grace_period=grace,
        obj=obj,
    )
    return mount, ()


def decode_bridge(obj: object) -> tuple[Bridge | None, tuple[Problem, ...]]:
    """A GefyraBridge as a Bridge, or None and everything that is wrong with it."""
    place, values, created = _object(obj, "GefyraBridge", _BRIDGE)
    if not isinstance(obj, dict) or not values:
        return None, tuple(place.problems)
    mount = values.get("target", "")
    target = None
    if NAME.fullmatch(mount) is None:
        mount, target = "", _target(place.field("target"), values)
    at = place.field("providerParameter")
    options = fields(at, values.get("providerParameter", {}), _BRIDGE_OPTIONS)
    rules = [_rule(at.field("rules").item(i), item) for i, item in enumerate(options.get("rules", ()))]
    mappings = place.field("portMappings")
    ports = () if mappings.reported else port_pairs(mappings, values.get("portMappings", []))
    reached = endpoints(place.field("clusterEndpoint"), values.get("clusterEndpoint", {}))
    sunset = utc(place.field("sunset"), values.get("sunset", ""))
    if place.problems:
        return None, tuple(sorted(place.problems))
    name, client = _name(obj), values.get("client", "")
    bridge = Bridge(
        name=name,
        created=created,
        client=client,
        owner=client or (obj["metadata"].get("labels") or {}).get("gefyra.dev/client") or name,
        mount=mount,
        target=target,
        ports=ports,
        rules=tuple(dict.fromkeys(rules)),
        mode=options.get("mode", "intercept"),
        fallback=options.get("fallback", "cluster"),
        access_log=options.get("accessLog", False),
        endpoints=reached,
        sunset=sunset,
        obj=obj,
    )
    return bridge, ()


def _rule(place: Place, written: object) -> tuple[Condition, ...]:
    """A rule that some request matches, or a report of why none does."""
    before = len(place.problems)
    found = rule(place, written)
    if len(place.problems) == before and (field_ := never(shape(found))):
        asked = [c for c in found if (c.kind, c.name) == field_]
        alone = next((c for c in asked if never(shape((c,)))), None)
        if alone:
            message, cure = f"no request's {subject(alone)} is {needs(alone)}: {seen_there(field_)}", "Correct or remove the condition."
        else:
            message = f"no request's {subject(asked[0])} is {' and '.join(map(needs, asked))}"
            cure = "Remove one of them, or make two rules: [{match: [...]}, {match: [...]}]."
        place.field("match").report("RuleNeverFires", message, cure)
    return found


def _object(obj: object, kind: str, known: dict[str, Kind]) -> tuple[Place, dict[str, Any], str]:
    """The place of an object, its top-level fields (none if it is no object at all) and when it was created."""
    name = _name(obj)
    place = Place(f"{kind} {CONTROL_NAMESPACE}/{name or '?'}", [])
    if not isinstance(obj, dict) or not name:
        cure = f"Give a whole object: {{apiVersion: {API_VERSION}, kind: {kind}, metadata: {{name: ...}}, ...}}."
        place.report("NotAnObject", "metadata.name is missing", cure)
        return place, {}, ""
    values = fields(place, obj, known, _NO_SPEC)
    for field_, wanted in (("apiVersion", (API_VERSION,)), ("kind", (kind, kind.lower()))):
        if obj.get(field_) not in wanted and not place.field(field_).reported:
            place.field(field_).report("WrongType", f"{shown(obj.get(field_))} is not {wanted[0]}", f"Write {field_}: {wanted[0]}.")
    at = place.field("metadata")
    metadata = fields(at, {key: value for key, value in obj["metadata"].items() if key in _METADATA}, _METADATA)
    for key, value in sorted(metadata.get("labels", {}).items(), key=str):
        is_a(at.field("labels").field(key), value, str)
    return place, values, utc(at.field("creationTimestamp"), metadata.get("creationTimestamp", ""))


def _name(obj: object) -> str:
    metadata = obj.get("metadata") if isinstance(obj, dict) else None
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else ""


def _target(place: Place, values: dict[str, Any]) -> TargetRef | None:
    if place.reported:
        return None
    return workload(place, values.get("target", ""), values.get("targetNamespace", ""), values.get("targetContainer", ""))
