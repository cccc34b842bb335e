"""What a user types -> the bridge that is asked for. Each mistake names its option, with an example."""

from __future__ import annotations

import getpass
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from generator import names
from generator.asked.bridge import AWAY_SECONDS, Bridge, decode_bridge
from generator.asked.values import TargetRef, port_number, workload
from generator.cluster.relay import port_at
from generator.cluster.snapshot import Obj
from generator.cluster.times import after
from generator.errors import InputError, Problem
from generator.rules.conditions import rule
from generator.text.walk import Place

GRACE: Final = "60"
"""Seconds without its client after which a bridge goes by itself that a command holds."""
SILENT_GRACE: Final = str(AWAY_SECONDS)
"""The same while its command is there, and the user's process does not listen."""
_LABEL: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,43}[a-z0-9])?")
"""A client's name: its account is called gefyra-client-NAME, in a label's room."""


class Wanted(NamedTuple):
    """The words of the command line. conditions: by option, as it was given. ttl: seconds, None for no end."""

    target: str
    namespace: str
    ports: tuple[str, ...]
    conditions: Mapping[str, Iterable[str]]
    name: str
    client: str
    fallback: str
    ttl: float | None
    held: bool


def client_name(given: str | None, user: str) -> str:
    """The client's name: as given, else that of the kubeconfig's user as a label, else that of this machine's. Raises InputError."""
    if given is not None:
        if not _LABEL.fullmatch(given):
            cure = "Use up to 45 lower-case letters, digits and -, as in --client alice."
            raise InputError(Problem("OptionInvalid", "--client", f"{given!r} is no client's name", cure))
        return given
    if label := _label(user) or _label(_user_here()):
        return label
    raise InputError(Problem("OptionInvalid", "--client", "neither the kubeconfig nor this machine names a user", "Give --client alice."))


def _label(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:45].rstrip("-")


def _user_here() -> str:
    """The user of this machine, "" where nothing names one, as in a container that runs with any uid."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return ""


def target(written: str, namespace: str) -> TargetRef:
    """KIND/NAME[/CONTAINER] in a namespace. Raises InputError."""
    place = Place("TARGET", [])
    parts = written.split("/")
    found = None
    if len(parts) in (2, 3) and all(parts):
        found = workload(place, "/".join(parts[:2]), namespace, "".join(parts[2:]))
    else:
        place.report("OptionInvalid", f"{written!r} is not KIND/NAME[/CONTAINER]", "Write deployment/web or deployment/web/app.")
    if found is None:
        raise InputError(*place.problems)
    return found


def bridge(wanted: Wanted, now: str) -> Obj:
    """The GefyraBridge. now: RFC 3339, from which `ttl` counts. Raises InputError for whatever cannot be one."""
    at = target(wanted.target, wanted.namespace)
    mappings = [_mapping(each) for each in wanted.ports]
    match = [_condition(option, given) for option, values in wanted.conditions.items() for given in values]
    rules = [{"match": match}] if match else []
    if wanted.ttl == 0:
        raise InputError(Problem("OptionInvalid", "--ttl", "0 is no time", "Write --ttl 2h."))
    made: Obj = {
        "apiVersion": names.API_VERSION,
        "kind": "gefyrabridge",
        "metadata": {
            "name": wanted.name or _name(wanted.client, at, mappings, rules),
            "namespace": names.CONTROL_NAMESPACE,
            "labels": {names.CLIENT: wanted.client},
            **({"annotations": {names.AWAY_GRACE: GRACE}} if wanted.held else {}),
        },
        "provider": "carrier2",
        "connectionProvider": "relay",
        "client": wanted.client,
        "target": f"{at.kind.lower()}/{at.name}",
        "targetNamespace": at.namespace,
        **({"targetContainer": at.container} if at.container else {}),
        "portMappings": mappings,
        "providerParameter": {"rules": rules, "fallback": wanted.fallback},
        **({"sunset": after(now, wanted.ttl)} if wanted.ttl else {}),
    }
    if wanted.name and not _LABEL.fullmatch(wanted.name):
        cure = "Use up to 45 lower-case letters, digits and -, as in --name alice-web."
        raise InputError(Problem("OptionInvalid", "--name", f"{wanted.name!r} is no bridge's name", cure))
    _, problems = decode_bridge(made)
    if problems:
        raise InputError(*problems)
    return made


def relay_ports(obj: Obj) -> dict[int, int]:
    """The relay's ports that a bridge has been given -> the ports of the user's machine. What leads elsewhere is none."""
    item: Bridge | None = decode_bridge(obj)[0]
    if item is None or obj.get("connectionProvider") != "relay":
        return {}
    return {port: local for inside, local in item.ports if (port := port_at(item.endpoints.get(inside, "")))}


def _name(client: str, at: TargetRef, mappings: list[str], rules: list[Any]) -> str:
    """The same for the same words, so that a command that is run again takes up its bridge."""
    return names.fit(f"{client}-{at.name}", 54).replace(".", "-") + f"-{names.digest(repr((at, sorted(mappings), rules)))}"


def _mapping(written: str) -> str:
    """CONTAINER:LOCAL as portMappings has it, LOCAL:REMOTE."""
    inside, colon, local = written.partition(":")
    if not colon or not port_number(inside) or not port_number(local):
        cure = "Write --port 8080:3000: 8080 in the container, 3000 on your machine."
        raise InputError(Problem("OptionInvalid", "--port", f"{written!r} is not CONTAINER:LOCAL with ports from 1 to 65535", cure))
    return f"{local}:{inside}"


def _condition(option: str, given: str) -> Obj:
    """One condition, judged on its own so that what is wrong with it names the option."""
    name, equals, value = given.partition("=")
    if option in ("--header", "--query", "--cookie"):
        if not equals or not name:
            raise InputError(Problem("OptionInvalid", option, f"{given!r} is not NAME=VALUE", f"Write {option} user=alice."))
        made = {f"match{option[2:].capitalize()}": {"name": name, "value": value, "type": "exact"}}
    elif option == "--method":
        made = {"matchMethod": {"method": given.upper()}}
    else:
        made = {"matchPath": {"path": given, "type": "prefix" if option == "--path-prefix" else "exact"}}
    place = Place(option, [])
    rule(place, {"match": [made]})
    if place.problems:
        raise InputError(*(Problem("OptionInvalid", option, p.message, p.cure) for p in place.problems))
    return made
