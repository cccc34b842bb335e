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

from carrier2.contract import MAX_REGEXES
from carrier2.dispatch import Condition
from generator.asked.controls import COMMON, name_of, note_of, opened
from generator.asked.values import NAME, TargetRef, Tls, address, endpoints, port_number, port_pairs, seconds, tls_sources, utc, workload
from generator.errors import Problem
from generator.names import AWAY_GRACE, CLIENT
from generator.rules.analysis import never, shape
from generator.rules.conditions import needs, rule, subject
from generator.rules.fields import seen_there
from generator.text.printable import printable
from generator.text.walk import Kind, Place, fields, shown

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

    created, sunset, obj: as in Mount. owner: the client, else the label gefyra.dev/client, else the bridge's name; printable.
    mount: name of the mount, "" when `target` names the workload itself.
    ports: (port of the container, port on the user's machine), sorted.
    rules: as written, each once; any of them suffices, in each all conditions must hold.
    None, or one without conditions, takes all requests.
    access_log: the carrier writes a line for each request that the bridge takes.
    endpoints: host:port in the cluster by container port, as the connection has reported them.
    provider: how the requests get to the user's machine, "" if neither is asked for. destination: its address for `stowaway`, "" if none.
    away_grace: seconds for which the machine may be away before the bridge is removed.
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
    provider: Literal["stowaway", "relay", ""]
    destination: str
    away_grace: int
    sunset: str
    obj: dict[str, Any] = field(repr=False)


AWAY_SECONDS: Final = 86400
"""How long a bridge waits for its client by default: as long as for a target that is not there (admission.MISSING_SECONDS)."""
_COMMON: Final[dict[str, Kind]] = {**COMMON, "target": str, "targetNamespace": str, "targetContainer": str}
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
_BRIDGE_OPTIONS: Final[dict[str, Kind]] = {
    "rules": list,
    "mode": ("intercept", "mirror"),
    "fallback": ("cluster", "error"),
    "accessLog": bool,
}
_MOUNT_OPTIONS: Final[dict[str, Kind]] = {"tls": dict, "allowSharedVolumes": bool, "carrierImage": str}


def decode_mount(obj: object) -> tuple[Mount | None, tuple[Problem, ...]]:
    """A GefyraBridgeMount as a Mount, or None and everything that is wrong with it."""
    place, values, created = opened(obj, "GefyraBridgeMount", _MOUNT)
    if not isinstance(obj, dict) or not values:
        return None, tuple(place.problems)
    target = _target(place.field("target"), values)
    namespace = target.namespace if target else ""
    at, parameter = place.field("providerParameter"), values.get("providerParameter", {})
    options = fields(at, {key: value for key, value in parameter.items() if not port_number(key)}, _MOUNT_OPTIONS)
    tls = {0: tls_sources(at.field("tls"), options["tls"], namespace)} if "tls" in options else {}
    numbers = sorted(filter(port_number, parameter), key=str)
    for before, key in zip([None, *numbers], numbers, strict=False):
        own = fields(at.field(key), parameter[key], {"tls": dict})
        if str(before) == str(key):
            at.field(key).report("DuplicateKey", f"port {key} is there twice, as a number and as text", "Keep one of the two.")
        if "tls" in own:
            tls[port_number(key)] = tls_sources(at.field(key).field("tls"), own["tls"], namespace)
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
        name=name_of(obj),
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
    place, values, created = opened(obj, "GefyraBridge", _BRIDGE)
    if not isinstance(obj, dict) or not values:
        return None, tuple(place.problems)
    mount = values.get("target", "")
    target = None
    if NAME.fullmatch(mount) is None:
        mount, target = "", _target(place.field("target"), values)
    at = place.field("providerParameter")
    options = fields(at, values.get("providerParameter", {}), _BRIDGE_OPTIONS)
    rules = _rules(at.field("rules"), options.get("rules", []))
    mappings = place.field("portMappings")
    ports = () if mappings.reported else port_pairs(mappings, values.get("portMappings", []))
    reached = endpoints(place.field("clusterEndpoint"), values.get("clusterEndpoint", {}))
    destination = address(place.field("destinationIP"), values.get("destinationIP", ""))
    note = note_of(obj, AWAY_GRACE)
    grace = AWAY_SECONDS if note is None else seconds(place.field("metadata").field("annotations").field(AWAY_GRACE), note)
    sunset = utc(place.field("sunset"), values.get("sunset", ""))
    if place.problems:
        return None, tuple(sorted(place.problems))
    name, client = name_of(obj), values.get("client", "")
    bridge = Bridge(
        name=name,
        created=created,
        client=client,
        owner=printable(client or (obj["metadata"].get("labels") or {}).get(CLIENT) or name),
        mount=mount,
        target=target,
        ports=ports,
        rules=tuple(dict.fromkeys(rules)),
        mode=options.get("mode", "intercept"),
        fallback=options.get("fallback", "cluster"),
        access_log=options.get("accessLog", False),
        endpoints=reached,
        provider=values.get("connectionProvider") or ("stowaway" if destination else ""),
        destination=destination,
        away_grace=grace,
        sunset=sunset,
        obj=obj,
    )
    return bridge, ()


def _rules(place: Place, written: list[object]) -> list[tuple[Condition, ...]]:
    """The rules, each of which some request matches, or a report of why none does. Regexes that no carrier takes are not looked at."""
    found, sound = [], []
    regexes: set[Condition] = set()
    for index, item in enumerate(written):
        at, before = place.item(index), len(place.problems)
        found.append(rule(at, item))
        if len(place.problems) == before:
            sound.append((at, found[-1]))
        regexes.update(c for c in found[-1] if c.match == "regex")
        if len(regexes) > MAX_REGEXES:
            message = f"more than {MAX_REGEXES} distinct regexes up to here, at most {MAX_REGEXES} fit on a port"
            at.report("CarrierLimit", message, "Use exact or prefix conditions.")
            return found
    for at, conditions in sound:
        _fires(at.field("match"), conditions)
    return found


def _fires(place: Place, conditions: tuple[Condition, ...]) -> None:
    """Report a rule that no request matches, and why."""
    field_ = never(shape(conditions))
    if field_:
        asked = [c for c in conditions if (c.kind, c.name) == field_]
        alone = next((c for c in asked if never(shape((c,)))), None)
        if alone:
            message, cure = f"no request's {subject(alone)} is {needs(alone)}: {seen_there(field_)}", "Correct or remove the condition."
        else:
            message = f"no request's {subject(asked[0])} is {' and '.join(map(needs, asked))}"
            cure = "Remove one of them, or make two rules: [{match: [...]}, {match: [...]}]."
        place.report("RuleNeverFires", message, cure)


def _target(place: Place, values: dict[str, Any]) -> TargetRef | None:
    if place.reported:
        return None
    return workload(place, values.get("target", ""), values.get("targetNamespace", ""), values.get("targetContainer", ""))
