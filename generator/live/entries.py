"""A cluster and a user of a kubeconfig -> what pykube takes: fields of the right form, whole paths, files that can be read.

Fields: kubernetes.io, reference "kubeconfig (v1)". As kubectl does, a number or boolean is taken for text where text belongs, and an
empty text for none. What is wrong is reported at its place; what is returned then means nothing.
"""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Final, NamedTuple

from generator.asked.values import port_number
from generator.cluster.snapshot import Obj
from generator.live.credentials import TOKEN
from generator.text.walk import Place, shown

EXAMPLES: Final = {
    "clusters": {
        "server": "https://10.0.0.1:6443",
        "certificate-authority": "ca.crt",
        "certificate-authority-data": "LS0tLS1CRUdJTi...",
        "tls-server-name": "kubernetes.default.svc",
        "proxy-url": "http://proxy.example:3128",
    },
    "users": {
        "token": "eyJhbGciOi...",
        "tokenFile": "token",
        "client-certificate": "alice.crt",
        "client-certificate-data": "LS0tLS1CRUdJTi...",
        "client-key": "alice.key",
        "client-key-data": "LS0tLS1CRUdJTi...",
        "username": "alice",
        "password": '"..."',
    },
    "contexts": {"cluster": "shared", "user": "alice", "namespace": "shop"},
}
"""By list of a kubeconfig: the fields that hold text, each with an example."""
FILES: Final = ("certificate-authority", "client-certificate", "client-key")
"""Fields that may have their content beside them, as `certificate-authority-data`."""
_EXEC: Final = "exec: {apiVersion: client.authentication.k8s.io/v1, command: aws, args: [eks, get-token, --cluster-name, shared]}"
_HOST: Final = r"(?:\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+)(?::([0-9]+))?"
_URLS: Final = {
    "server": re.compile(rf"https?://{_HOST}(?:/[!-~]*)?"),
    "proxy-url": re.compile(rf"(?:https?|socks5h?)://(?:[!-.0-?A-~]*@)?{_HOST}/?"),
}


class Entry(NamedTuple):
    """What stands under a name. place: as `kubectl config set` spells it. folder: of the file, where relative paths begin."""

    place: Place
    folder: Path
    value: Obj


def wrong(place: Place, message: str, cure: str) -> None:
    """A finding. The message and cure name no secret."""
    place.report("KubeconfigInvalid", message, cure)


def text(value: object) -> str | None:
    """As kubectl takes it, "" for null; None for a list or a mapping."""
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value) if isinstance(value, str | int | float) else None


def texts(entry: Entry, part: str) -> dict[str, str]:
    """The fields of EXAMPLES[part] that are there and not empty."""
    found = {}
    for name, example in EXAMPLES[part].items():
        value = text(entry.value.get(name))
        if value is None:
            wrong(entry.place.field(name), "a list or a mapping is not text", f"An example: {name}: {example}")
        elif value:
            found[name] = value
    return found


def cluster(entry: Entry) -> Obj:
    """Its address, and how it is trusted."""
    found: Obj = _files(entry, "clusters", FILES[:1])
    for name, form in _URLS.items():
        place, value = entry.place.field(name), found.get(name, "")
        at = form.fullmatch(value)
        if (value or name == "server") and not place.reported and (not at or (at[1] and not port_number(at[1]))):
            message = f"{shown(re.sub('//.*@', '//', value))} is no URL of a host" if value else "it is missing"  # no password
            wrong(place, message, f"An example: {name}: {EXAMPLES['clusters'][name]}")
    skip = entry.value.get("insecure-skip-tls-verify") or False
    if not isinstance(skip, bool):
        wrong(entry.place.field("insecure-skip-tls-verify"), f"{shown(skip)} is not true or false", "Write false, or leave it out.")
    return {**found, "insecure-skip-tls-verify": True} if skip else found


def user(entry: Entry) -> Obj:
    """How it logs in."""
    found: Obj = _files(entry, "users", (*FILES[1:], "tokenFile"))
    pair = [{name, f"{name}-data"} & {*found} for name in FILES[1:]]
    if any(pair) and not all(pair):
        there, missing = FILES[1:] if pair[0] else FILES[:0:-1]
        wrong(entry.place.field(missing), f"it is missing beside {there}", f"An example: {missing}: {EXAMPLES['users'][missing]}")
    if entry.value.get("exec"):
        found["exec"] = _plugin(entry)
    if entry.value.get("auth-provider") and not found:
        found = _provided(entry)
    if "token" in found and not TOKEN.fullmatch(found["token"]):
        cure = f"An example: token: {EXAMPLES['users']['token']}"
        wrong(entry.place.field("token"), "it holds what no token does, such as a blank", cure)
    return found


def _provided(entry: Entry) -> Obj:
    """The token of `auth-provider` oidc; nobody gets it a new one. The others are gone from kubectl since 1.26."""
    provider = entry.value["auth-provider"]
    config = provider.get("config") if isinstance(provider, dict) and provider.get("name") == "oidc" else None
    token = text(config.get("id-token")) if isinstance(config, dict) else None
    if not token:
        message = "only oidc with an id-token can be used"
        wrong(entry.place.field("auth-provider"), message, f"Log in by an exec plugin instead; an example: {_EXEC}")
    return {"token": token or "none"}


def _plugin(entry: Entry) -> Obj:
    """An exec plugin, with all it is given as text."""
    place, plugin, example = entry.place.field("exec"), entry.value["exec"], f"An example: {_EXEC}"
    if not isinstance(plugin, dict):
        wrong(place, "it is not a mapping", example)
        return {}
    command, version = (text(plugin.get(name)) for name in ("command", "apiVersion"))
    if not command:
        wrong(place.field("command"), "no program is named", example)
    if not version or not version.startswith("client.authentication.k8s.io/v1"):
        wrong(place.field("apiVersion"), f"{shown(version)} is none of exec plugins" if version else "it is missing", example)
    args, env = plugin.get("args") or [], plugin.get("env") or []
    words = [text(a) for a in args] if isinstance(args, list) else [None]
    if None in words:
        wrong(place.field("args"), "it is not a list of texts", example)
    env = env if isinstance(env, list) else [None]
    pairs = [(text(e.get("name")), text(e.get("value"))) for e in env if isinstance(e, dict)]
    if len(pairs) != len(env) or not all(name and "=" not in name and value is not None for name, value in pairs):
        wrong(place.field("env"), "it is not a list of names and values", "An example: env: [{name: AWS_PROFILE, value: dev}]")
    return {
        "apiVersion": version,
        "command": str(entry.folder / command) if command and "/" in command else command,
        "args": words,
        "env": [{"name": name, "value": value} for name, value in pairs],
        "installHint": text(plugin.get("installHint")) or "",
    }


def _files(entry: Entry, part: str, names: tuple[str, ...]) -> dict[str, str]:
    """The text fields; those of `names` with data instead where there is some, else with the whole path of a file that can be read."""
    found = texts(entry, part)
    for name in names:
        data = f"{name}-data"
        if data in found:
            found.pop(name, None)
            try:
                base64.b64decode("".join(found[data].split()), validate=True)
            except ValueError:
                cure = f"`base64 -w0 FILE` prints what belongs here; or name the file, as in {name}: {EXAMPLES[part][name]}"
                wrong(entry.place.field(data), "it is not base64", cure)
        elif name in found:
            path = entry.folder / found[name]
            found[name] = str(path)
            if why := _unreadable(path):
                cure = f"Put the file there, or name another; relative paths begin at {entry.folder}."
                wrong(entry.place.field(name), f"{path}: {why}", cure)
    return found


def _unreadable(path: Path) -> str:
    """Why there is no file to read, "" if there is."""
    try:
        if path.is_char_device() or path.is_fifo():
            return "no path of a file"
        path.read_bytes()
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or "no path of a file"
    return ""
